"""Other places: how a window is padded, where it begins and how its places lie apart, and maps that are turned."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from npconv.golden.kinds.change import Change, Place
from npconv.plan.shapes import as_pair

KIND = "geometry"

#: How NumPy pads, and what that is called.
MODES = {"reflect": "reflection", "symmetric": "reflection with the edge", "edge": "the edge", "wrap": "the other side"}

#: Of a map whose border is solved for.
MOST_CHANNELS = 8

#: Rows and columns by which a padding may be off.
SHIFTS = (-2, -1, 1, 2)


def geometry(place: Place) -> Iterator[Change]:
    """Give out the step with other places."""
    if "padding" in place.step.attributes:
        yield from _windows(place)
    for index, (name, array) in enumerate(zip(place.step.inputs, place.inputs, strict=True)):
        for says, values, turned in turns(place, array, name):
            yield place.of_input(KIND, f"its input {name} {says}", index, turned, input=name, **values)
    for says, values, turned in turns(place, place.right, place.step.name):
        yield place.of_result(KIND, f"its result {says}", turned, **values)


def _windows(place: Place) -> Iterator[Change]:
    """Give out a window that is padded, moved or stretched otherwise."""
    attributes = place.step.attributes
    top, left = as_pair(attributes["padding"])
    weight = place.arguments.get("weight")
    kernel = weight.shape[2:] if weight is not None and weight.ndim == 4 else as_pair(attributes.get("kernel_size", 1))
    for apart in (1, 2, 3):
        if apart != attributes.get("dilation", 1) and max(kernel) > 1:
            around = [(side - 1) * (apart - 1) // 2 for side in kernel]
            padding = [top + around[0], left + around[1]]
            yield _as(place, f"dilation {apart}", {"dilation": apart, "padding": padding})
            yield _as(place, f"dilation {apart} and the same padding", {"dilation": apart})
    for shift in SHIFTS:
        if min(top, left) + shift >= 0:
            yield _as(place, f"padding {top + shift}", {"padding": [top + shift, left + shift]})
    if top or left:
        for before, after in ((0, 2), (2, 0)):
            yield _padded(place, (top * before, top * after), (left * before, left * after), "constant")
        for mode, name in MODES.items():
            yield _padded(place, (top, top), (left, left), mode, f"padded with {name}")
    seen: set[tuple[int, ...]] = set()
    reach = range(-2, 3)
    for down, up, right, back in itertools.product(reach, repeat=4):
        sides = (top + down, top + up, left + right, left + back)
        if min(sides) >= 0 and sides not in seen and (down + up, right + back) == (0, 0) and (down, right) != (0, 0):
            seen.add(sides)
            yield _padded(place, sides[:2], sides[2:], "constant")
    for more in (1, 2):
        for sides in ((top + more, top, left + more, left), (top, top + more, left, left + more)):
            yield _padded(place, sides[:2], sides[2:], "constant")
    yield from _constant(place, (top, left))
    yield from _strided(place)


def _as(place: Place, says: str, settings: dict[str, Any]) -> Change:
    """Return a window with other settings."""

    def function(*inputs: Any, **arguments: Any) -> Any:
        return place.function(*inputs, **{**arguments, **settings})

    return Change(KIND, says, place.step, function, settings)


def _padded(place: Place, rows: Sequence[int], columns: Sequence[int], mode: str, says: str = "") -> Change:
    """Return a window over a map that is padded by itself before."""

    def function(x: Any, *inputs: Any, **arguments: Any) -> Any:
        padded = np.pad(x, ((0, 0), (0, 0), tuple(rows), tuple(columns)), mode=mode)  # type: ignore[call-overload]
        return place.function(padded, *inputs, **{**arguments, "padding": 0})

    uneven = f"padded by {rows[0]} above, {rows[1]} below, {columns[0]} left and {columns[1]} right"
    values = {"rows": list(rows), "columns": list(columns), "mode": mode}
    return Change(KIND, says or uneven, place.step, function, values)


def _constant(place: Place, around: tuple[int, int]) -> Iterator[Change]:
    """Give out a map that is padded with other numbers than 0, one a channel, which its result tells."""
    mine, x = place.mine, place.inputs[0]
    sides = ((0, 0), (0, 0), (around[0],) * 2, (around[1],) * 2)
    if around == (0, 0):
        return

    def after(x: Any, *inputs: Any, **arguments: Any) -> Any:
        return np.pad(place.function(x, *inputs, **{**arguments, "padding": 0}), sides)

    yield Change(KIND, "padded after it, with zeros around the result", place.step, after, {"after": True})
    if mine is None or mine.shape != place.right.shape or x.shape[1] > MOST_CHANNELS:
        return
    border = 1 - np.pad(np.ones_like(x), sides)
    nothing = place.run(np.zeros_like(border), padding=0)
    adds = [
        place.run(border * (np.arange(x.shape[1]) == c)[:, None, None], padding=0) - nothing for c in range(x.shape[1])
    ]
    if not (np.isfinite(adds).all() and np.isfinite([mine, place.right]).all()):
        return
    numbers, *_ = np.linalg.lstsq(np.stack([a.ravel() for a in adds], 1), (mine - place.right).ravel(), rcond=None)

    def function(x: Any, *inputs: Any, **arguments: Any) -> Any:
        padded = np.pad(x, sides) + border * numbers[:, None, None]
        return place.function(padded, *inputs, **{**arguments, "padding": 0})

    says = f"padded with the value {', '.join(f'{number:.4g}' for number in numbers)} of each channel"
    yield Change(KIND, says, place.step, function, {"values": numbers.tolist()})


def _strided(place: Place) -> Iterator[Change]:
    """Give out a stride that is taken after the window, at another beginning."""
    down, right = as_pair(place.step.attributes.get("stride", 1))
    for strides in ((1, right), (down, 1), (1, 1), (2, 2)):
        if strides != (down, right):
            says = f"its strides are {strides[0]} and {strides[1]} in place of {down} and {right}"
            yield _as(place, says, {"stride": list(strides)})
    if (down, right) == (1, 1):
        return
    for row, column in itertools.product(range(down), range(right)):
        if (row, column) != (0, 0):

            def function(*inputs: Any, row: int = row, column: int = column, **arguments: Any) -> Any:
                return place.function(*inputs, **{**arguments, "stride": 1})[:, :, row::down, column::right]

            says = f"its stride begins at row {row}, column {column}"
            yield Change(KIND, says, place.step, function, {"row": row, "column": column})


def turns(place: Place, array: np.ndarray, name: str) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Give out what may be done to a map: in words, as values, and as a function."""
    letters = place.plan[name].layout if name in place.plan else ""
    if "H" in letters and "W" in letters and array.ndim == len(letters):
        rows, columns = letters.index("H"), letters.index("W")
        mirrored = (columns,), "mirrored"
        for axes, says in (mirrored, ((rows,), "upside down"), ((rows, columns), "turned by 180 degrees")):
            yield says, {"flipped": list(axes)}, partial(np.flip, axis=axes)
        if array.shape[rows] == array.shape[columns]:
            for quarters, says in ((1, "turned by 90 degrees to the left"), (3, "turned by 90 degrees to the right")):
                yield says, {"quarters": quarters}, partial(np.rot90, k=quarters, axes=(rows, columns))
        yield "with rows and columns exchanged", {"exchanged": [rows, columns]}, partial(_swap, rows, columns)
        yield "by columns in place of rows", {"order": "F"}, partial(_by_columns, rows, columns)
        for axis, shift in itertools.product((rows, columns), (-2, -1, 1, 2)):
            what = "rows" if axis == rows else "columns"
            yield f"rolled by {shift} {what}", {"axis": axis, "rolled": shift}, partial(np.roll, shift=shift, axis=axis)
        for down, right in itertools.product((-1, 0, 1), repeat=2):
            if (down, right) != (0, 0):
                says = f"shifted by {down} rows and {right} columns, with zeros behind it"
                yield says, {"rows": down, "columns": right}, partial(_shifted, {rows: down, columns: right})
    elif "T" in letters and array.ndim == len(letters):
        axis = letters.index("T")
        yield "with its tokens reversed", {"flipped": [axis]}, partial(np.flip, axis=axis)
        parts = (("without its first token", slice(1, None)), ("without its last token", slice(-1)))
        for says, part in parts if array.shape[axis] > 1 else ():
            yield says, {"tokens": says}, lambda x, part=part: x[:, part]
        for shift in (-1, 1):
            yield f"rolled by {shift} tokens", {"axis": axis, "rolled": shift}, partial(np.roll, shift=shift, axis=axis)


def _shifted(by: dict[int, int], x: np.ndarray) -> np.ndarray:
    """Return a map moved along some axes, with zeros where nothing comes from."""
    for axis, count in by.items():
        x = np.roll(x, count, axis)
        gap = slice(0, count) if count > 0 else slice(x.shape[axis] + count, None)
        if count:
            x[(slice(None),) * axis + (gap,)] = 0
    return x


def _swap(rows: int, columns: int, x: np.ndarray) -> np.ndarray:
    """Return a map with its rows as columns, if it keeps its shape so or not."""
    return x.swapaxes(rows, columns)


def _by_columns(rows: int, columns: int, x: np.ndarray) -> np.ndarray:
    """Return a map that was written down column by column and read row by row."""
    return x.swapaxes(rows, columns).reshape(x.shape)
