"""Every change of a step that is tried, in words and in what it makes, is the one that was looked at last.

    PYTHONPATH=.:tests python tests/golden/test_changes_tried.py          writes ``data/changes.txt`` anew
    PYTHONPATH=.:tests python tests/golden/test_changes_tried.py WORDS    prints the changes of places that have WORDS

A line of the file is a step and a kind: how many changes there are, a hash of their words and shapes, and a sum of what
they make. Which change is another one is seen by printing them before and after.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import gradient_samples
from support.compare_samples import make_trace

from npconv.golden.kinds import geometry, numbers, precision, solved, structure
from npconv.golden.kinds.change import Change, Place
from npconv.golden.kinds.continuous import continuous
from npconv.golden.kinds.parameters import parameters
from npconv.golden.kinds.pictures import pictures, statistics
from npconv.golden.kinds.search import all_of
from npconv.golden.segment import Segment, run_changed
from npconv.golden.trace_file import Trace
from npconv.plan.operations import OPERATIONS
from npconv.plan.step import Plan, Step

pytestmark = pytest.mark.long

FILE = Path(__file__).parent / "data" / "changes.txt"

KINDS = {
    "parameters": parameters,
    "structure": structure.structure,
    "geometry": geometry.geometry,
    "precision": precision.precision,
    "continuous": continuous,
    "pictures": pictures,
    "statistics": statistics,
}
ASKED = solved.solve, numbers.rounded  # by the kinds


def photo() -> Trace:
    """Return the trace of a photo that is made ready."""
    size = {"height": 6, "width": 7, "resample": 3, "order": "horizontal"}
    crop = {"height": 4, "width": 4}
    normalized = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}
    steps = [
        Step("preprocessing.resize", "resize", ("preprocessing.image",), {}, size, "CHW"),
        Step("preprocessing.float", "resize_float", ("preprocessing.image",), {}, size, "CHW"),
        Step("preprocessing.crop", "center_crop", ("preprocessing.resize",), {}, crop, "CHW"),
        Step("preprocessing.rescale", "rescale", ("preprocessing.crop",), {}, {"factor": 1 / 255}, "CHW"),
        Step("preprocessing.normalize", "normalize", ("preprocessing.rescale",), {}, normalized, "CHW"),
    ]
    pixels = np.rint(127.5 * (1 + np.sin(np.arange(3 * 11 * 13) ** 1.5))).astype(np.uint8).reshape(3, 11, 13)
    arrays: dict[str, Any] = {"preprocessing.image": pixels}
    for step in steps:
        arrays[step.name] = OPERATIONS[step.operation](arrays[step.inputs[0]], **step.attributes)
    return make_trace(arrays, {"steps": Plan(tuple(steps)).to_json()}, {})


def places(trace: Trace) -> Iterator[tuple[str, Place]]:
    """Give out the first step of each operation, with a port that has something else, and one of another weight."""
    plan = trace.plan
    assert plan is not None
    firsts = {step.operation: step for step in reversed(list(plan))}
    for operation, step in sorted(firsts.items()):
        if not {step.name, *step.inputs} <= trace.keys():
            continue
        params = {full: np.asarray(trace.params[full]) for full in step.params.values()}
        start = {name: np.asarray(trace[name]) for name in step.inputs}
        right = OPERATIONS[operation](
            *start.values(), **{name: params[full] for name, full in step.params.items()}, **step.attributes
        )
        goals = {"": 1.3 * right + 0.01 * np.sin(np.arange(right.size)).reshape(right.shape)}
        if "weight" in step.params and right.dtype == np.float64:
            own = {name: params[full][::-1] if name == "weight" else params[full] for name, full in step.params.items()}
            goals[", weight reversed"] = OPERATIONS[operation](*start.values(), **own, **step.attributes)
        for said, goal in goals.items():
            segment = Segment(plan, (step,), start, list(start), params, {**start, step.name: right}, 10**9)

            def try_(several: Sequence[Change], segment: Segment = segment) -> np.ndarray:
                return run_changed(segment, {one.step.name: (one.step, one.function) for one in several}, trace)

            yield operation + said, Place(step, segment, trace, goal, try_)


def digest(array: np.ndarray) -> float:
    """Return a number that tells arrays apart, of few digits before the point."""
    values = np.nan_to_num(np.asarray(array, np.float64).ravel(), nan=7.0, posinf=5.0, neginf=3.0)
    places_ = np.arange(values.size)
    whole = float((np.sign(values) * np.log1p(np.abs(values))) @ (np.cos(0.7 * places_) + 0.1 * (places_ % 7)))
    return whole / max(values.size, 1)


def tried(kind: str, place: Place) -> Iterator[tuple[str, float]]:
    """Give out each change of a kind in words, and the digest of what it makes."""
    for change in all_of(KINDS[kind], place):
        if change.values.get("order", "") is None:  # as the installed Pillow does
            continue
        try:
            made = np.asarray(place.try_([change]))
        except Exception as error:  # such a change is none
            made, how = np.zeros(0), type(error).__name__
        else:
            how = f"{made.dtype} {made.shape}"
        words = f"{change.kind}: {change.says} {dict(change.values)} {change.of_result} {how}"
        yield re.sub(r"\d+\.\d{3,}(e-?\d+)?|\d+\.?\d*e-?\d+", "#", words), digest(made)  # `made` tells numbers


def every() -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """Give out all that is tried in each place."""
    traces = {family: gradient_samples.golden(family) for family in ("convnextv2", "cvt")} | {"photo": photo()}
    with np.errstate(all="ignore"):
        for name, trace in traces.items():
            for said, place in places(trace):
                for kind in KINDS if not said.endswith("reversed") else ("parameters",):
                    found = list(tried(kind, place))
                    if found:
                        yield f"{name}, {said}, {kind}", found


def line_of(found: Sequence[tuple[str, float]]) -> tuple[int, str, float]:
    """Return what is written of the changes of a place."""
    words = hashlib.sha256("\n".join(says for says, _ in found).encode()).hexdigest()[:12]
    return len(found), words, sum((1 + number % 5) * value for number, (_, value) in enumerate(found))


def read() -> dict[str, tuple[int, str, float]]:
    """Return what is in the file."""
    lines = (line.split("; ") for line in FILE.read_text("utf-8").splitlines())
    return {name: (int(count), words, float(value)) for name, count, words, value in lines}


KNOWN = read() if FILE.is_file() else {}


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[int, str, float]]:
    return {name: line_of(several) for name, several in every()}


@pytest.mark.parametrize("name", KNOWN)
def test_the_changes_of_a_step(found: dict[str, tuple[int, str, float]], name: str) -> None:
    assert found[name][:2] == KNOWN[name][:2]
    assert found[name][2] == pytest.approx(KNOWN[name][2], abs=1e-5)


def test_every_step_is_known(found: dict[str, tuple[int, str, float]]) -> None:
    assert list(found) == list(KNOWN)


if __name__ == "__main__":
    several = list(every())
    if sys.argv[1:]:
        for name, changes in several:
            if all(word in name for word in sys.argv[1:]):
                print(f"== {name}", *(f"{value:12.6f} {says}" for says, value in changes), sep="\n")
    else:
        lines = [f"{name}; {'; '.join(map(str, line_of(changes)))}\n" for name, changes in several]
        FILE.write_text("".join(lines), "utf-8")
