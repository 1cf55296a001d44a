"""Answers to the exercises, and a wrong one for each that its checker must not accept."""
