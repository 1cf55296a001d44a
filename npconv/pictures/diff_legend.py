"""How mistakes look: each made in a small map, and the picture of ``npconv diff --html`` that tells it."""

from __future__ import annotations

import numpy as np

from npconv.html import Markup, element
from npconv.pictures import diff_views as views

#: Samples, channels, height and width of the map.
SHAPE = (2, 6, 12, 10)


def legend() -> Markup:
    """Return examples of mistakes, each with what to look for."""
    right = _map()
    factors = np.linspace(0.4, 1.6, SHAPE[1])[:, None, None]
    border = right.copy()
    border[:, :, 0], border[:, :, :, 0] = 0.0, 0.0
    rounded = right.astype(np.float16).astype(np.float64)
    order = [2, 1, 0, 3, 5, 4]
    flat = right.transpose(0, 2, 3, 1).reshape(SHAPE)
    seen = (
        (
            views.over_reference(right, 0.7 * right),
            "A straight line: a factor. A scale, a mean for a sum, a loss counted twice.",
        ),
        (views.over_reference(right, right + 2 * factors - 2), "Parallel lines: an offset for each channel. A bias."),
        (
            views.over_reference(right, right * factors),
            "A fan of lines: a factor for each channel. A weight, a layer scale.",
        ),
        (views.over_reference(right, np.tanh(right)), "One bent curve: another function of each value. An activation."),
        (views.error_size(right, rounded), "Below one dashed line, in steps: fewer bits."),
        (views.wrong(right, border, 1e-6, "NCHW"), "A frame or one side: padding."),
        (views.shifted(right, np.roll(right, (1, 2), (2, 3))), "Off the cross: padding or a crop at another offset."),
        (views.match(right, right[:, order], 1, "C"), "Off the diagonal: another order. BGR, heads, tokens."),
        (
            views.reordered(right, flat, "NCHW"),
            "A full bar below the first: mirrored, turned, or axes read in another order.",
        ),
    )
    figures = (element("div", element("p", says), picture) for picture, says in seen if picture is not None)
    return element("details", element("summary", "How mistakes look"), element("div", *figures, class_="row legend"))


def _map() -> np.ndarray:
    """Return a smooth map in which no two channels are alike."""
    rng = np.random.Generator(np.random.PCG64(0))
    noise = np.pad(rng.normal(size=SHAPE), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="wrap")
    rows = noise[:, :, :-2] + noise[:, :, 1:-1] + noise[:, :, 2:]
    return np.asarray(rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / 3
