"""Bytes to arrays and back; knows no model."""
