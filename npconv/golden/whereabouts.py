"""Where in an array the wrong values are: at a border, in a channel, a sample or a token, in the pattern of a stride.

A place is named only if chance does not explain it: if all wrong values lie in it, there are more than a handful of
them, and as many, thrown anywhere into the array, would all fall into one of the places that were looked at less than
once in 100,000 times (:data:`CHANCE`). That is ``C(in the place, wrong) / C(all, wrong)``, the hypergeometric
probability, times the number of places. Rows and columns are counted as positions, whatever number of channels is wrong
in each: one position at the edge is no border.
"""

from __future__ import annotations

import math

import numpy as np

from npconv.golden.measures import pieces, place_of
from npconv.messages import listed

#: How probable a place may be by chance that is named, and how many wrong values, or positions, say nothing at all.
CHANCE, HANDFUL = 1e-5, 5

#: The widest border that is looked for: a convolution of kernel 7 reaches 3 pixels over the edge.
WIDEST_BORDER = 3

#: Borders that are looked for: any of four sides or the corners, in each width.
BORDERS = WIDEST_BORDER * 2**4

#: The strides whose pattern is looked for.
PERIODS = (2, 3, 4)

#: The share of the places of a pattern that must differ; a few rows are not a pattern.
SOLID = 0.75

#: One place of an axis, by its letter.
WORDS = {
    **{"N": "sample", "C": "channel", "D": "channel", "K": "class", "H": "row", "W": "column"},
    **{"T": "token", "S": "key", "h": "head"},
}


def whereabouts(reference: np.ndarray, mine: np.ndarray, tolerance: float, layout: str = "") -> str:
    """Say where two arrays of one shape differ by more than a tolerance; nothing if nowhere.

    ``"the border: first row"``, ``"channel 17 of 384"``, ``"everywhere (93% of the values)"``. `layout` has a letter
    for each axis (N, C, H, W, T, D, K, S, h); axes without a known letter go by their number.
    """
    wrong = outside(reference, mine, tolerance)
    count = int(np.count_nonzero(wrong))
    if not count:
        return ""
    if count == 1:
        return f"one element, at {place_of(wrong)}" if wrong.size > 1 else "everywhere"
    letters = layout if len(layout) == wrong.ndim else "?" * wrong.ndim
    found = _maps(wrong, letters)
    found += _axes(wrong, letters, count, told="HW" if found else "")
    return "; ".join(found) if found else _spread(wrong, count)


def outside(reference: np.ndarray, mine: np.ndarray, tolerance: float) -> np.ndarray:
    """Return a bool for each element: does it differ by more than the tolerance, or is it not finite."""
    wrong = np.empty(reference.shape, bool)
    with np.errstate(invalid="ignore"):
        for target, one, other in pieces(wrong, reference, mine):
            np.logical_not(np.abs(other.astype(np.float64) - one) <= tolerance, out=target)
    return wrong


def not_finite(reference: np.ndarray, mine: np.ndarray) -> str:
    """Say how many values of two arrays are NaN or infinite."""
    found = []
    for whose, array in (("mine", mine), ("the reference", reference)):
        nan = sum(int(np.count_nonzero(np.isnan(piece))) for (piece,) in pieces(array))
        infinite = sum(int(np.count_nonzero(np.isinf(piece))) for (piece,) in pieces(array))
        counts = [f"{count} {what}" for count, what in ((nan, "NaN"), (infinite, "infinite")) if count]
        if counts:
            found.append(f"{' and '.join(counts)} of {array.size} values of {whose}")
    return "; ".join(found)


def is_telling(count: int, place: int, size: int, places: float) -> bool:
    """Tell whether it is no chance that `count` wrong values, of `size`, all lie in a place of so many values.

    `places` is how many were looked at. See the top of this module.
    """
    if count <= HANDFUL:
        return False
    chance = _log_choices(place, count) - _log_choices(size, count)
    return math.log(places) + chance <= math.log(CHANCE)


def _log_choices(size: int, count: int) -> float:
    """Return the logarithm of the number of ways to choose some of a set."""
    return math.lgamma(size + 1) - math.lgamma(count + 1) - math.lgamma(size - count + 1)


def _spread(wrong: np.ndarray, count: int) -> str:
    """Say how many elements differ that follow no pattern."""
    share = count / wrong.size
    if share >= 0.5:
        return f"everywhere ({share:.0%} of the values)"
    return f"scattered: {count} of {wrong.size} values ({share:.2%}), the first at {place_of(wrong)}"


def _maps(wrong: np.ndarray, letters: str) -> list[str]:
    """Return what is seen in rows and columns: a border, or the pattern of a stride."""
    if "H" not in letters or "W" not in letters:
        return []
    others = tuple(axis for axis, letter in enumerate(letters) if letter not in "HW")
    image = np.asarray(wrong.any(axis=others))
    if letters.index("H") > letters.index("W"):
        image = image.T
    text = _border(image) or _pattern(image)
    return [text] if text else []


def _border(image: np.ndarray) -> str:
    """Say on which edges all differences sit; empty if some lie inside, or they are few."""
    height, width = image.shape
    count = int(np.count_nonzero(image))
    for thick in range(1, WIDEST_BORDER + 1):
        if min(height, width) <= 2 * thick:
            return ""
        inside = slice(thick, -thick)
        if image[inside, inside].any():
            continue
        first, last, whole = slice(None, thick), slice(-thick, None), slice(None)
        sides = {
            "first row": ((first, inside), (first, whole)),
            "last row": ((last, inside), (last, whole)),
            "first column": ((inside, first), (whole, first)),
            "last column": ((inside, last), (whole, last)),
        }
        hit = [words for words, (middle, _) in sides.items() if image[middle].any()]
        place = np.zeros(image.shape, bool)
        for words in hit or ("first row", "last row"):
            place[sides[words][1]] = True
        if not hit:
            place[:, inside] = False
        if not image[~place].any() and is_telling(count, int(np.count_nonzero(place)), image.size, BORDERS):
            return _edges(hit, thick)
    return ""


def _edges(hit: list[str], thick: int) -> str:
    """Return some sides of a map in words: ``the border: first 2 rows and last column``."""
    words = [side if thick == 1 else side.replace(" ", f" {thick} ") + "s" for side in hit]
    text = " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
    return f"the border: {text}" if text else "the corners"


def _pattern(image: np.ndarray) -> str:
    """Say which places of a stride hold all differences; empty if there is no such pattern."""
    height, width = image.shape
    count = int(np.count_nonzero(image))
    for period in PERIODS:
        if min(height, width) < 2 * period:
            return ""
        hit = np.array([[image[i::period, j::period].any() for j in range(period)] for i in range(period)])
        whole = np.tile(hit, (-(-height // period), -(-width // period)))[:height, :width]
        place, looked_at = int(np.count_nonzero(whole)), len(PERIODS) * 2.0**hit.size
        if hit.all() or count < SOLID * place or not is_telling(count, place, image.size, looked_at):
            continue
        if period == 2 and hit[0, 0] == hit[1, 1] != hit[0, 1] == hit[1, 0]:
            return "a checkerboard"
        for axis, words in ((1, "rows"), (0, "columns")):
            line = hit.any(axis=axis)
            if not line.all() and (hit == np.expand_dims(line, axis)).all():
                places = ", ".join(map(str, np.flatnonzero(line)))
                return f"a pattern of period {period}: {words} {places}, counted modulo {period}"
        places = ", ".join(f"({i}, {j})" for i, j in np.argwhere(hit))
        return f"a pattern of period {period}: (row, column) {places}, counted modulo {period}"
    return ""


def _axes(wrong: np.ndarray, letters: str, count: int, told: str) -> list[str]:
    """Return the axes of which only some places differ, without those that are told already."""
    found = []
    for axis, letter in enumerate(letters):
        if letter in told:
            continue
        size = wrong.shape[axis]
        hit = np.asarray(wrong.any(axis=tuple(other for other in range(wrong.ndim) if other != axis)))
        places = np.flatnonzero(hit)
        looked_at = wrong.ndim * math.comb(size, len(places))
        if not is_telling(count, len(places) * wrong.size // size, wrong.size, looked_at):
            continue
        if letter == "T" and len(places) == size - 1 and not hit[0]:
            found.append("all tokens but the first (the class token, where there is one)")
        elif 2 * len(places) <= size:
            found.append(_places(places, size, letter, axis))
    return found


def _places(places: np.ndarray, size: int, letter: str, axis: int) -> str:
    """Say which places of an axis: ``channels 3, 7 of 96``."""
    one = WORDS.get(letter, f"index of axis {axis}")
    many = {"class": "classes"}.get(one, f"{one}s") if letter in WORDS else f"indices of axis {axis}"
    if len(places) == 1:
        note = " (the class token, where there is one)" if letter == "T" and places[0] == 0 else ""
        return f"{one} {places[0]} of {size}{note}"
    if len(places) == places[-1] - places[0] + 1:
        return f"{many} {places[0]} to {places[-1]} of {size}"
    return f"{many} {listed(list(map(str, places)), 6)} of {size}"
