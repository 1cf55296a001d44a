"""Every layer as one explicit function: arrays in, array out, nothing stored, inputs never written to.

Read in this order: ``conv``, ``normalization``, ``activations``, ``tokens``, ``stochastic``, ``loss``.
``@shapes`` above a layer says and checks the shapes of its arrays (``shapes``), in letters that are explained at the
top of the package, in ``npconv/__init__.py``; ``@guarded`` says them only. ``letters`` works out what they come to.

A layer returns the dtype of its first array. float16 is computed in float32, where sums neither overflow nor stop
growing; a layer's named parts (``grn_strength``, ``attention_scores``) stay in float32 until the last returns. Arrays
of other shapes, of integers or of another library are an `InputError`.
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
from npconv.layers.conv import average_pool2d, conv2d, depthwise_conv2d, pad_end, pointwise_conv2d
from npconv.layers.loss import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    mean_squared_error,
    soft_cross_entropy,
)
from npconv.layers.normalization import (
    NORMS,
    batch_norm,
    batch_norm_training,
    global_response_norm,
    grn_apply,
    grn_relative,
    grn_strength,
    layer_norm,
    layer_scale,
    norm_layer,
    num_batches_tracked,
    rms_norm,
    running_mean,
    running_var,
    simple_norm,
)
from npconv.layers.stochastic import drop, drop_path, drop_path_mask, dropout, dropout_mask
from npconv.layers.tokens import (
    attention,
    attention_context,
    attention_scores,
    class_token,
    global_average_pool,
    global_max_pool,
    halfway,
    join_class_token,
    join_features,
    linear,
    map_tokens,
    positions_map,
    softmax,
    token_mean,
)

__all__ = ["conv2d", "depthwise_conv2d", "pad_end", "pointwise_conv2d"]
__all__ += ["batch_norm", "global_response_norm", "grn_apply", "grn_relative", "grn_strength", "layer_norm"]
__all__ += ["NORMS", "layer_scale", "norm_layer", "rms_norm", "simple_norm"]
__all__ += ["ACTIVATIONS", "activation", "gelu", "gelu_tanh", "hardswish", "identity", "mish", "quick_gelu", "relu"]
__all__ += ["selu", "silu"]
__all__ += ["average_pool2d", "global_average_pool", "global_max_pool", "halfway", "join_features"]
__all__ += ["attention", "attention_context", "attention_scores", "linear", "softmax", "token_mean"]
__all__ += ["class_token", "join_class_token", "map_tokens", "positions_map"]
__all__ += ["batch_norm_training", "num_batches_tracked", "running_mean", "running_var"]
__all__ += ["drop", "drop_path", "drop_path_mask", "dropout", "dropout_mask"]
__all__ += ["binary_cross_entropy_with_logits", "cross_entropy", "mean_squared_error", "soft_cross_entropy"]
