"""The golden cases of gradients: those of the forward operations, with an upstream gradient before their inputs.

Each is one gradient, that of the argument which its attribute ``wrt`` names, and is called after both. Small results
are taken, and of each operation those that show its mistakes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np

from npconv.golden.blocks import BACKWARD, WRT, case_plan
from npconv.golden.case import compute
from weights_tools.goldens.cases import Drawn, OperationCase, uniform
from weights_tools.goldens.operations import ACTIVATIONS

#: Operations and blocks, cases of theirs, and the arguments whose gradients are taken there.
ROWS: tuple[tuple[str, str, str], ...] = (
    ("conv2d", "same_size", "x weight bias"),
    ("conv2d", "downsampling patches_3x3 not_square dilated", "x weight"),
    ("depthwise_conv2d", "block_7x7", "x weight bias"),
    ("depthwise_conv2d", "larger_than_map not_square keys_even keys_odd dilated", "x weight"),
    ("pointwise_conv2d", "expand", "x weight bias"),
    ("pointwise_conv2d", "square", "x weight"),
    ("pointwise_conv2d", "contract", "x"),
    ("pointwise_conv2d", "kernel_1x1", "weight"),
    ("linear", "tokens classifier", "x weight bias"),
    ("linear", "square", "x weight"),
    ("layer_norm", "map tokens", "x weight bias"),
    ("layer_norm", "tiny_variance_map tiny_variance_tokens", "x weight"),
    ("layer_norm", "square_map pooled tiny_variance_pooled constant", "x"),
    ("rms_norm simple_norm", "map tiny", "x weight"),
    ("rms_norm simple_norm", "pooled", "x"),
    ("batch_norm batch_norm_training", "map", "x weight bias"),
    ("batch_norm batch_norm_training", "tiny_variance", "x weight"),
    ("activation", " ".join(f"{name} {name}_near_zero" for name in ACTIVATIONS), "x"),
    ("grn_strength", "map dead_channel", "x"),
    ("grn_relative", "two_samples tiny", "strength"),
    ("grn_apply", "map", "x relative weight bias"),
    ("grn_apply", "one_axis", "weight"),
    ("global_response_norm", "two_samples", "x weight bias"),
    ("global_response_norm", "tiny zeros", "x"),
    ("layer_scale", "map", "x layer_scale_parameter"),
    ("residual", "tokens", "x branch"),
    ("global_average_pool global_max_pool average_pool2d", "odd even", "x"),
    ("halfway join_features", "pooled", "x y"),
    ("pad_end map_tokens", "map", "x"),
    ("token_mean", "tokens", "x"),
    ("tokens", "without_class_token", "x"),
    ("tokens", "class_token", "x cls_token"),
    ("positions_map", "without_class_token class_token", "x"),
    ("class_token", "class_token", "x"),
    ("join_class_token", "keys", "cls_token x"),
    ("join_class_token", "one_for_all", "cls_token"),
    ("attention_scores", "three_heads one_head", "query key"),
    ("softmax", "scores", "x"),
    ("attention_context", "three_heads one_head", "probabilities value"),
    ("attention", "three_heads as_many_keys", "query key value"),
    ("drop_path", "tokens", "x"),
    ("dropout", "probabilities", "x"),
    ("cross_entropy", "labels ignored", "logits"),
    ("mean_squared_error", "targets", "predictions"),
    ("binary_cross_entropy_with_logits", "targets", "logits"),
    ("half_square", "map", "x"),
    ("convnext_block", "block", "x layer_scale_parameter"),
    ("convnextv2_block", "block", "x grn.weight"),
    ("cvt_block", "class_token", "x"),
)

#: The same by operation and case.
GRADIENTS = {
    (operation, case): wrt.split()
    for operations, cases, wrt in ROWS
    for operation in operations.split()
    for case in cases.split()
}

#: Standard deviations of upstream gradients that are not 1: the results would be too large for float16.
UPSTREAM = {("layer_norm", "tiny_variance_pooled"): 2.0**-10, ("grn_relative", "tiny"): 2.0**-10}


def gradients(forward: Iterable[OperationCase]) -> Iterator[OperationCase]:
    """Yield the cases of gradients that follow from forward ones."""
    for case in forward:
        for wrt in GRADIENTS.get((case.operation, case.name), ()):
            attributes = {**case.attributes, WRT: wrt}
            yield OperationCase(
                f"{case.operation}{BACKWARD}", f"{case.name}_{wrt}", case.why, partial(draw, case), attributes
            )


def draw(case: OperationCase, rng: np.random.Generator) -> Drawn:
    """Draw the arrays of a forward case, and before them an upstream gradient of the shape of its result."""
    inputs, params = case.draw(rng)
    plan = case_plan(case.operation, len(inputs), params, case.attributes, inputs[0].ndim)
    std = UPSTREAM.get((case.operation, case.name), 1.0)
    return [uniform(rng, *compute(plan, inputs, params, "float64").shape, std=std), *inputs], params
