"""Mistakes in the gradients of parameters, which sum up over samples and positions."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from npconv.golden.mistakes.catalogue import Edit, edit, mistake, of_gradient, of_input, of_output
from npconv.golden.mistakes.convolution import read_as_channels_last

#: Layers with a weight and a bias of one shape, those with a bias for each channel of a map, and all with parameters.
PAIRED = ("layer_norm_backward", "batch_norm_backward", "batch_norm_training_backward", "grn_apply_backward")
MAPPED = ("conv2d_backward", "depthwise_conv2d_backward", "pointwise_conv2d_backward", *PAIRED[1:])
TRAINED = (
    *(*MAPPED, "linear_backward", "layer_norm_backward"),
    *("rms_norm_backward", "simple_norm_backward", "layer_scale_backward", "tokens_backward"),
)

of_parameter = partial(mistake, TRAINED, applies=of_gradient("weight", "layer_scale_parameter", "cls_token"))
of_parameter("averaged-over-batch", "parameter's gradient averaged over the batch", "a mean over samples in the layer")(
    Edit(lambda right, grad_y, *inputs, **others: right(grad_y, *inputs, **others) / len(grad_y))
)
of_parameter("accumulated", "parameter's gradient counted twice", "gradients of the step before not set to 0")(
    of_output(lambda gradient: 2 * gradient)
)


def of_first_sample(right: Any, grad_y: Any, *inputs: Any, **others: Any) -> Any:
    """Leave out the upstream gradient of all samples but the first."""
    first = np.zeros_like(grad_y)
    first[0] = grad_y[0]
    return right(first, *inputs, **others)


of_parameter("first-sample", "parameter's gradient of the first sample alone", "a batch of 1 taken for granted")(
    Edit(of_first_sample)
)


def averaged(right: Any, grad_y: Any, *inputs: Any, **others: Any) -> Any:
    """Divide what was summed up by the number of terms."""
    gradient = right(grad_y, *inputs, **others)
    return gradient * (gradient.size / grad_y.size)


mistake(
    (*MAPPED, "linear_backward", "layer_norm_backward"),
    "bias-averaged",
    "bias gradient averaged over samples and positions",
    "a mean in place of a sum",
    applies=of_gradient("bias"),
)(Edit(averaged))
mistake(
    MAPPED,
    "bias-over-wrong-axes",
    "bias gradient summed over the axes of a channels-last map",
    "grad_y.sum((0, 1, 2)) of NHWC on NCHW",
    applies=of_gradient("bias"),
)(of_input(read_as_channels_last))

mistake(
    PAIRED,
    "exchanged",
    "gradients of weight and bias exchanged",
    "gamma and beta by position",
    applies=of_gradient("weight", "bias"),
)(edit(wrt={"weight": "bias", "bias": "weight"}.get))
