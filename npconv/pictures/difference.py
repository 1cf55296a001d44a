"""Two arrays that should be the same, side by side: the reference's, the other one, and what they differ by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from npconv.backend import to_host
from npconv.errors import InputError, ShapeError
from npconv.html import Markup, element, image, note
from npconv.pictures.maps import coloured
from npconv.pictures.picture import Picture, sheet
from npconv.pictures.views import bars

#: Planes that are shown, and positions of a plane along each axis.
MOST_PLANES, MOST_POSITIONS = 12, 64


@dataclass(frozen=True)
class SideBySide:
    """Pictures of two arrays and of their difference.

    Parameters
    ----------
    reference, mine : Picture
        Some planes of each, on one scale: blue below 0, white at 0, orange above.
    error : Picture
        Mine less the reference, on a scale of its own, that ends at `largest`.
    highest, largest : float
        The largest finite value of the reference, and the largest absolute difference.
    planes : tuple of tuple of int
        Which planes are shown, by their place along the axes before the last two: those that differ most first.
    along : mapping of str to ndarray
        For each axis longer than 1, by its letter, the largest difference at each of its places; NaN for what is not
        finite.
    """

    reference: Picture
    mine: Picture
    error: Picture
    highest: float
    largest: float
    planes: tuple[tuple[int, ...], ...]
    along: Mapping[str, np.ndarray]

    @property
    def profiles(self) -> dict[str, Picture]:
        """`along` as pictures."""
        return {letter: bars(values) for letter, values in self.along.items()}

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        planes = {"reference": self.reference, "mine": self.mine, "mine less the reference": self.error}
        along = {f"largest difference along {axis}": picture for axis, picture in self.profiles.items()}
        rows = [_row({name: picture.enlarged(192) for name, picture in planes.items()}), _row(along)]
        return note("SideBySide", f"largest difference {self.largest:.3g}", *rows)


def _row(pictures: Mapping[str, Picture]) -> Markup:
    """Show pictures beside each other, each with its name below."""
    style = "padding: 0 1em 0 0"
    cells = (element("td", image(p.png(), name), element("div", name), style=style) for name, p in pictures.items())
    return element("table", element("tr", *cells))


def difference(reference: Any, mine: Any, layout: str = "") -> SideBySide:
    """Show what two arrays differ by.

    Parameters
    ----------
    reference, mine : array
        Of one shape, of NumPy or CuPy. A plane is what the last two axes span; vectors are one plane of one row.
    layout : str
        A letter for each axis, such as ``"NCHW"``; their numbers when it does not fit.

    Raises
    ------
    InputError
        If the shapes differ, or nothing is in the arrays.
    """
    right, other = (np.asarray(to_host(array), np.float64) for array in (reference, mine))
    if right.shape != other.shape:
        raise ShapeError(f"expected arrays of one shape, got {right.shape} and {other.shape}")
    if not right.size:
        raise InputError("expected arrays with numbers in them, got none")
    letters = layout if len(layout) == right.ndim else [f"axis {axis}" for axis in range(right.ndim)]
    with np.errstate(invalid="ignore"):  # infinity less infinity, which is shown as no number
        error = other - right
    distance = np.where(np.isfinite(error), np.abs(error), np.inf)
    along = {}
    for axis, letter in enumerate(letters):
        if right.shape[axis] > 1:
            profile = distance.max(axis=tuple(i for i in range(right.ndim) if i != axis))
            along[letter] = np.where(np.isfinite(profile), profile, np.nan)
    planes = _chosen(distance)
    scale = float(np.abs(right[np.isfinite(right)]).max(initial=0.0))
    largest = float(distance[np.isfinite(distance)].max(initial=0.0))
    return SideBySide(
        _sheet(right, planes, scale),
        _sheet(other, planes, scale),
        _sheet(error, planes, largest),
        scale,
        float(distance.max()),
        planes,
        along,
    )


def _chosen(distance: np.ndarray) -> tuple[tuple[int, ...], ...]:
    """Return the planes that differ most, the worst first; equal ones in their order."""
    before = distance.shape[:-2]
    worst = _planes(distance).max(axis=(1, 2))
    order = np.argsort(-worst, kind="stable")[:MOST_PLANES]
    return tuple(tuple(int(place) for place in np.unravel_index(one, before or (1,))) for one in order)


def _planes(array: np.ndarray) -> np.ndarray:
    """Return an array as planes (P, H, W)."""
    height, width = (1, 1, *array.shape)[-2:]
    return array.reshape(-1, height, width)


def _sheet(array: np.ndarray, planes: tuple[tuple[int, ...], ...], highest: float) -> Picture:
    """Show planes of an array on one scale around 0; of large ones every few positions."""
    places = np.array([np.ravel_multi_index(plane, array.shape[:-2] or (1,)) for plane in planes])
    chosen = _planes(array)[places]
    down, across = (-(-length // MOST_POSITIONS) for length in chosen.shape[1:])
    tiles = coloured(chosen[:, ::down, ::across], highest, signed=True)
    return Picture(sheet(list(tiles)))
