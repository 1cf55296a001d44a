"""What a report says of findings, word by word; they are made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from npconv.golden.births import Birth
from npconv.golden.compare import Difference, compare
from npconv.golden.judge import Suspect, Suspects, runner_up
from npconv.golden.origin import Origin
from npconv.golden.report import (
    births_by_tensor,
    births_text,
    in_places,
    origin_text,
    provenance,
    shown,
    to_text,
    why,
)
from npconv.golden.trace_file import Trace
from npconv.plan.step import Step

FOUND = Difference("a", "b", 1, (2, 3), (2, 3), "float64", "float32", "", 0.5, 0.25, 0.9, 0.1, 0.5, 0.01, True)
BORN = Origin(0.125, 2e-6, ("s.act",), ("s.conv",), True, 0.01, "activation")


def suspect(residual=1e-7, fits=True, name="s.layers.1.act", says="tanh GELU", **fields):
    return Suspect(says, Step(name, "activation", ("x",)), residual, fits, **fields)


def suspects(*several, tried=None, known=None, refused=""):
    found = Suspects()
    found.extend(several)
    found.tried = len(several) if tried is None else tried
    found.known = found.tried if known is None else known
    found.refused = refused
    return found


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["s.act"], "s.act"),
        (["s.layers.1.act"], "s.layers.1.act"),
        (["s.layers.10.act", "s.layers.2.act"], "s.layers.{2, 10}.act"),
        (["s.layers.1.act", "s.layers.1.norm", "t.layers.1.act"], "s.layers.1.act, s.layers.1.norm, t.layers.1.act"),
        (["s.layers.3", "s.layers.1"], "s.layers.{1, 3}"),
        (["s.layers.one.act", "s.layers.two.act"], "s.layers.one.act, s.layers.two.act"),
        (["a", "b", "c", "d", "e", "f"], "a, b, c, d, e, f"),
        (["a", "b", "c", "d", "e", "f", "g"], "a, b, c, d, e, f and 1 more"),
    ],
)
def test_places(names, said):
    assert in_places(names) == said


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        (None, ""),
        (
            BORN,
            "born here: the step s.act, run again on your own s.conv, should give other values, by up to 1.2e-01; "
            "what these inputs differ by makes 2.0e-06 of it",
        ),
        (
            replace(BORN, of_mine=False, start=("a", "b", "c", "d"), steps=("s.conv", "s.act")),
            "born here: the 2 steps since the last good tensors, run again on the reference's a, b, c and 1 more, "
            "should give other values, by up to 1.2e-01",
        ),
        (
            replace(BORN, born=np.inf, steps=("s.act.grad",), operation="activation_backward"),
            "born here: the step s.act.grad (activation_backward), run again on your own s.conv, should give other "
            "values; what these inputs differ by makes 2.0e-06 of it",
        ),
        (
            replace(BORN, born=0.01, inherited=0.5),
            "inherited: the step s.act, run again on your own s.conv, should give what you have (up to 1.0e-02); what "
            "these inputs differ by, within their tolerances, grows to 5.0e-01 here",
        ),
        (
            replace(BORN, born=0.01, inherited=0.5, steps=("a.grad", "s.act.grad")),
            "inherited: the 2 steps since the last good tensors, run again on your own s.conv, should give what you "
            "have (up to 1.0e-02); what these inputs differ by, within their tolerances, grows to 5.0e-01 here",
        ),
    ],
)
def test_where_an_error_is_from(origin, said):
    assert origin_text(origin) == said


BROKEN = "REFERENCE itself holds NaN or infinity here and is broken; record it again, in float64"
UNFIT = "the shapes do not fit, and no known mistake gives that of mine"
FIT, MISS, NEAR = suspect(), suspect(0.2, fits=False, says="erf GELU"), suspect(0.1, fits=False, says="no GELU")


@pytest.mark.parametrize(
    ("found", "first", "origin", "said"),
    [
        ([], replace(FOUND, broken=True), None, [BROKEN]),
        (suspects(FIT), FOUND, BORN, ["fits tanh GELU (s.layers.1.act): 1e-07"]),
        ([FIT, MISS], FOUND, BORN, ["fits tanh GELU (s.layers.1.act): 1e-07"]),
        (
            suspects(FIT, MISS, NEAR),
            FOUND,
            BORN,
            ["fits tanh GELU (s.layers.1.act): 1e-07", "of 2 other explanations the nearest leaves 1e-01"],
        ),
        (
            suspects(FIT, replace(NEAR, refuted=True), tried=4, known=6),
            FOUND,
            BORN,
            [
                "fits tanh GELU (s.layers.1.act): 1e-07",
                "of 3 other explanations none gives this shape",
                "4 of 6 mistakes tried; record more tensors to have all tried",
            ],
        ),
        (
            suspects(*(replace(FIT, says=f"GELU {number}") for number in range(5))),
            FOUND,
            BORN,
            [f"fits GELU {number} (s.layers.1.act): 1e-07" for number in range(4)],
        ),
        (suspects(refused="it is long"), FOUND, BORN, ["not known: this part is not run again, it is long"]),
        (suspects(), replace(FOUND, reading=None), BORN, [UNFIT]),
        ([], FOUND, None, ["not known: REFERENCE does not hold the steps, weights and inputs to run this part again"]),
        (suspects(tried=3), FOUND, BORN, ["no known mistake fits (3 tried)"]),
        ([MISS], FOUND, None, ["no known mistake fits (1 tried)"]),
        (suspects(MISS, tried=3), FOUND, BORN, ["no known mistake fits (3 tried)"]),
        (
            suspects(replace(NEAR, refuted=True), NEAR, replace(NEAR, residual=0.11), tried=3),
            FOUND,
            BORN,
            ["no known mistake fits (3 tried)", "the nearest is no GELU (s.layers.1.act): 1e-01"],
        ),
        (suspects(replace(NEAR, residual=0.125), tried=3), FOUND, BORN, ["no known mistake fits (3 tried)"]),
        (
            suspects(MISS, tried=3, known=4),
            FOUND,
            BORN,
            ["no known mistake fits", "3 of 4 mistakes tried; record more tensors to have all tried"],
        ),
    ],
)  # fmt: skip
def test_why(found, first, origin, said):
    assert why(first, found, origin) == said


def test_a_reason_in_gradients_names_the_function():
    found = [suspect(name="s.act.grad"), suspect(name="s.act.grad.1")]
    assert why(FOUND, found, BORN) == [
        "fits tanh GELU (activation, s.act.grad): 1e-07",
        "fits tanh GELU (activation, s.act.grad.1): 1e-07",
    ]


def test_the_runner_up_leaves_least_and_does_not_fit():
    assert runner_up([FIT, MISS, NEAR, replace(NEAR, residual=0.01, refuted=True)]) is NEAR
    assert runner_up([FIT]) is None
    assert suspects(FIT, MISS, tried=7).ruled_out == 6
    assert suspects(FIT, tried=0).ruled_out == 0


def birth(*places, again=False, found=None):
    return Birth(places, replace(FOUND, name=places[0]), BORN, suspects(FIT) if found is None else found, again)


def test_mistakes_after_the_first():
    several = [
        birth("p"),
        birth("q", "r", "s", found=suspects(tried=3, known=5)),
        birth("t", again=True),
        birth("u", "v", again=True, found=suspects(MISS)),
    ]
    said = [
        "p, by up to 1.2e-01: fits tanh GELU (s.layers.1.act): 1e-07",
        "q and 2 more, by up to 1.2e-01: no known mistake fits; 3 of 5 mistakes tried; mend what is before it to have "
        "all tried",
        "t: the same again",
        "u and 1 more: not known either",
    ]
    assert births_text(several) == said
    assert births_by_tensor(several) == dict(zip("pqtu", said, strict=True))
    five = [*several, birth("w", again=True)]
    assert births_text(five) == [*said, "w: the same again"]
    assert births_text([*five, birth("x")]) == [*said, "w: the same again", "and 1 more mistakes"]


def test_what_a_trace_says_of_itself():
    facts = {"versions": {"numpy": "2.0", "a": "1"}, "photo": "0" * 20, "input": "1" * 20, "checkpoint": "abc"}
    trace = Trace({**facts, "dtype": "float64", "task": "t", "family": "f", "model": "m"})
    assert (
        provenance(trace)
        == "m, f, t, float64, weights abc, input 111111111111, photo 000000000000, a 1, numpy 2.0, 0 tensors"
    )
    trace = Trace()
    trace.add("x", np.zeros(1))
    assert provenance(trace) == "1 tensor"


NAMES = "abcdefgh"


def test_a_table():
    """Two good ones before the first that diverges, and three that do; shapes, dtypes and orders where they differ."""
    reference = {name: np.arange(6.0).reshape(1, 2, 1, 3) for name in NAMES} | {"z": np.zeros(2)}
    mine = {name: reference[name].copy() for name in reference}
    mine["c"] = np.float32(reference["c"]).reshape(1, 1, 3, 2).copy()
    mine["c"][:] = reference["c"].reshape(2, 3).T
    for name in "dfg":
        mine[name][0, 1] += 1
    mine["e"] = mine["e"][:, :1]
    comparison = compare(reference, mine, rtol=0.1)
    assert [one.name for one in shown(comparison)] == ["b", "c", "d", "e", "f"]
    lines = to_text(comparison, width=40).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("      place"))
    assert [" ".join(line.split()) for line in lines[start : start + 6]] == [
        "place shape dtype max error relative cosine NMSE outside tolerance of it name",
        "good 2 1x2x1x3 float64 0.0e+00 0.0e+00 1.000000 0.0e+00 0.00% 5.0e-01 0 b",
        "good 3 1x2x1x3 / 1x1x3x2 (axes read in the order 1 0) float64 / float32 "
        "0.0e+00 0.0e+00 1.000000 0.0e+00 0.00% 5.0e-01 0 c",
        "bad 4 1x2x1x3 float64 1.0e+00 2.0e-01 0.997669 5.5e-02 50.00% 5.0e-01 2 d",
        "bad 5 1x2x1x3 / 1x1x1x3 float64 inf inf 0.000000 inf 100.00% 5.0e-01 inf e",
        "bad 6 1x2x1x3 float64 1.0e+00 2.0e-01 0.997669 5.5e-02 50.00% 5.0e-01 2 f",
    ]
    assert all(len(line) <= 40 for line in lines[start + 6 :] if not line.startswith("why"))
