"""Geometry: borders, strides, dilation and the order of positions."""

from __future__ import annotations

from functools import partial

import numpy as np

from tests.golden.unlisted.entry import Entry, reason
from tests.golden.unlisted.port import Edit, at, both, computed, first_input, settings

entry = partial(Entry, "geometry")

ATTENTION = "attention.attention"
CONVOLUTION = "convolution_projection.convolution"

#: Black, normalized as the pictures of ImageNet are.
BLACK = (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225)
SHIFT = r"shift|offset|one side|uneven|before|after|begin|start|top|left|pad"
ROWS, COLUMNS = r"row|height|vertical|top|down|up|\(", r"column|width|horizontal|left|right|\("


def bordered(rows: tuple[int, int], columns: tuple[int, int], mode: str = "constant", **how) -> Edit:
    """Pad the map so before the windows, and not in the operation; negative numbers take away."""

    def call(right, x, *args, padding, **arguments):
        borders = [(0, 0), (0, 0), rows, columns]
        x = np.pad(x, [(max(a, 0), max(b, 0)) for a, b in borders], mode=mode, **how)
        kept = [slice(max(-a, 0), size + min(b, 0)) for (a, b), size in zip(borders, x.shape, strict=True)]
        return right(x[tuple(kept)], *args, padding=0, **arguments)

    return computed(call)


def border_of_black(right, x, *, padding, **arguments):
    """Pad with black before the normalization."""
    wide = [(0, 0), (0, 0), (padding, padding), (padding, padding)]
    inside = np.pad(np.ones_like(x), wide)
    black = np.asarray(BLACK, np.float32).reshape(1, 3, 1, 1)
    return right(np.pad(x, wide) + (1 - inside) * black, padding=0, **arguments)


def border_afterwards(right, x, *, padding, **arguments):
    """Put a border of zeros around the result of windows that lie within the map."""
    return np.pad(right(x, padding=0, **arguments), ((0, 0), (0, 0), (padding, padding), (padding, padding)))


def rows_begin_at_one(right, x, *, stride, **arguments):
    """Begin with the second row of windows."""
    return right(x, stride=1, **arguments)[:, :, 1::stride, ::stride]


ENTRIES = (
    entry(
        *("reflected-border", "convnext", "stages.0.layers.0.dwconv"),
        bordered((3, 3), (3, 3), "reflect"),
        reason(r"reflect|mirror"),
        "the padding of image libraries",
    ),
    entry(
        *("circular-border", "dinov3_convnext", "stages.0.layers.0.depthwise_conv"),
        bordered((3, 3), (3, 3), "wrap"),
        reason(r"circular|wrap|periodic|cyclic"),
        "a convolution by Fourier transform",
    ),
    entry(
        *("columns-shifted", "convnextv2", "stages.0.layers.0.dwconv"),
        bordered((3, 3), (4, 2)),
        reason(SHIFT, COLUMNS),
        "one of two loops that begins at 1",
    ),
    entry(
        *("rows-shifted", "cvt", f"stages.0.layers.0.{ATTENTION}.convolution_projection_query.{CONVOLUTION}"),
        bordered((0, 2), (1, 1)),
        reason(SHIFT, ROWS),
        "one of two loops that ends late",
    ),
    entry(
        *("dilation-of-two", "convnext", "stages.0.layers.1.dwconv"),
        settings(padding=6, dilation=2),
        reason(r"dilat", numbers=(2.0,)),
        "arguments by position: stride, padding, dilation",
    ),
    entry(
        *("stride-begins-at-row-one", "cvt", f"stages.0.layers.0.{ATTENTION}.convolution_projection_key.{CONVOLUTION}"),
        computed(rows_begin_at_one),
        reason(SHIFT, ROWS),
        "every second row of an unstrided map, the odd ones",
    ),
    entry(
        *("rest-cut-before", "convnext", "embeddings.patch_embeddings"),
        first_input(lambda x: x[:, :, 1:, 2:]),
        reason(r"end|cut|crop|shift|offset|begin|start|first|last|pad|odd"),
        "patches counted from the last row and column",
    ),
    entry(
        *("border-afterwards", "convnextv2", "stages.0.layers.1.dwconv"),
        computed(border_afterwards),
        reason(r"pad|border", r"after|result|output|valid"),
        "VALID, and the size mended afterwards",
    ),
    entry(
        *("one-padding-more", "cvt", "stages.0.embedding.convolution_embeddings.projection"),
        settings(padding=3),
        reason(r"pad", numbers=(3.0, 1.0)),
        "the padding of a 7 x 7 kernel on one of 5 x 5",
    ),
    entry(
        *("border-of-black", "cvt", "stages.0.embedding.convolution_embeddings.projection"),
        computed(border_of_black),
        reason(r"pad|border", r"value|constant|black|-?2\.1|-?2\.0|-?1\.8"),
        "a picture padded before it was normalized",
        model="square",
    ),
    entry(
        *("odd-column-cut-before", "dinov3_convnext", "stages.1.downsample_layers.1"),
        first_input(lambda x: x[:, :, :, 1:]),
        reason(r"end|cut|crop|shift|offset|begin|start|first|last|pad|odd"),
        "windows counted from the last column",
    ),
    entry(
        *("rows-from-below", "cvt", "stages.0.tokens"),
        first_input(lambda x: x[:, :, ::-1]),
        reason(r"flip|mirror|revers|upside|below|bottom", r"row|height|vertical|axis|upside|below|bottom"),
        "textures begin with the lowest row",
    ),
    entry(
        *("border-before-alone", "convnextv2", "stages.1.layers.0.dwconv"),
        bordered((6, 0), (6, 0)),
        reason(r"shift|before|causal|uneven|one side|offset|pad", numbers=(6.0, 3.0, -3.0)),
        "a causal convolution of audio models",
    ),
    entry(
        *("one-stride-left-out", "cvt", f"stages.0.layers.0.{ATTENTION}.convolution_projection_key.{CONVOLUTION}"),
        both(
            settings(stride=[2, 1]),
            at(f"stages.0.layers.0.{ATTENTION}.convolution_projection_value.{CONVOLUTION}", settings(stride=[2, 1])),
        ),
        reason(r"stride", r"\b1\b"),
        "strides (2, 1) for (2, 2)",
    ),
    entry(
        *("pool-shifted", "cvt", f"stages.0.layers.0.{ATTENTION}.convolution_projection_key.convolution_projection"),
        first_input(lambda x: np.pad(x[:, :, 1:, 1:], ((0, 0), (0, 0), (0, 1), (0, 1)))),
        reason(SHIFT),
        "windows that begin at the first pixel, the zeros all after the map",
        model="no class token, average pooling",
    ),
)
