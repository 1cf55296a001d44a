"""Two mistakes at once in one step, and the same mistake in every block."""

from __future__ import annotations

from functools import partial

import numpy as np

from npconv.golden.mistakes.precision import HALF
from npconv.layers import gelu_tanh
from tests.golden.unlisted.continuous import EPS
from tests.golden.unlisted.entry import Entry, reason
from tests.golden.unlisted.geometry import bordered
from tests.golden.unlisted.parameters import int8_a_channel
from tests.golden.unlisted.port import both, computed, every, load, settings, weights
from tests.golden.unlisted.precision import BFLOAT16, FLOAT16, brain

entry = partial(Entry, "several")

CIRCULAR = r"circular|wrap|periodic|cyclic"

ENTRIES = (
    entry(
        *("kernel-of-another-block-and-circular-border", "convnext", "stages.0.layers.1.dwconv"),
        both(load("weight", of="stages.0.layers.0.dwconv"), bordered((3, 3), (3, 3), "wrap")),
        reason(r"stages\.0\.layers\.0\.dwconv\.weight", CIRCULAR),
        "a loop of loading, and a convolution by Fourier transform",
    ),
    entry(
        *("eps-2e-5-and-gamma-reversed", "dinov3_convnext", "stages.0.layers.0.layer_norm"),
        both(settings(eps=2e-5), weights(weight=lambda w: w[::-1])),
        reason(EPS, r"revers|flip|backward|order|permut", numbers=(2e-5,)),
        "a constant mistyped, and a vector written by a stack",
        model="tiny variance",
    ),
    entry(
        *("scale-not-rooted-and-bfloat16", "cvt", "stages.0.layers.0.attention.attention.scores"),
        both(settings(scale=1 / 3), computed(lambda right, q, k, **how: right(brain(q), brain(k), **how))),
        reason(BFLOAT16, numbers=(1 / 3, 6**0.5 / 3)),
        "1 / head_dim for its root, on a TPU",
    ),
    entry(
        *("tanh-gelu-in-float16", "convnext", "stages.0.layers.0.act"),
        computed(lambda right, x, hidden_act: gelu_tanh(x.astype(HALF).astype(np.float32)).astype(HALF)),
        reason(r"tanh", FLOAT16),
        "ggml's table",
    ),
    entry(
        *("circular-border-everywhere", "convnext", "stages.0.layers.0.dwconv"),
        every("dwconv", bordered((3, 3), (3, 3), "wrap")),
        reason(CIRCULAR),
        "convolutions by Fourier transform",
    ),
    entry(
        *("eps-2e-5-everywhere", "convnextv2", "embeddings.layernorm"),
        every("layernorm", settings(eps=2e-5)),
        reason(EPS, numbers=(2e-5,)),
        "one constant for all norms, mistyped",
        model="tiny variance",
    ),
    entry(
        *("branches-times-0.9", "dinov3_convnext", "stages.0.layers.0"),
        both(*(every(f"layers.{i}", computed(lambda right, x, b: right(x, b * np.float32(0.9)))) for i in (0, 1))),
        reason(
            numbers=(0.9,),
        ),
        "the scale of drop path kept for inference",
    ),
    entry(
        *("int8-everywhere", "convnextv2", "stages.0.layers.0.pwconv1"),
        both(every("pwconv1", weights(weight=int8_a_channel)), every("pwconv2", weights(weight=int8_a_channel))),
        reason(
            r"int8|8 bits",
            r"channel|row|output",
        ),
        "TFLite's weights",
    ),
)
