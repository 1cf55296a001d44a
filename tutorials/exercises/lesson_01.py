"""Checkers of lesson 01."""

from __future__ import annotations

from typing import Any

import numpy as np

from exercises import exercise
from npconv.images import normalize, rescale


@exercise(
    "Undo each step, the last one first; what does a colour between two whole numbers become?",
    "Multiply by std, add mean, times 255, round (do not cut off), uint8; then colours last by transpose.",
)
def check_1(answer: Any) -> bool:
    """Check the way back from x to a picture: a function of (x, mean, std)."""
    picture = np.random.default_rng(1).integers(0, 256, size=(3, 5, 7), dtype=np.uint8)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    got = np.asarray(answer(normalize(rescale(picture, 1 / 255), mean, std), mean, std))
    return got.dtype == np.uint8 and np.array_equal(got, picture.transpose(1, 2, 0))


@exercise("The crop keeps 224 of 256 pixels of the shorter edge; how many of the longer one's 341?")
def check_2(answer: Any) -> bool:
    """Check the share of the photo that is inside the crop."""
    return bool(np.isclose(float(answer), 224 * 224 / (256 * 341), rtol=0.01))


@exercise("Normalizing divides by about 0.25: what range do 0 to 1 give, and what range do 0 to 255 give?")
def check_3(answer: Any) -> bool:
    """Check the name of the missing step."""
    return isinstance(answer, str) and answer == "rescale"
