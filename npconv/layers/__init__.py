"""Every layer as one explicit function: arrays in, array out, nothing stored, inputs never written to.

Read in this order: ``conv``, ``normalization``, ``activations``, ``pooling``, ``tokens``, ``stochastic``, ``loss``.
The letters of the shapes are explained at the top of the package, in ``npconv/__init__.py``.
"""

from npconv.layers.activations import (
    ACTIVATIONS,
    activation,
    gelu,
    gelu_tanh,
    hardswish,
    identity,
    mish,
    quick_gelu,
    relu,
    selu,
    silu,
)
from npconv.layers.conv import conv2d, depthwise_conv2d, pointwise_conv2d
from npconv.layers.loss import binary_cross_entropy_with_logits, cross_entropy, mean_squared_error
from npconv.layers.normalization import batch_norm, global_response_norm, layer_norm
from npconv.layers.pooling import average_pool2d, global_average_pool
from npconv.layers.stochastic import drop_path, dropout
from npconv.layers.tokens import attention, linear, softmax

__all__ = [
    "ACTIVATIONS",
    "activation",
    "attention",
    "average_pool2d",
    "batch_norm",
    "binary_cross_entropy_with_logits",
    "conv2d",
    "cross_entropy",
    "depthwise_conv2d",
    "drop_path",
    "dropout",
    "gelu",
    "gelu_tanh",
    "global_average_pool",
    "global_response_norm",
    "hardswish",
    "identity",
    "layer_norm",
    "linear",
    "mean_squared_error",
    "mish",
    "pointwise_conv2d",
    "quick_gelu",
    "relu",
    "selu",
    "silu",
    "softmax",
]
