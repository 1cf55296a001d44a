"""How one array is related to another that it should equal: numbers of which pictures are made.

A mistake changes an array in a way of its own: by a factor, by an offset for each channel, into another order. Each
function here measures one such way, on arrays of one shape, in float64; what is not finite counts as 0.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np

#: Places of an axis of which each is compared with each, and numbers of each of them.
MOST_PLACES, MOST_NUMBERS = 512, 4096

#: Squares of a picture of such places; of more, the strongest of each few is shown.
MOST_SQUARES = 64

#: How far an array is shifted, at most, down and across.
FARTHEST = 3

#: Places along an axis by whose values arrays are told apart.
MOST_TOLD = 8

#: Of four axes, the orders in which libraries have kernels that are OIHW here: HWIO, OHWI, IOHW and HWOI.
OF_KERNELS = ((2, 3, 1, 0), (0, 2, 3, 1), (1, 0, 2, 3), (2, 3, 0, 1))


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation of two arrays of one size, from -1 to 1; 0 if one is the same everywhere."""
    a, b = (finite(array).reshape(-1) for array in (one, other))
    a, b = a - a.mean(), b - b.mean()
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / lengths) if lengths > 0 else 0.0


def line(reference: np.ndarray, mine: np.ndarray) -> tuple[float, float, float]:
    """Return the line that comes nearest to mine over the reference: its slope, its offset, and what it leaves.

    What it leaves is the largest distance, as a share of the largest value of mine.
    """
    slope, offset = (float(one[0]) for one in lines(reference.reshape(1, -1), mine.reshape(1, -1), 0))
    rest = np.abs(finite(mine) - slope * finite(reference) - offset).max(initial=0.0)
    return slope, offset, float(rest / max(np.abs(finite(mine)).max(initial=0.0), 1e-300))


def lines(reference: np.ndarray, mine: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the slope and the offset of the nearest line at each place of an axis.

    Where the reference is the same everywhere, the slope is 1.
    """
    x, y = (np.moveaxis(finite(array), axis, 0).reshape(array.shape[axis], -1) for array in (reference, mine))
    middle_x, middle_y = x.mean(axis=1), y.mean(axis=1)
    spread = ((x - middle_x[:, None]) ** 2).sum(axis=1)
    product = ((x - middle_x[:, None]) * (y - middle_y[:, None])).sum(axis=1)
    is_flat = spread <= 1e-24 * np.maximum((x**2).sum(axis=1), 1e-300)
    slopes = np.where(is_flat, 1.0, product / np.where(is_flat, 1.0, spread))
    return slopes, middle_y - slopes * middle_x


def matching(reference: np.ndarray, mine: np.ndarray, axis: int) -> np.ndarray:
    """Return how much each place of mine along an axis looks like each of the reference: (mine, reference).

    That is the correlation over all other axes, after what all places have in common is subtracted; of the first
    :data:`MOST_PLACES`.
    """
    x, y = (np.moveaxis(finite(array), axis, 0).reshape(array.shape[axis], -1) for array in (reference, mine))
    few = -(-x.shape[1] // MOST_NUMBERS)
    x, y = x[:MOST_PLACES, ::few], y[:MOST_PLACES, ::few]
    found = []
    for array in (y, x):
        rows = array - array.mean(axis=0)
        rows = rows - rows.mean(axis=1, keepdims=True) if rows.shape[1] > 2 else rows
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        found.append(rows / np.where(lengths > 1e-12 * max(lengths.max(), 1e-300), lengths, np.inf))
    return np.asarray(found[0] @ found[1].T)


def share_square(length: int, most: int = MOST_SQUARES) -> int:
    """Return how many rows or columns, of so many, share a square of a picture, or a bar, if there are `most`."""
    return max(1, -(-length // most))


def thinned(values: np.ndarray, most: int = MOST_SQUARES) -> np.ndarray:
    """Return a table of at most `most` x `most` numbers: of each few rows and columns, that farthest from 0."""
    down, across = (share_square(length, most) for length in values.shape)
    padded = np.pad(values, ((0, -values.shape[0] % down), (0, -values.shape[1] % across)))
    rows, columns = padded.shape[0] // down, padded.shape[1] // across
    blocks = padded.reshape(rows, down, columns, across).transpose(0, 2, 1, 3).reshape(rows, columns, -1)
    return np.take_along_axis(blocks, np.abs(blocks).argmax(axis=2)[..., None], axis=2)[..., 0]


def in_orders(array: np.ndarray, letters: str) -> dict[str, np.ndarray]:
    """Return an array as it is, mirrored, and read in other orders of its axes, all of its shape and none twice."""
    found = {"as it is": array}
    for axis, letter in enumerate(letters):
        if array.shape[axis] > 1 and letter != "N":
            found[f"{letter} backwards"] = np.flip(array, axis)
    if "H" in letters and "W" in letters:
        high, wide = letters.index("H"), letters.index("W")
        found["turned by 180 degrees"] = np.flip(array, (high, wide))
        if array.shape[high] == array.shape[wide] > 1:
            found["transposed (H and W swapped)"] = array.swapaxes(high, wide)
    first = int(letters.startswith("N"))  # samples stay where they are
    several = permutations(range(first, array.ndim)) if array.ndim - first < len(OF_KERNELS[0]) else OF_KERNELS
    for order in several:
        whole = (*range(first), *order)
        name = "".join(letters[axis] for axis in whole)
        moved = array.transpose(whole)
        found[f"order {name}, read as {letters}"] = moved.reshape(array.shape)
        found[f"order {letters}, read as {name}"] = array.reshape(moved.shape).transpose(np.argsort(whole))
    return _distinct(found)


def orders(reference: np.ndarray, mine: np.ndarray, letters: str) -> dict[str, float]:
    """Return the correlation of mine with the reference as it is, mirrored, and read in other orders of its axes."""
    return {name: correlation(array, mine) for name, array in in_orders(reference, letters).items()}


def _distinct(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Leave out what another is already; of large arrays, some values tell most apart."""
    kept: dict[str, tuple[bytes, np.ndarray]] = {}
    for name, array in arrays.items():
        some = array[tuple(slice(None, None, max(1, length // MOST_TOLD)) for length in array.shape)].tobytes()
        same = (other for other_some, other in kept.values() if other_some == some)
        if not any(np.array_equal(array, other, equal_nan=True) for other in same):
            kept[name] = (some, array)
    return {name: array for name, (_, array) in kept.items()}


def shifts(reference: np.ndarray, mine: np.ndarray) -> np.ndarray:
    """Return the correlation of mine with the reference when it is shifted over the last two axes.

    Of 2 F + 1 shifts down and as many across, the one in the middle is none; F is at most :data:`FARTHEST`.
    """
    height, width = reference.shape[-2:]
    far = min(FARTHEST, (min(height, width) - 1) // 2)
    found = np.zeros((2 * far + 1, 2 * far + 1))
    for down in range(-far, far + 1):
        for across in range(-far, far + 1):
            ours = mine[..., max(down, 0) : height + min(down, 0), max(across, 0) : width + min(across, 0)]
            theirs = reference[..., max(-down, 0) : height + min(-down, 0), max(-across, 0) : width + min(-across, 0)]
            found[down + far, across + far] = correlation(theirs, ours)
    return found


def placed(large: np.ndarray, small: np.ndarray) -> np.ndarray | None:
    """Return the correlation of a small map with the part of a large one that begins at each row and column.

    A part is positions beside each other, or every few of one a few times as large: whichever is more like it. None
    unless all but the last two axes are equal, and for very different sizes.
    """
    if large.ndim != small.ndim or large.ndim < 2 or large.shape[:-2] != small.shape[:-2] or min(small.shape[-2:]) < 2:
        return None
    times = [max(1, round(length / count)) for length, count in zip(large.shape[-2:], small.shape[-2:], strict=True)]
    found = [one for steps in ((1, 1), times) if (one := _placed(large, small, *steps)) is not None]
    return max(found, key=lambda one: float(one.max()), default=None)


def _placed(large: np.ndarray, small: np.ndarray, down: int, across: int) -> np.ndarray | None:
    """Do so for parts of every few positions; None if there is none, or there are very many."""
    (high, wide), (rows, columns) = large.shape[-2:], small.shape[-2:]
    starts = (high - (rows - 1) * down, wide - (columns - 1) * across)
    if min(starts) < 1 or max(starts) > MOST_SQUARES:
        return None
    found = np.zeros(starts)
    for row, column in np.ndindex(*starts):
        part = large[..., row::down, column::across][..., :rows, :columns]
        found[row, column] = correlation(part, small)
    return found


def finite(array: np.ndarray) -> np.ndarray:
    """Return an array with 0 for what is not finite."""
    return np.nan_to_num(np.asarray(array, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
