"""Where covering a picture makes the answer worse."""

from __future__ import annotations

from typing import Any

import numpy as np

from npconv.api.heads import ImageClassifier
from npconv.backend import to_host
from npconv.errors import InputError
from npconv.layers import softmax
from npconv.messages import shown
from npconv.pictures.heatmap import Heatmap
from npconv.pictures.maps import one_picture
from npconv.pictures.saliency import check_classes, class_numbers

#: Covered pictures that pass the model together.
BATCH = 4


def occlusion(
    model: ImageClassifier, pixel_values: Any, label: int | str | None = None, *, patch: int | None = None
) -> Heatmap:
    """Return by how much the score of a class falls where a picture is covered.

    Parameters
    ----------
    model : a classifier of npconv
        With either engine; the fast one is sooner.
    pixel_values : array (1, C, H, W)
        As the model takes them.
    label : int or str, optional
        The class, by its number or its name; the one with the highest score when unset.
    patch : int, optional
        Edge in pixels of the square that is covered with 0, the mean colour; a quarter of the shorter edge when unset.
        It moves by half of that.

    Returns
    -------
    Heatmap (H, W)
        The fall of the class's probability, for each pixel the mean over all squares that covered it. Negative where
        the picture speaks for another class.

    Raises
    ------
    InputError
        If the model has no classes, or the arguments do not fit it.

    Notes
    -----
    Zeiler and Fergus, https://arxiv.org/abs/1311.2901, section 4.2.
    """
    check_classes(model)
    x = one_picture(pixel_values)
    scores = scores_of(model, x)[0]
    number = int(scores.argmax()) if label is None else int(class_numbers(label, model, 1))
    return occlusions(model, x, [number], scores, patch=patch)[0].view(Heatmap)


def occlusions(
    model: ImageClassifier, x: np.ndarray, numbers: list[int], uncovered: np.ndarray, *, patch: int | None = None
) -> np.ndarray:
    """Return :func:`occlusion` for several classes (len(numbers), H, W), which costs no more than for one.

    `uncovered` has the probabilities of all classes (K,) of the picture as it is.
    """
    height, width = x.shape[2:]
    edge = max(1, min(height, width) // 4) if patch is None else patch
    if isinstance(edge, bool) or not isinstance(edge, int | np.integer) or not 1 <= edge <= min(height, width):
        raise InputError(f"expected a patch from 1 to {min(height, width)} whole pixels, got {shown(edge)}")
    scores = uncovered[numbers]
    corners = [(row, column) for row in _places(height, int(edge)) for column in _places(width, int(edge))]
    total, times = np.zeros((len(scores), height, width)), np.zeros((height, width))
    for start in range(0, len(corners), BATCH):
        part = corners[start : start + BATCH]
        covered = np.repeat(x, len(part), axis=0)
        for picture, (row, column) in zip(covered, part, strict=True):
            picture[:, row : row + edge, column : column + edge] = 0
        for score, (row, column) in zip(scores_of(model, covered)[:, numbers], part, strict=True):
            total[:, row : row + edge, column : column + edge] += (scores - score)[:, None, None]
            times[row : row + edge, column : column + edge] += 1
    return total / times


def scores_of(model: ImageClassifier, pixel_values: np.ndarray) -> np.ndarray:
    """Return the probabilities of all classes (N, K)."""
    return softmax(to_host(model(pixel_values, return_dict=True).logits).astype(np.float64), axis=1)


def _places(length: int, edge: int) -> list[int]:
    """Return where squares begin along an axis: by half an edge, the last at its end."""
    return sorted({*range(0, length - edge + 1, max(1, edge // 2)), length - edge})
