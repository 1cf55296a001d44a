"""Checkers of lesson 12."""

from __future__ import annotations

from typing import Any

import numpy as np

from exercises import exercise
from npconv.golden import assert_close, cases


@exercise(
    "A strength of each channel, then its share of the mean of all: which axes does each sum over, and which stay?",
    "Sum over axes 2 and 3, mean over axis 1, keep the axes, and reshape weight and bias to (C, 1, 1).",
)
def check_1(answer: Any) -> bool:
    """Check a GRN on the golden cases: a function of (x, weight, bias, eps)."""
    for case in cases("global_response_norm"):
        params = {name: case.params[name].copy() for name in ("weight", "bias")}
        with np.errstate(all="ignore"):
            got = np.asarray(answer(case.inputs[0].copy(), params["weight"], params["bias"], case.attributes["eps"]))
        assert_close(got, case=case)  # what it says of a mistake stands in the hint
    return True


@exercise("It is added to a variance, so that nothing is divided by zero (lesson 04).")
def check_2(answer: Any) -> bool:
    """Check the name of the constant that tiny variances show."""
    return answer.strip().lower() in {"eps", "epsilon", "norm_eps", "eps of layernorm"}
