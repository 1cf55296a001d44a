"""What the page of ``npconv diff --html`` shows of two arrays: each view a way in which mistakes can be seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from npconv.golden.roundings import ROUNDOFF
from npconv.golden.whereabouts import outside
from npconv.html import Markup, element, image, joined
from npconv.pictures.difference import SideBySide, difference
from npconv.pictures.picture import Picture
from npconv.pictures.plots import Plot, colour_bar, matrix, named_bars
from npconv.pictures.relations import (
    MOST_SQUARES,
    correlation,
    line,
    lines,
    matching,
    orders,
    placed,
    share_square,
    shifts,
    thinned,
)
from npconv.pictures.scales import Scale, scale_of

#: Shares of a value that rounding to a dtype moves it by at most.
ROUNDINGS = {"bfloat16": ROUNDOFF["bfloat16"], "float16, TF32": ROUNDOFF["float16"], "float32": ROUNDOFF["float32"]}

#: What a letter of a layout stands for.
AXES = {
    **{"N": "sample", "C": "channel", "H": "row", "W": "column", "T": "token", "D": "channel"},
    **{"S": "key", "h": "head", "K": "class", "O": "output", "I": "input"},
}

#: Arrays of the reference that are shown to look like mine, and letters of their names: more if they tell them apart.
MOST_ALIKE, MOST_LETTERS = 5, 34

#: The correlation from which two places are said to be alike.
LIKE = 0.9

#: Correlations that are nearer to each other than this say nothing: the planes are the same everywhere.
LEAST_SPREAD = 1e-6

#: Units across and down of a plot of points.
SQUARE = (188, 188)

#: Places along an axis that are drawn as bars, at most.
MOST_BARS = 400

#: What the colours of points say, where those of both are drawn.
BOTH = "Blue: reference. Orange: mine. Dark: both."


def figure(content: Markup, title: str, says: str = "") -> Markup:
    """Return a picture with its name and a line that tells how to read it."""
    caption = element("figcaption", element("b", title), element("br") if says else None, says or None)
    return element("figure", content, caption, class_="plot")


def row(*figures: Markup | None) -> Markup | None:
    """Put figures side by side, as many as fit; None if there are none."""
    return element("div", *figures, class_="row") if any(figures) else None


def planes(found: SideBySide, letters: Sequence[str]) -> Markup | None:
    """Show the planes that differ most of both, and what they differ by."""
    numbers = ", ".join(" ".join(map(str, plane)) for plane in found.planes)
    says = f"{' '.join(letters[:-2])} {numbers}" if len(letters) > 2 else ""
    pictures = (
        (found.reference, "reference", found.highest),
        (found.mine, "mine", found.highest),
        (found.error, "difference", found.largest),
    )
    return row(*(figure(sheet_of(picture, name, highest), name, says) for picture, name, highest in pictures))


def sheet_of(picture: Picture, name: str, highest: float) -> Markup:
    """Show planes of an array, and which colour is which number."""
    bar = colour_bar(highest) if np.isfinite(highest) else None
    height, width = picture.pixels.shape[:2]
    size = "tall" if height > 1.3 * width else "flat" if width > 5 * height else "large"
    return joined(image(picture.png(), name, class_=size), element("br"), bar)


def places(
    found: SideBySide, reference: np.ndarray, mine: np.ndarray, tolerance: float, letters: Sequence[str]
) -> Markup | None:
    """Show where in the arrays the differences are: at each place of the last two axes, and along each axis."""
    profiles = [figure(_profile(values, axis), f"difference along {axis}") for axis, values in found.along.items()]
    return row(wrong(reference, mine, tolerance, letters), *profiles)


def wrong(reference: np.ndarray, mine: np.ndarray, tolerance: float, letters: Sequence[str]) -> Markup | None:
    """Show which share of the values is wrong at each place of the last two axes."""
    if reference.ndim < 2:
        return None
    shares = outside(reference, mine, tolerance).reshape(-1, *reference.shape[-2:]).mean(axis=0)
    down, across = (AXES.get(letter, letter) for letter in letters[-2:])
    drawn = matrix(shares, 1.0, x_says=across, y_says=down, alt="share of wrong values at each place", size=150)
    says = f"White: right in all planes. Orange: wrong in all. Of all values {shares.mean():.1%} are wrong."
    return figure(drawn, "where it is wrong", says)


def _profile(values: np.ndarray, axis: str) -> Markup:
    """Draw the largest difference at each place of an axis."""
    few = share_square(len(values), MOST_BARS)
    shown = thinned(np.nan_to_num(values)[None], MOST_BARS)[0]
    highest = 1.05 * float(shown.max(initial=0.0)) or 1.0
    plot = Plot(Scale(-0.6, few * len(shown) - 0.4), Scale(0.0, highest), _wide(len(shown)), 70)
    says = AXES.get(axis, axis) + (f", {few} in a bar" if few > 1 else "")
    alt = f"largest difference at each of {len(values)} places"
    marks = plot.bars(shown, "error", few)
    return plot.drawn(marks, x_says=says, y_says="largest", alt=alt, places=(len(values),))


def _wide(count: int) -> int:
    """Return how wide bars of so many places are drawn."""
    return int(np.clip(14 * count, 110, 280))


def values(reference: np.ndarray, mine: np.ndarray) -> list[Markup]:
    """Show mine over the reference, and how an error goes with the value."""
    shown = (over_reference(reference, mine), difference_over(mine - reference, "reference", reference))
    sizes = error_size(reference, mine)
    return [*shown, *([sizes] if sizes is not None else [])]


def over_reference(reference: np.ndarray, mine: np.ndarray) -> Markup:
    """Show mine over the reference, and the nearest line."""
    slope, offset, rest = line(reference, mine)
    both = scale_of(reference, mine)
    plot = Plot(both, both, *SQUARE)
    ends = np.array([both.low, both.high])
    marks = [
        plot.points((reference, mine)),
        plot.line(ends, ends, "guide"),
        plot.line(ends, slope * ends + offset, "fit"),
    ]
    drawn = plot.drawn(*marks, x_says="reference", y_says="mine", alt="mine over the reference")
    nearest = f"{slope:.6g} x reference {'+' if offset >= 0 else '-'} {abs(offset):.3g}"
    says = f"Dashed: equal. Red, the nearest line: {nearest}; it leaves {rest:.2g} of the largest value."
    return figure(drawn, "mine over reference", says)


def difference_over(error: np.ndarray, name: str, source: np.ndarray) -> Markup:
    """Show the difference over the reference, or over an array that the step took."""
    is_reference = name == "reference"
    plot = Plot(scale_of(source), scale_of(error, zero=True), *SQUARE)
    marks = [plot.points((source, error)), plot.line([plot.x.low, plot.x.high], [0, 0], "guide")]
    x_says = name if is_reference else "what the step took"
    drawn = plot.drawn(*marks, x_says=x_says, y_says="difference", alt=f"difference over {name}")
    says = "One thin curve: another function of each value. A straight line: a factor. A cloud: it depends on more."
    return figure(
        drawn, f"difference over {'reference' if is_reference else 'input'}", says if is_reference else f"of {name}"
    )


def error_size(reference: np.ndarray, mine: np.ndarray) -> Markup | None:
    """Show the size of each error over the size of the value, both logarithmic, beside what rounding makes."""
    right = np.abs(reference.reshape(-1))
    with np.errstate(invalid="ignore"):
        error = np.abs(mine.reshape(-1) - reference.reshape(-1))
    told = np.isfinite(error) & np.isfinite(right) & (right > 0) & (error > 0)
    if not told.any():
        return None
    right, error = right[told], error[told]
    x = Scale(float(max(right.min(), 1e-6 * right.max())) * 0.8, float(right.max()) * 1.25, log=True)
    low = max(float(np.quantile(error, 0.02)), 1e-12 * float(right.max()), 1e-9 * float(error.max()))
    plot = Plot(x, Scale(low * 0.5, max(float(error.max()), 2 * low) * 2, log=True), *SQUARE)
    ends = np.array([x.low, x.high])
    marks = [plot.points((right, error))]
    marks += [plot.line(ends, share * ends, "guide") for share in (1.0, *ROUNDINGS.values())]
    drawn = plot.drawn(*marks, x_says="size of the value", y_says="size of the error", alt="errors over values")
    names = ", ".join(f"{share:.1g} ({name})" for name, share in ROUNDINGS.items())
    return figure(
        drawn, "error over value", f"Both logarithmic. Dashed: errors of 100%, and of what rounding makes: {names}."
    )


def fitted(reference: np.ndarray, mine: np.ndarray, letters: Sequence[str]) -> Markup | None:
    """Show the nearest line from the reference to mine at each place of each axis: its slope and its offset."""
    parts = []
    for axis, letter in enumerate(letters):
        count = reference.shape[axis]
        if 1 < count <= MOST_BARS and reference.size > 2 * count:
            slopes, offsets = lines(reference, mine, axis)
            strips = (_strip(slopes, letter, "slope"), _strip(offsets, letter, "offset"))
            parts.append(figure(joined(*strips), f"lines along {letter}"))
    return row(*parts)


def _strip(numbers: np.ndarray, letter: str, what: str) -> Markup:
    """Draw a number for each place of an axis."""
    count = len(numbers)
    plot = Plot(Scale(-0.6, count - 0.4), scale_of(numbers, zero=True), _wide(count), 60)
    marks = [plot.bars(numbers, "mine")]
    if what == "slope":
        marks.append(plot.line([-0.6, count - 0.4], [1, 1], "guide"))
    return plot.drawn(
        *marks, x_says=AXES.get(letter, letter), y_says=what, alt=f"{what} along {letter}", places=(count,)
    )


def matched(reference: np.ndarray, mine: np.ndarray, letters: Sequence[str]) -> Markup | None:
    """Show which place of mine looks like which of the reference, along each axis."""
    axes = [axis for axis in range(reference.ndim) if reference.size > 2 * reference.shape[axis] > 2]
    return row(*(match(reference, mine, axis, letters[axis]) for axis in axes))


def match(reference: np.ndarray, mine: np.ndarray, axis: int, letter: str) -> Markup:
    """Show which place of mine looks like which of the reference, along an axis; of many, which looks most like it."""
    name = AXES.get(letter, letter)
    x_says, y_says = f"{name} of the reference", f"{name} of mine"
    alt = f"which {name} of mine looks like which of the reference"
    title = f"{name} by {name}" + (f" ({letter})" if name != letter else "")
    found = matching(reference, mine, axis)
    count = len(found)
    if count <= MOST_SQUARES:
        drawn = matrix(found, 1.0, x_says=x_says, y_says=y_says, alt=alt, size=150)
        return figure(drawn, title)
    plot = Plot(Scale(-0.5, count - 0.5), Scale(count - 0.5, -0.5), 200, 200)
    best = found.argmax(axis=1)
    told = found[np.arange(count), best] > LIKE
    dots = plot.dots(best[told].astype(float), np.flatnonzero(told).astype(float), "mine small")
    drawn = plot.drawn(dots, x_says=x_says, y_says=y_says, alt=alt, places=(count, count))
    says = f"For each the one most like it, if its correlation is above {LIKE}: {told.sum()} of {count}."
    return figure(drawn, title, says)


def ordered(reference: np.ndarray, mine: np.ndarray, letters: Sequence[str]) -> Markup | None:
    """Show how much mine looks like the reference in other orders, and shifted."""
    is_map = tuple(letters[-2:]) == ("H", "W") and min(reference.shape[-2:]) > 2
    others = reordered(reference, mine, "".join(letters)) if all(len(one) == 1 for one in letters) else None
    return row(others, shifted(reference, mine) if is_map else None)


def reordered(reference: np.ndarray, mine: np.ndarray, letters: str) -> Markup | None:
    """Show how much mine looks like the reference in other orders."""
    found = orders(reference, mine, letters)
    return compared(found, "the reference in other orders") if len(found) > 1 else None


def compared(found: Mapping[str, float], title: str, names: int = 185) -> Markup:
    """Show how much mine looks like several arrays."""
    return figure(named_bars(found, says="correlation with mine", alt=title, names=names), title)


def shifted(reference: np.ndarray, mine: np.ndarray) -> Markup | None:
    """Show how much mine looks like the reference when it is moved; None where a move makes no difference."""
    moved = shifts(reference, mine)
    if np.ptp(moved) < LEAST_SPREAD:
        return None
    far = len(moved) // 2 + 0.5
    drawn = matrix(
        moved, 1.0, x_says="moved right by", y_says="moved down by", alt="correlations when moved", size=150, far=far
    )
    down, across = (int(place) - len(moved) // 2 for place in np.unravel_index(moved.argmax(), moved.shape))
    says = f"Correlation, the highest {moved.max():.3f} for {down} down and {across} right. At the cross: in place."
    return figure(drawn, "the reference moved", says)


def unlike(reference: np.ndarray, mine: np.ndarray) -> Markup | None:
    """Show two arrays of different shapes, each by itself, and which part of the larger the smaller is."""
    parts = []
    for name, array in (("reference", reference), ("mine", mine)):
        if array.size:
            found = difference(array, array)
            shape = "x".join(map(str, array.shape)) or "one number"
            parts.append(figure(sheet_of(found.reference, name, found.highest), name, shape))
    is_larger = mine.size > reference.size
    where = placed(*((mine, reference) if is_larger else (reference, mine)))
    if where is not None:
        names = ("mine", "the reference") if is_larger else ("the reference", "mine")
        drawn = matrix(where, 1.0, x_says="first column", y_says="first row", alt="correlations of parts", size=150)
        says = f"Correlation with {names[1]}, the highest {where.max():.3f}."
        parts.append(figure(drawn, f"parts of {names[0]}", says))
    return row(*parts)


def alike(arrays: Mapping[str, np.ndarray], mine: np.ndarray) -> Markup | None:
    """Show which arrays of the reference mine looks like."""
    found = {name: correlation(array, mine) for name, array in arrays.items()}
    best = sorted(found, key=lambda name: -found[name])[:MOST_ALIKE]
    if len(best) < 2 or mine.size < 3:
        return None
    letters = MOST_LETTERS
    while len({name[-letters:] for name in best}) < len(best):
        letters += 1
    short = {name[-letters:]: found[name] for name in best}
    return row(compared(short, "arrays of the reference that mine looks like", 228 * letters // MOST_LETTERS))
