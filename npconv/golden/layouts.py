"""An array whose axes were taken to be in another order when it was written down, or taken in."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

#: Orders of axes by which layouts are mistaken for each other.
SWAPS = {
    4: ((0, 2, 3, 1), (0, 3, 1, 2), (0, 1, 3, 2)),
    3: ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1)),
    2: ((1, 0),),
}


def swapped_axes(array: np.ndarray, letters: str) -> Iterator[tuple[np.ndarray, str]]:
    """Give out an array as it looks to who takes its axes to be in another order, and what to call that."""
    for axes in SWAPS.get(array.ndim, ()):
        names = letters if len(letters) == array.ndim else "".join(map(str, range(array.ndim)))
        other = "".join(names[axis] for axis in axes)
        yield array.transpose(axes).reshape(array.shape), f"{other} read as {names}"
