"""Parameters by name and shape: the counts of every published model, and first values."""

import tracemalloc

import numpy as np
import pytest
from support import golden_files

from npconv.models import ConvNextConfig, ConvNextV2Config, CvtConfig, convnext, convnextv2, cvt
from npconv.models.parameters import count_parameters, is_buffer, random_parameters

#: Depths, widths, parameters with 1000 classes and, where it is published, with 21,841.
CONVNEXT = {
    "tiny": ([3, 3, 9, 3], [96, 192, 384, 768], 28_589_128, 44_615_857),
    "small": ([3, 3, 27, 3], [96, 192, 384, 768], 50_223_688, 66_250_417),
    "base": ([3, 3, 27, 3], [128, 256, 512, 1024], 88_591_464, 109_953_489),
    "large": ([3, 3, 27, 3], [192, 384, 768, 1536], 197_767_336, 229_799_953),
    "xlarge": ([3, 3, 27, 3], [256, 512, 1024, 2048], 350_196_968, 392_900_177),
}
CONVNEXTV2 = {
    "atto": ([2, 2, 6, 2], [40, 80, 160, 320], 3_708_400),
    "femto": ([2, 2, 6, 2], [48, 96, 192, 384], 5_233_240),
    "pico": ([2, 2, 6, 2], [64, 128, 256, 512], 9_066_280),
    "nano": ([2, 2, 8, 2], [80, 160, 320, 640], 15_623_800),
    "tiny": ([3, 3, 9, 3], [96, 192, 384, 768], 28_635_496),
    "base": ([3, 3, 27, 3], [128, 256, 512, 1024], 88_717_800),
    "large": ([3, 3, 27, 3], [192, 384, 768, 1536], 197_956_840),
    "huge": ([3, 3, 27, 3], [352, 704, 1408, 2816], 660_289_640),
}
CVT = {
    "cvt-13": ([1, 2, 10], [64, 192, 384], [1, 3, 6], 19_997_480),
    "cvt-21": ([1, 4, 16], [64, 192, 384], [1, 3, 6], 31_622_696),
    "cvt-w24": ([2, 2, 20], [192, 768, 1024], [3, 12, 16], 277_196_392),
}


def count(family, config):
    """Count the parameters of a classifier, and make sure that no array was made for it."""
    tracemalloc.start()
    try:
        number = count_parameters(family.image_classification_shapes(config))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000  # names and shapes; the smallest of these models takes 15 MB
    return number


@pytest.mark.parametrize("name", CONVNEXT)
def test_convnext_counts(name):
    depths, widths, with_1000, with_21841 = CONVNEXT[name]
    fields = {"depths": depths, "hidden_sizes": widths}
    assert count(convnext, ConvNextConfig(**fields, num_labels=1000)) == with_1000
    assert count(convnext, ConvNextConfig(**fields, num_labels=21841)) == with_21841


@pytest.mark.parametrize("name", CONVNEXTV2)
def test_convnextv2_counts(name):
    depths, widths, with_1000 = CONVNEXTV2[name]
    assert count(convnextv2, ConvNextV2Config(depths=depths, hidden_sizes=widths, num_labels=1000)) == with_1000


@pytest.mark.parametrize("name", CVT)
def test_cvt_counts(name):
    depth, widths, heads, with_1000 = CVT[name]
    assert count(cvt, CvtConfig(depth=depth, embed_dim=widths, num_heads=heads, num_labels=1000)) == with_1000


@pytest.mark.parametrize("name", golden_files.NAMES)
def test_shapes_are_those_of_transformers(name):
    golden = golden_files.load(name)
    shapes = getattr(golden_files.MODULES[golden.family], f"{golden.task}_shapes")(golden.config())
    assert shapes == {key: array.shape for key, array in golden.weights.items()}


def test_buffers_are_not_counted():
    shapes = {"a.weight": (3, 4), "a.running_mean": (5,), "a.running_var": (5,), "a.num_batches_tracked": ()}
    assert count_parameters(shapes) == 12
    assert [name for name in shapes if is_buffer(name)] == list(shapes)[1:]


V1 = ConvNextConfig(num_stages=2, hidden_sizes=[16, 32], depths=[1, 1], layer_scale_init_value=0.25)
V2 = ConvNextV2Config(num_stages=2, hidden_sizes=[16, 32], depths=[1, 1], initializer_range=0.5)
SMALL_CVT = CvtConfig(embed_dim=[16, 16, 32], num_heads=[1, 2, 4], depth=[1, 1, 1])
MODELS = [(convnext, V1), (convnextv2, V2), (cvt, SMALL_CVT)]


@pytest.mark.parametrize(("family", "config"), MODELS)
def test_first_values_are_those_of_transformers(family, config):
    shapes = family.image_classification_shapes(config)
    values = dict(random_parameters(shapes, config, seed=3))
    assert {name: value.shape for name, value in values.items()} == shapes
    for name, value in values.items():
        kind = name.rpartition(".")[2]
        assert value.dtype == (np.int64 if kind == "num_batches_tracked" else np.float32)
        if ".grn." in name or kind in ("bias", "running_mean", "num_batches_tracked"):
            assert (value == 0).all()
        elif kind == "layer_scale_parameter":
            assert (value == 0.25).all()
        elif value.ndim == 1:
            assert (value == 1).all()
        elif value.size >= 256:
            # The mean of k squares of normal numbers lies within 6 of its standard deviations, sqrt(2 / k), of 1: a
            # seed for which it does not would be one in 10**8.
            variance = float(np.mean(np.square(value / config.initializer_range, dtype=np.float64)))
            assert abs(variance - 1) < 6 * (2 / value.size) ** 0.5


@pytest.mark.parametrize(("family", "config"), MODELS)
def test_seeds_make_the_values(family, config):
    shapes = family.image_classification_shapes(config)
    first, again, other = (dict(random_parameters(shapes, config, seed)) for seed in (1, 1, 2))
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
        if value.ndim > 1 and ".grn." not in name:
            assert (value != other[name]).any()
    kernels = [value.ravel()[:8] for value in first.values() if value.ndim == 2]
    assert all((a != b).any() for i, a in enumerate(kernels) for b in kernels[:i])  # a stream for each
