"""Mistakes in activations: one name, GELU, for several functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from npconv.backend import special_functions
from npconv.golden.mistakes.catalogue import Edit, leave_out, mistake, replaced, twice
from npconv.layers import ACTIVATIONS, gelu, gelu_tanh, quick_gelu, relu, silu
from npconv.plan.step import Step

activation = partial(mistake, "activation")
linear = ACTIVATIONS["linear"]


def is_not(*functions: Any) -> Callable[[Step], bool]:
    """Return what tells of a step whether its activation is none of `functions`."""
    return lambda step: ACTIVATIONS.get(step.attributes["hidden_act"]) not in functions


def is_gelu(step: Step) -> bool:
    """Tell whether the activation is the exact GELU."""
    return ACTIVATIONS.get(step.attributes["hidden_act"]) is gelu


def other(function: Callable[[Any], Any]) -> Edit:
    """Take another activation, where it is another."""
    return Edit(replaced(function).call, is_not(function))


activation("gelu-tanh", "tanh GELU", "candle#900; the default of jax.nn.gelu (jax#4428)")(other(gelu_tanh))
activation("gelu-quick", "quick GELU (x * sigmoid(1.702 x))", "Microsoft's CvT (timm#2176); tinygrad#16162")(
    other(quick_gelu)
)
activation(
    "gelu-erf",
    "erf GELU (the exact one)",
    "Microsoft's CvT was trained with quick GELU, transformers runs this (timm#2176)",
)(other(gelu))


activation(
    "gelu-without-root",
    "GELU with erf(x) in place of erf(x / sqrt(2))",
    "erf is not the normal distribution: they differ by the root",
    applies=is_gelu,
)(replaced(lambda x: x * 0.5 * (1.0 + special_functions(x).erf(x))))
activation("activation-relu", "ReLU", "an export that knows no GELU")(other(relu))
activation("activation-silu", "SiLU (x * sigmoid(x))", "EfficientNet's activation")(other(silu))
activation("activation-missing", "no activation", "a line that was left out", applies=is_not(linear))(leave_out())
activation(
    "activation-twice",
    "activation taken twice",
    "once in the layer and once in the block",
    applies=is_not(linear, relu),
)(twice())

activation(
    "gelu-normal-distribution",
    "GELU as x times the normal distribution",
    "scipy.stats.norm.cdf",
    applies=is_gelu,
    invisible="the normal distribution is (1 + erf(x / sqrt(2))) / 2",
)(replaced(lambda x: x * special_functions(x).ndtr(x)))
activation(
    "gelu-erfc",
    "GELU by erfc",
    "libraries that have erfc only",
    applies=is_gelu,
    invisible="1 + erf(z) is erfc(-z)",
)(replaced(lambda x: x * 0.5 * special_functions(x).erfc(-x / math.sqrt(2.0))))
