"""Answers to lesson 16."""

from __future__ import annotations

import numpy as np


def confusion(truth, answer, classes):
    """Return how often each answer is given for each class."""
    table = np.zeros((classes, classes), int)
    np.add.at(table, (truth, answer), 1)
    return table


def confusion_of_pairs_once(truth, answer, classes):
    """Return the same with each pair counted once, however many photos are of it."""
    table = np.zeros((classes, classes), int)
    table[truth, answer] += 1
    return table


RIGHT = [confusion, 200]
WRONG = [confusion_of_pairs_once, 100]
