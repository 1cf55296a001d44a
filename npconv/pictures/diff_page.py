"""The page of ``npconv diff --html``: where a port goes wrong, as pictures beside the report."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import numpy as np

from npconv.golden import report
from npconv.golden.compare import Comparison, Difference
from npconv.golden.judge import Suspect
from npconv.golden.repro import SCRIPT, SCRIPT_WITHOUT_STEPS
from npconv.golden.segment import make_segment, plan_of
from npconv.golden.trace_file import layout_of
from npconv.pictures.difference import difference
from npconv.pictures.html import Markup, element, image, joined, page
from npconv.pictures.picture import Picture
from npconv.plan.operations import OPERATIONS
from npconv.plan.operations_backward import BACKWARD, passed_back

#: Explanations that are listed.
MOST_SUSPECTS = 12

INTRODUCTION = (
    "The planes that differ most, the worst first. Reference and mine have one scale: blue below 0, white at 0, orange "
    "above. The difference, mine less the reference, has a scale of its own. Below it the largest difference at each "
    "place along each axis."
)


def to_html(comparison: Comparison, suspects: Sequence[Suspect], text: str, title: str) -> str:
    """Return the page of a comparison.

    Parameters
    ----------
    comparison : Comparison
    suspects : sequence of Suspect
        What may explain the first array that diverges, best first.
    text : str
        What ``npconv diff`` prints of it.
    title : str
    """
    sections = [element("h1", title), element("section", element("pre", text))]
    if comparison.first is not None:
        sections += [
            element("section", element("h2", "Side by side"), element("p", INTRODUCTION), *_around(comparison)),
            element("section", element("h2", "Explanations that were tried"), _tried(suspects)),
            element("section", element("h2", "The step"), _source(comparison, comparison.first)),
        ]
    return page(title, element("main", *sections))


def _around(comparison: Comparison) -> list[Markup]:
    """Show the first array that diverges, and those around it."""
    return [_array(comparison, one, is_first=one is comparison.first) for one in report.shown(comparison)]


def _array(comparison: Comparison, one: Difference, *, is_first: bool) -> Markup:
    """Show an array of both traces."""
    verdict = "diverges" if one.diverges else "agrees"
    words = f"{verdict}, off by at most {one.max_abs:.3g}, of a tolerance of {one.tolerance:.3g}"
    heading = element("summary", element("code", one.name), element("span", words, class_="soft"))
    right = np.asarray(comparison.reference[one.name])
    if one.reading is None:
        inside = element("p", f"The shapes do not fit: {one.shape_reference} and {one.shape_mine}.")
    else:
        found = difference(right, comparison.array(one), layout_of(comparison.reference, one.name, right.ndim))
        pictures = {"reference": found.reference, "mine": found.mine, "difference": found.error}
        inside = joined(
            element("div", *(_figure(picture, name, "large") for name, picture in pictures.items()), class_="row"),
            element("div", *(_figure(p, f"along {axis}", "wide") for axis, p in found.profiles.items()), class_="row"),
            element("p", f"planes {', '.join(map(str, found.planes))}", class_="soft"),
        )
    return element("details", heading, inside, open=is_first)


def _tried(suspects: Sequence[Suspect]) -> Markup:
    """List explanations, and what each leaves unexplained."""
    head = element("tr", *(element("th", name, scope="col") for name in ("", "explanation", "at", "leaves")))
    rows = [
        element(
            "tr",
            element("td", "fits" if one.fits else ""),
            element("td", one.says),
            element("td", element("code", one.step.name)),
            element("td", f"{one.residual:.2g}"),
        )
        for one in suspects[:MOST_SUSPECTS]
    ]
    return element("table", head, *rows)


def _source(comparison: Comparison, first: Difference) -> Markup:
    """Show the function of the step, and how it is run again."""
    plan = plan_of(comparison.reference, first.name)
    if plan is None or first.name not in plan:
        return element("p", "The reference holds no steps.")
    operation = plan[first.name].operation
    back = passed_back(operation)
    function = BACKWARD[back.operation] if back else OPERATIONS[operation]
    script = SCRIPT if make_segment(comparison, first) is not None else SCRIPT_WITHOUT_STEPS
    return joined(
        element("p", element("code", first.name), f" is made by {operation}:"),
        element("pre", inspect.getsource(inspect.unwrap(function))),
        element("p", "What --save-repro DIR writes beside its arrays, as DIR/run.py:"),
        element("pre", script),
    )


def _figure(picture: Picture, name: str, size: str) -> Markup:
    """Show a picture with its name below."""
    return element("figure", image(picture.png(), name, class_=size), element("figcaption", name))
