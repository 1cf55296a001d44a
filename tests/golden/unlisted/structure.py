"""Structure: what takes its input elsewhere, is done twice, in another order, over other axes or with a mask."""

from __future__ import annotations

from functools import partial

import numpy as np

from npconv.golden.mistakes.normalization import affine, normalized_over
from npconv.layers import layer_scale, softmax
from tests.golden.unlisted.entry import Entry, reason
from tests.golden.unlisted.port import at, blocks_exchanged, both, computed, result, run_twice, takes, unrecorded

entry = partial(Entry, "structure")

A = "attention.attention"
CONVOLUTION, NORM = "convolution_projection.convolution", "convolution_projection.normalization"
VISION = f"stages.0.layers.0.{A}.convolution_projection_query"
MOVED = r"before|after|order|exchang|swap|moved|takes|input|first"


def norm_over_width_too(right, x, *, weight, bias, eps, axis):
    """Normalize over channels and columns."""
    return affine(normalized_over(x, (1, 3), eps), weight, bias, 1)


def norm_then_mean(right, x, *, weight, bias, eps, axis):
    """Put the mean of the normalized positions first."""
    y = right(x, weight=weight, bias=bias, eps=eps, axis=axis)
    return np.concatenate([y[:, 1:].mean(axis=1, keepdims=True), y[:, 1:]], axis=1)


def scale_of_the_sum(port, name):
    """Scale the sum, by the parameter of the layer scale."""
    scale = port.params[port.steps[f"{name}.layer_scale"].params["layer_scale_parameter"]]
    result(lambda y: layer_scale(y, scale))(port, name)


def masked(seen):
    """Let queries see some keys only: `seen` takes the numbers of queries and keys."""

    def call(right, x, *, axis):
        return softmax(np.where(seen(*x.shape[2:]), x, np.float32(-np.inf)), axis=axis)

    return computed(call)


ENTRIES = (
    entry(
        *("blocks-exchanged", "convnext", "stages.0.layers.0.dwconv"),
        blocks_exchanged("stages.0.layers.0", "stages.0.layers.1"),
        reason(r"layers\.1|block"),
        "a dictionary of blocks in another order",
    ),
    entry(
        *("block-run-twice", "dinov3_convnext", "stages.0.layers.1"),
        run_twice(),
        reason(r"twice|again|repeat|two times|once more|2 times", r"block|layers\.1|steps"),
        "the last block of a stage once in the loop and once after it",
    ),
    entry(
        *("norm-before-convolution", "convnext", "stages.0.layers.0.dwconv"),
        both(
            takes("stages.0.layers.0.layernorm"),
            at("stages.0.layers.0.layernorm", takes("embeddings.layernorm")),
            at("stages.0.layers.0.pwconv1", takes("stages.0.layers.0.dwconv")),
        ),
        reason(MOVED, r"norm"),
        "pre-norm, as in other blocks",
    ),
    entry(
        *("response-norm-before-activation", "convnextv2", "stages.0.layers.1.act"),
        both(
            takes("stages.0.layers.1.grn"),
            at("stages.0.layers.1.grn.strength", takes("stages.0.layers.1.pwconv1")),
            at("stages.0.layers.1.grn", takes("stages.0.layers.1.pwconv1", "")),
            at("stages.0.layers.1.pwconv2", takes("stages.0.layers.1.act")),
        ),
        reason(MOVED, r"grn|response"),
        "norm, then activation, as everywhere else",
    ),
    entry(
        *("layer-scale-of-the-sum", "convnext", "stages.0.layers.1"),
        both(takes("", "stages.0.layers.1.pwconv2"), scale_of_the_sum, unrecorded("stages.0.layers.1.layer_scale")),
        reason(r"scale", r"sum|residual|after|both|whole"),
        "brackets in another place",
    ),
    entry(
        *("second-residual-from-tokens", "cvt", "stages.0.layers.0.output"),
        takes("stages.0.tokens", ""),
        reason(r"stages\.0\.tokens|block's input|input of the block"),
        "a shortcut kept for both sums",
    ),
    entry(
        *("parallel-block", "cvt", "stages.0.layers.0.layernorm_after"),
        takes("stages.0.tokens"),
        reason(r"stages\.0\.tokens|block's input|input of the block|parallel"),
        "attention and perceptron side by side, as in GPT-J",
    ),
    entry(
        *("head-without-class-token", "cvt", "layernorm"),
        both(
            takes("stages.1.layers.0.output"),
            computed(lambda right, x, **arguments: right(x[:, 1:], **arguments)),
        ),
        reason(r"token|positions|stages\.1\b", never=r"all tokens|included"),
        "average pooling of the positions alone",
    ),
    entry(
        *("mean-of-the-normalized", "dinov3_convnext", "layer_norm"),
        computed(norm_then_mean),
        reason(r"mean|pool|average", r"norm|after|before|order"),
        "the norm before the pooling, as in other backbones",
    ),
    entry(
        *("strength-of-first-sample", "convnextv2", "stages.0.layers.0.grn.strength"),
        result(lambda y: np.repeat(y[:1], len(y), axis=0)),
        reason(r"sample|batch|picture"),
        "an export with a batch of 1 broadcast",
    ),
    entry(
        *("response-norm-left-out", "convnextv2", "stages.0.layers.0.grn"),
        computed(lambda right, x, relative, **params: x.copy()),
        reason(
            r"left out|missing|skipp|omit|without|no grn|no response|not done|is its input|initial|zero",
            also_kinds=("parameters",),  # its weight and bias are zeros at first, and then it does nothing
        ),
        "ConvNeXt V1's block with the weights of V2",
    ),
    entry(
        *("norm-over-width-too", "convnext", "stages.0.layers.1.layernorm"),
        computed(norm_over_width_too),
        reason(r"over|axes|axis|statistic", r"width|\bW\b|column|\b3\b"),
        "the last two axes of a map (N, H, W, C)",
    ),
    entry(
        *("causal-mask", "cvt", f"stages.0.layers.0.{A}.dropout"),
        masked(lambda queries, keys: np.tri(queries, keys, dtype=bool)),
        reason(r"mask|causal|triang"),
        "is_causal=True of a library for language models",
    ),
    entry(
        *("class-token-not-a-key", "cvt", f"stages.1.layers.0.{A}.dropout"),
        masked(lambda queries, keys: np.arange(keys) > 0),
        reason(r"mask|key 0|first key|class token|left out"),
        "positions attend to positions",
    ),
    entry(
        *("value-for-key", "cvt", f"stages.0.layers.0.{A}.scores"),
        both(
            takes("", f"stages.0.layers.0.{A}.projection_value"),
            at(f"stages.0.layers.0.{A}", takes("", f"stages.0.layers.0.{A}.projection_key")),
        ),
        reason(r"projection_value|\bvalues?\b"),
        "a split of (q, k, v) in another order",
    ),
    entry(
        *("values-of-key-convolution", "cvt", f"stages.1.layers.0.{A}.projection_value"),
        takes(f"stages.1.layers.0.{A}.key"),
        reason(r"attention\.key\b|of the keys?\b|convolution_projection_key"),
        "one convolution for keys and values",
    ),
    entry(
        *("batch-norm-before-convolution", "cvt", f"{VISION}.{CONVOLUTION}"),
        both(
            takes(f"{VISION}.{NORM}"),
            at(f"{VISION}.{NORM}", takes(f"stages.0.layers.0.{A}.map")),
            at(f"{VISION}.linear_projection", takes(f"{VISION}.{CONVOLUTION}")),
        ),
        reason(MOVED, r"norm"),
        "bn, conv as in pre-activation networks",
    ),
    entry(
        *("last-block-lost", "convnextv2", "stages.1.downsampling_layer.0"),
        takes("stages.0.layers.0"),
        reason(r"stages\.0\.layers\.0(?!\.)|block"),
        "a variable that is assigned one turn late",
    ),
    entry(
        *("shortcut-of-the-stage", "dinov3_convnext", "stages.0.layers.1"),
        takes("stages.0.downsample_layers.1", ""),
        reason(r"stages\.0\.downsample_layers\.1|stage's input|input of the stage"),
        "a shortcut taken before the loop",
    ),
    entry(
        *("probabilities-for-logits", "convnext", "classifier"),
        result(lambda y: softmax(y, axis=-1)),
        reason(r"softmax|probabilit"),
        "classifier_activation='softmax', the default of keras.applications",
    ),
)
