"""What a model takes for what, as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from npconv.pictures.gallery import share_table
from npconv.training.measures import Answers, confusion

#: More classes give a picture that nobody can read.
MOST_CLASSES = 30


def draw_confusion(classes: Sequence[str], answers: Answers) -> Image.Image:
    """Draw what is taken for what: a row for each true class, the darker the more of its photos got an answer.

    Parameters
    ----------
    classes : sequence of str
        K names. Of more than `MOST_CLASSES`, those are drawn that have the most wrong answers.
    answers : Answers
    """
    shown = _most_mistaken(answers, len(classes))
    photos = np.bincount(answers.truth, minlength=len(classes))[shown, None]
    shares = confusion(answers, shown) / np.maximum(photos, 1)
    title = "Rows: what it is. Columns: the answer, in percent of the row."
    if len(shown) < len(classes):
        title += f" The {len(shown)} of {len(classes):,} classes with the most mistakes."
    return share_table([classes[number] for number in shown], shares, title)


def _most_mistaken(answers: Answers, classes: int) -> np.ndarray:
    """Return the numbers of the classes that are drawn, in their order: those in most of the mistakes."""
    is_wrong = ~answers.is_right
    wrong = sum(np.bincount(numbers[is_wrong], minlength=classes) for numbers in (answers.truth, answers.answer))
    return np.sort(np.argsort(-np.asarray(wrong), kind="stable")[:MOST_CLASSES])
