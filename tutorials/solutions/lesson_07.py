"""Answers to lesson 07."""

from __future__ import annotations

RIGHT = [28_430_152, 192]
WRONG = [28_589_128, 128]
