"""Every layer backwards: the mirror of ``npconv/layers``, with ``NAME_backward`` for each function there.

A backward function takes the gradient of the loss with respect to the layer's result, `grad_y`, and what it needs of
the layer's arguments, and returns the gradient with respect to each of them: ``grad_x``, ``grad_weight``,
``grad_bias``. Each has the shape and the dtype of what it is the gradient of. Nothing is stored, and no input
is written to.

Read in this order, each beside the file of the same name in ``npconv/layers``: ``conv``, ``normalization``,
``activations``, ``tokens``, ``stochastic``, ``loss``; ``gradient_of`` says what stands above each function.
How a whole model is walked backwards: ``npconv/plan/backward.py``.
"""

from npconv.gradients.activations import (
    activation_backward,
    gelu_backward,
    gelu_tanh_backward,
    hardswish_backward,
    identity_backward,
    mish_backward,
    quick_gelu_backward,
    relu_backward,
    selu_backward,
    silu_backward,
)
from npconv.gradients.conv import (
    average_pool2d_backward,
    conv2d_backward,
    depthwise_conv2d_backward,
    pad_end_backward,
    pointwise_conv2d_backward,
)
from npconv.gradients.loss import (
    binary_cross_entropy_with_logits_backward,
    cross_entropy_backward,
    mean_squared_error_backward,
    soft_cross_entropy_backward,
)
from npconv.gradients.normalization import (
    batch_norm_backward,
    batch_norm_training_backward,
    global_response_norm_backward,
    grn_apply_backward,
    grn_relative_backward,
    grn_strength_backward,
    layer_norm_backward,
    layer_scale_backward,
    rms_norm_backward,
    simple_norm_backward,
)
from npconv.gradients.stochastic import (
    drop_path_backward,
    dropout_backward,
)
from npconv.gradients.tokens import (
    attention_backward,
    attention_context_backward,
    attention_scores_backward,
    class_token_backward,
    global_average_pool_backward,
    global_max_pool_backward,
    halfway_backward,
    join_class_token_backward,
    join_features_backward,
    linear_backward,
    map_tokens_backward,
    positions_map_backward,
    softmax_backward,
    token_mean_backward,
)

__all__ = [
    "activation_backward",
    "attention_backward",
    "attention_context_backward",
    "attention_scores_backward",
    "average_pool2d_backward",
    "batch_norm_backward",
    "batch_norm_training_backward",
    "binary_cross_entropy_with_logits_backward",
    "class_token_backward",
    "conv2d_backward",
    "cross_entropy_backward",
    "depthwise_conv2d_backward",
    "drop_path_backward",
    "dropout_backward",
    "gelu_backward",
    "gelu_tanh_backward",
    "global_average_pool_backward",
    "global_max_pool_backward",
    "global_response_norm_backward",
    "grn_apply_backward",
    "grn_relative_backward",
    "grn_strength_backward",
    "halfway_backward",
    "hardswish_backward",
    "identity_backward",
    "join_class_token_backward",
    "join_features_backward",
    "layer_norm_backward",
    "layer_scale_backward",
    "linear_backward",
    "map_tokens_backward",
    "mean_squared_error_backward",
    "mish_backward",
    "pad_end_backward",
    "pointwise_conv2d_backward",
    "positions_map_backward",
    "quick_gelu_backward",
    "relu_backward",
    "rms_norm_backward",
    "selu_backward",
    "silu_backward",
    "simple_norm_backward",
    "soft_cross_entropy_backward",
    "softmax_backward",
    "token_mean_backward",
]
