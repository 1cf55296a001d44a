"""Mistakes in activations: one name, GELU, for several functions."""

from __future__ import annotations

import math
from typing import Any

from npconv.backend import special_functions
from npconv.golden.mistakes.catalogue import mistake
from npconv.layers import ACTIVATIONS, gelu, gelu_tanh, quick_gelu, relu, silu
from npconv.plan.step import Step


def is_not(*functions: Any) -> Any:
    """Return what tells of a step whether its activation is none of `functions`."""

    def applies(step: Step) -> bool:
        return ACTIVATIONS.get(step.attributes["hidden_act"]) not in functions

    return applies


def is_gelu(step: Step) -> bool:
    """Tell whether the activation is the exact GELU."""
    return ACTIVATIONS.get(step.attributes["hidden_act"]) is gelu


@mistake(
    "gelu-tanh",
    "tanh GELU",
    "activation",
    "candle#900; the default of jax.nn.gelu (jax#4428)",
    applies=is_not(gelu_tanh),
)
def tanh_gelu(x: Any, *, hidden_act: str) -> Any:
    """Return the tanh approximation."""
    return gelu_tanh(x)


@mistake(
    "gelu-quick",
    "quick GELU (x * sigmoid(1.702 x))",
    "activation",
    "Microsoft's CvT (timm#2176); tinygrad#16162",
    applies=is_not(quick_gelu),
)
def sigmoid_gelu(x: Any, *, hidden_act: str) -> Any:
    """Return the logistic approximation."""
    return quick_gelu(x)


@mistake(
    "gelu-erf",
    "erf GELU (the exact one)",
    "activation",
    "Microsoft's CvT was trained with quick GELU, transformers runs this (timm#2176)",
    applies=is_not(gelu),
)
def erf_gelu(x: Any, *, hidden_act: str) -> Any:
    """Return the exact form, where another was trained."""
    return gelu(x)


@mistake(
    "gelu-without-root",
    "GELU with erf(x) in place of erf(x / sqrt(2))",
    "activation",
    "erf is not the normal distribution: they differ by the root",
    applies=is_gelu,
)
def gelu_without_root(x: Any, *, hidden_act: str) -> Any:
    """``x * (1 + erf(x)) / 2``."""
    return x * 0.5 * (1.0 + special_functions(x).erf(x))


@mistake("activation-relu", "ReLU", "activation", "an export that knows no GELU", applies=is_not(relu))
def only_relu(x: Any, *, hidden_act: str) -> Any:
    """Return the most common activation."""
    return relu(x)


@mistake("activation-silu", "SiLU (x * sigmoid(x))", "activation", "EfficientNet's activation", applies=is_not(silu))
def only_silu(x: Any, *, hidden_act: str) -> Any:
    """Quick GELU without its factor."""
    return silu(x)


@mistake(
    "activation-missing",
    "no activation",
    "activation",
    "a line that was left out",
    applies=is_not(ACTIVATIONS["linear"]),
)
def no_activation(x: Any, *, hidden_act: str) -> Any:
    """Return the input as it is."""
    return x.copy()


@mistake(
    "activation-twice",
    "activation taken twice",
    "activation",
    "once in the layer and once in the block",
    applies=is_not(ACTIVATIONS["linear"], relu),
)
def activation_twice(x: Any, *, hidden_act: str) -> Any:
    """Return the activation of the activation."""
    return ACTIVATIONS[hidden_act](ACTIVATIONS[hidden_act](x))


@mistake(
    "gelu-normal-distribution",
    "GELU as x times the normal distribution",
    "activation",
    "scipy.stats.norm.cdf",
    applies=is_gelu,
    invisible="the normal distribution is (1 + erf(x / sqrt(2))) / 2",
)
def gelu_by_normal_distribution(x: Any, *, hidden_act: str) -> Any:
    """``x * ndtr(x)``."""
    return x * special_functions(x).ndtr(x)


@mistake(
    "gelu-erfc",
    "GELU by erfc",
    "activation",
    "libraries that have erfc only",
    applies=is_gelu,
    invisible="1 + erf(z) is erfc(-z)",
)
def gelu_by_erfc(x: Any, *, hidden_act: str) -> Any:
    """``x * erfc(-x / sqrt(2)) / 2``."""
    return x * 0.5 * special_functions(x).erfc(-x / math.sqrt(2.0))
