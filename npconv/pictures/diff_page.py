"""The page of ``npconv diff --html``: where a port goes wrong, as pictures beside the report."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from npconv.golden import report
from npconv.golden.births import Birth
from npconv.golden.compare import Comparison, Difference
from npconv.golden.judge import Suspect
from npconv.golden.own import Own
from npconv.golden.repro import SCRIPT, SCRIPT_WITHOUT_STEPS
from npconv.golden.segment import FAILURES, make_segment, plan_of
from npconv.golden.trace_file import PARAMETERS, layout_of, weights_of
from npconv.html import Markup, element, joined
from npconv.pictures import diff_views as views
from npconv.pictures.diff_legend import legend
from npconv.pictures.diff_step_views import LETTERS, Seen, beside_inputs, by_kind
from npconv.pictures.difference import difference
from npconv.pictures.html import page
from npconv.plan.gradient_steps import is_gradient, is_share
from npconv.plan.operations import OPERATIONS
from npconv.plan.operations_backward import BACKWARD, passed_back
from npconv.plan.step import Step

#: Explanations that are listed.
MOST_SUSPECTS = 12

#: Arrays of one shape, at most, of which is looked which one mine looks like; and wrong weights that are shown.
MOST_OTHERS, MOST_WEIGHTS = 16, 3

#: The axes of weights, and of their gradients, by how many there are.
LETTERS_OF_WEIGHTS = {1: "C", **LETTERS}

INTRODUCTION = (
    "The first array that diverges, open, and those around it. Reference and mine have one scale: blue below 0, white "
    "at 0, orange above. The difference, mine less the reference, has a scale of its own. The planes that differ most "
    "come first."
)


def to_html(
    comparison: Comparison, suspects: Sequence[Suspect], text: str, title: str, also: Sequence[Birth] = ()
) -> str:
    """Return the page of a comparison.

    Parameters
    ----------
    comparison : Comparison
    suspects : sequence of Suspect
        What may explain the first array that diverges, best first.
    text : str
        What ``npconv diff`` prints of it.
    title : str
    also : sequence of Birth
        The mistakes after the first.
    """
    first = comparison.first
    parts: list[tuple[str, list[Markup]]] = []
    if comparison.wrong_weights:
        parts.append(("Wrong weights", _weights(comparison)))
    if first is not None:
        around = [_array(comparison, one, is_told=one is first) for one in report.shown(comparison)]
        parts += [
            ("Side by side", [element("p", INTRODUCTION), *around, legend()]),
            *([("Explanations that were tried", [_tried(suspects)])] if suspects else []),
            ("The step", [_source(comparison, first)]),
            *_way_back(comparison, first, also),
        ]
    sections = [element("section", element("h2", heading), *content) for heading, content in parts]
    return page(title, element("main", element("h1", title), element("section", element("pre", text)), *sections))


def _way_back(comparison: Comparison, first: Difference, also: Sequence[Birth]) -> list[tuple[str, list[Markup]]]:
    """Show the first gradient that diverges after an array of the way there, and the first that is wrong by itself."""
    back = next((one for one in comparison.differences if one.diverges and is_gradient(one.name)), None)
    if is_gradient(first.name) or back is None:
        return []
    says = element("p", "The first gradient that diverges. It may have its error from the way there.")
    shown = [("The way back", [says, _array(comparison, back, is_told=False)])]
    birth = next((birth for birth in also if is_gradient(birth.places[0])), None)
    made = None if birth is None else Own(comparison).make(comparison[birth.places[0]])
    if birth is None or made is None or made.array is None:
        return shown
    own = Own(comparison).seen_from(made, set())
    one = own.first
    if one is None:
        return shown
    says = element("p", "Wrong by itself. The reference here is what the right steps make of your own arrays.")
    heading = element("h3", "Explanations that were tried")
    tried = [heading, _tried(birth.suspects), element("h3", "The step"), _source(own, one)]
    return [*shown, ("The first mistake on the way back", [says, _array(own, one, is_told=True), *tried])]


def _weights(comparison: Comparison) -> list[Markup]:
    """Show the first weights that are wrong, beside those of the reference."""
    truths, own = weights_of(comparison.reference), weights_of(comparison.mine)
    found = []
    for number, weight in enumerate(comparison.wrong_weights[:MOST_WEIGHTS]):
        one = weight.difference
        right, mine = np.asarray(truths[one.name.removeprefix(PARAMETERS)]), one.read(own)
        letters = _letters_of_weight(right)
        inside = _beside(one, right, mine, letters, is_told=not number)
        found.append(_details(one, inside, is_open=not number))
    return found


def _array(comparison: Comparison, one: Difference, *, is_told: bool) -> Markup:
    """Show an array of both traces; with `is_told`, open and in every way that there is."""
    right, mine = np.asarray(comparison.reference[one.name]), comparison.array(one)
    plan = plan_of(comparison.reference, one.name)
    step = plan[one.name] if plan is not None and one.name in plan else None
    letters = layout_of(comparison.reference, one.name, right.ndim)
    if not letters and step is not None and step.operation.endswith("_backward"):
        letters = _letters_of_weight(right)
    inside = [_beside(one, right, mine, letters, is_told=is_told)]
    if is_told and one.reading is not None and right.size > 1:
        others = views.alike(_of_one_shape(comparison, one), mine)
        inside += _under_headings([("Under another name", others)])
        if step is not None:
            with suppress(*FAILURES), np.errstate(all="ignore"):  # steps that another program wrote
                inside += _of_step(comparison, one, step, right, mine)
    return _details(one, joined(*inside), is_open=is_told)


def _of_step(comparison: Comparison, one: Difference, step: Step, right: np.ndarray, mine: np.ndarray) -> list[Markup]:
    """Show an array beside what its step took; of a sum of gradients each share by itself, too."""
    whole = (np.asarray(array, np.float64) for array in (right, mine))
    seen = Seen(step, _inputs(comparison, one, step), weights_of(comparison.reference), *whole)
    parts = [("Beside what the step took", views.row(*beside_inputs(seen))), *by_kind(seen)]
    return [*_under_headings(parts), *_shares(comparison, one, seen)]


def _shares(comparison: Comparison, one: Difference, whole: Seen) -> list[Markup]:
    """Show of a sum of gradients each share by itself, as it must be if the others are right."""
    plan = plan_of(comparison.reference, one.name)
    steps = [] if plan is None else [plan[name] for name in whole.inputs if is_share(name) and name in plan]
    found: list[Markup] = []
    for step in steps:
        right = whole.inputs[step.name]
        inputs = _inputs(comparison, one, step)
        seen = Seen(step, inputs, whole.weights, right, whole.mine - (whole.reference - right))
        shown = [
            ("Value by value", views.row(*views.values(seen.reference, seen.mine))),
            ("In another order", views.ordered(seen.reference, seen.mine, step.layout)),
            ("Beside what the step took", views.row(*beside_inputs(seen))),
            *by_kind(seen),
        ]
        heading = element("summary", "If the error is in the share ", element("code", step.name), f": {step.operation}")
        found.append(element("details", heading, *_under_headings(shown), open=True))
    return found


def _details(one: Difference, inside: Markup, *, is_open: bool) -> Markup:
    """Put what is shown of an array under its name and verdict."""
    verdict = "diverges" if one.diverges else "agrees"
    words = f"{verdict}, off by at most {one.max_abs:.3g}, of a tolerance of {one.tolerance:.3g}"
    heading = element("summary", element("code", one.name), element("span", words, class_="soft"))
    return element("details", heading, inside, open=is_open)


def _beside(one: Difference, right: np.ndarray, mine: np.ndarray, layout: str, *, is_told: bool) -> Markup:
    """Show two arrays that should be the same; with `is_told`, in every way in which mistakes are seen."""
    if one.reading is None or not right.size:
        says = element("p", f"The shapes do not fit: {right.shape} and {mine.shape}.")
        return joined(says, views.unlike(right, mine))
    long = [axis for axis in range(right.ndim) if right.shape[axis] > 1]
    shape, letters = [right.shape[axis] for axis in long], [layout[axis] if layout else f"axis {axis}" for axis in long]
    reference, other = (np.asarray(array, np.float64).reshape(shape) for array in (right, mine))
    found = difference(reference, other, "".join(letters))
    where = views.places(found, reference, other, one.tolerance, letters) if one.diverges else None
    shown = joined(views.planes(found, letters), where)
    if not is_told or right.size < 2:
        return shown
    ways = [
        ("Value by value", views.row(*views.values(reference, other))),
        ("The nearest line at each place", views.fitted(reference, other, letters)),
        ("Which place looks like which", views.matched(reference, other, letters)),
        ("In another order", views.ordered(reference, other, letters)),
    ]
    return joined(shown, *_under_headings(ways))


def _under_headings(parts: Sequence[tuple[str, Markup | None]]) -> list[Markup]:
    """Put what there is under its heading."""
    return [joined(element("h3", heading), part) for heading, part in parts if part is not None]


def _letters_of_weight(array: np.ndarray) -> str:
    """Return a letter for each axis of a weight, or of its gradient."""
    return "NHWC" if array.shape[:3] == (1, 1, 1) else LETTERS_OF_WEIGHTS.get(array.ndim, "")


def _of_one_shape(comparison: Comparison, one: Difference) -> dict[str, np.ndarray]:
    """Return the arrays of the reference that have the shape of one, the nearest in the order of computation."""
    same = [other for other in comparison.differences if other.shape_reference == one.shape_reference]
    same.sort(key=lambda other: abs(other.index - one.index))
    return {other.name: np.asarray(comparison.reference[other.name]) for other in same[:MOST_OTHERS]}


def _inputs(comparison: Comparison, one: Difference, step: Step) -> dict[str, np.ndarray]:
    """Return what a step took: mine's good arrays and what the right steps make of them, else the reference's."""
    segment = make_segment(comparison, one)
    made = segment.results if segment is not None else {}
    arrays = {name: made.get(name, comparison.reference.get(name)) for name in step.inputs}
    return {name: np.asarray(array, np.float64) for name, array in arrays.items() if array is not None}


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
    if operation not in OPERATIONS:
        return element("p", f"Its operation is not one of npconv: {operation}.")
    back = passed_back(operation)
    function = BACKWARD[back.operation] if back else OPERATIONS[operation]
    script = SCRIPT if make_segment(comparison, first) is not None else SCRIPT_WITHOUT_STEPS
    return joined(
        element("p", element("code", first.name), f" is made by {operation}:"),
        element("pre", inspect.getsource(inspect.unwrap(function))),
        element("p", "What --save-repro DIR writes beside its arrays, as DIR/run.py:"),
        element("pre", script),
    )
