"""Ports of one block and of one model, for the lessons on porting."""
