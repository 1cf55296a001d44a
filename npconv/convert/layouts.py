"""How one tensor is laid out in another dialect: a few named operations, each with its inverse.

Every operation only reshapes or transposes, so that there and back gives the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """One operation.

    Parameters
    ----------
    words : str
        Their layout, then ours, for messages.
    fits : callable
        Whether a tensor of a shape can be theirs.
    ours, theirs : callable
        Array in their layout -> array in ours, and back.
    """

    words: str
    fits: Callable[[Shape], bool]
    ours: Callable[[Any], Any]
    theirs: Callable[[Any], Any]


def _is_square(count: int) -> bool:
    """Tell whether a number of kernel positions is that of a square kernel."""
    return math.isqrt(count) ** 2 == count


def _from_sparse_depthwise(x: Any) -> Any:
    """Positions column by column, then channels: (k * k, C) -> (C, 1, k, k)."""
    side = math.isqrt(x.shape[0])
    return x.T.reshape(x.shape[1], 1, side, side).swapaxes(2, 3)


def _to_sparse_depthwise(x: Any) -> Any:
    """Undo :func:`_from_sparse_depthwise`."""
    return x.swapaxes(2, 3).reshape(x.shape[0], -1).T


def _from_sparse(x: Any) -> Any:
    """Positions column by column, then channels in and out: (k * k, I, O) -> (O, I, k, k)."""
    side = math.isqrt(x.shape[0])
    return x.transpose(2, 1, 0).reshape(x.shape[2], x.shape[1], side, side).swapaxes(2, 3)


def _to_sparse(x: Any) -> Any:
    """Undo :func:`_from_sparse`."""
    return x.swapaxes(2, 3).reshape(*x.shape[:2], -1).transpose(2, 1, 0)


def _rank(*ranks: int) -> Callable[[Shape], bool]:
    """Return the test for one of some ranks."""
    return lambda shape: len(shape) in ranks


#: By the names that the tables use.
LAYOUTS = {
    "same": Layout("as it is", lambda shape: True, lambda x: x, lambda x: x),
    "vector": Layout("(C,) for (1, 1, 1, C)", _rank(1), lambda x: x.reshape(1, 1, 1, -1), lambda x: x.reshape(-1)),
    "grn row": Layout(
        "(1, C) for (1, 1, 1, C)",
        lambda shape: len(shape) == 2 and shape[0] == 1,
        lambda x: x.reshape(1, 1, 1, -1),
        lambda x: x.reshape(1, -1),
    ),
    "row": Layout(
        "(1, C) for (C,)",
        lambda shape: len(shape) == 2 and shape[0] == 1,
        lambda x: x.reshape(-1),
        lambda x: x.reshape(1, -1),
    ),
    "column": Layout(
        "(C, 1, 1) for (C,)",
        lambda shape: len(shape) == 3 and shape[1:] == (1, 1),
        lambda x: x.reshape(-1),
        lambda x: x.reshape(-1, 1, 1),
    ),
    "linear": Layout("(O, I)", _rank(2), lambda x: x, lambda x: x),
    "1x1": Layout(
        "(O, I, 1, 1) for (O, I)",
        lambda shape: len(shape) == 4 and shape[2:] == (1, 1),
        lambda x: x.reshape(x.shape[:2]),
        lambda x: x.reshape(*x.shape, 1, 1),
    ),
    "io": Layout("(I, O) for (O, I)", _rank(2), lambda x: x.T, lambda x: x.T),
    "hwio": Layout(
        "(H, W, I, O) for (O, I, H, W)", _rank(4), lambda x: x.transpose(3, 2, 0, 1), lambda x: x.transpose(2, 3, 1, 0)
    ),
    "hw1c": Layout(
        "(H, W, 1, C) for (C, 1, H, W)",
        lambda shape: len(shape) == 4 and shape[2] == 1,
        lambda x: x.transpose(3, 2, 0, 1),
        lambda x: x.transpose(2, 3, 1, 0),
    ),
    "hwc1": Layout(
        "(H, W, C, 1) for (C, 1, H, W)",
        lambda shape: len(shape) == 4 and shape[3] == 1,
        lambda x: x.transpose(2, 3, 0, 1),
        lambda x: x.transpose(2, 3, 0, 1),
    ),
    "sparse depthwise": Layout(
        "(K, C), K the square kernel column by column, for (C, 1, H, W)",
        lambda shape: len(shape) == 2 and _is_square(shape[0]),
        _from_sparse_depthwise,
        _to_sparse_depthwise,
    ),
    "sparse": Layout(
        "(K, I, O), K the square kernel column by column, for (O, I, H, W)",
        lambda shape: len(shape) == 3 and _is_square(shape[0]),
        _from_sparse,
        _to_sparse,
    ),
}
