"""For each operation what it costs, by shapes alone, in multiply-adds.

Multiply-adds are counted as the papers count them ("FLOPs" there): those of convolutions, linear layers and the two
matrix products of attention, for one picture. Normalizations, activations, averages and residuals count as none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from npconv.gradients.gradient_of import UPSTREAM
from npconv.layers.letters import Shape
from npconv.plan.operations_backward import passed_back
from npconv.plan.step import Step


def multiply_adds(step: Step, shapes: Mapping[str, Shape], params: Mapping[str, Shape]) -> int:
    """Return the multiply-adds of a step, from the shapes of the model's results and those of its parameters.

    The gradient of each factor of a product takes as many as the product.
    """
    back = passed_back(step.operation)
    rule = MULTIPLY_ADDS.get(back.operation if back else step.operation)
    if rule is None or step.attributes.get("wrt") == "bias":
        return 0
    inputs = [shapes[name] for name in step.inputs]
    if back:
        given = back.given(step, inputs, params)
        return rule(given.pop(UPSTREAM), **given)
    return rule(shapes[step.name], *inputs, **{name: params[full] for name, full in step.params.items()})


def per_output(result: Shape, x: Shape, weight: Shape, bias: Shape | None = None) -> int:
    """Every number of the result takes each number of one row or kernel of the weight."""
    return math.prod(result) * math.prod(weight[1:])


def attention_scores(result: Shape, query: Shape, key: Shape) -> int:
    """(N, T, D) by (N, D, S), cut into heads."""
    return math.prod(query) * key[1]


def attention_context(result: Shape, probabilities: Shape, value: Shape) -> int:
    """(N, T, S) by (N, S, D), cut into heads."""
    return math.prod(result) * value[1]


#: The rule of every operation that has any.
MULTIPLY_ADDS: dict[str, Callable[..., int]] = {
    "conv2d": per_output,
    "depthwise_conv2d": per_output,
    "pointwise_conv2d": per_output,
    "linear": per_output,
    "attention_scores": attention_scores,
    "attention_context": attention_context,
}
