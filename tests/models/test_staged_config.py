"""The configurations of ConvNeXt and V2: stages, and which of them a backbone returns."""

import math

import pytest

from npconv.errors import ConfigError
from npconv.models import ConvNextConfig, ConvNextV2Config
from npconv.models.convnext.configuration import ADDED_FIELDS

STAGED = pytest.mark.parametrize("config_class", [ConvNextConfig, ConvNextV2Config])

DEFAULTS = {
    "patch_size": 4,
    "num_stages": 4,
    "hidden_sizes": [96, 192, 384, 768],
    "depths": [3, 3, 9, 3],
    "drop_path_rate": 0.0,
    "out_features": ["stage4"],
    "out_indices": [4],
    "stage_names": ["stem", "stage1", "stage2", "stage3", "stage4"],
}

#: Those that transformers lacks are written to no file.
ADDED = {
    **{"stem_type": "patch", "kernel_sizes": 7, "norm_eps": 1e-6, "head_norm_first": False, "head_hidden_size": None},
    **{"norm_type": "layer_norm", "pooling": "avg", "output_stride": None},
}


@STAGED
def test_defaults_are_those_documented(config_class):
    config = config_class()
    assert {name: getattr(config, name) for name in DEFAULTS} == DEFAULTS
    assert getattr(config, "layer_scale_init_value", None) == (1e-6 if config_class is ConvNextConfig else None)
    assert set(DEFAULTS) <= set(config.to_dict())
    assert {name: getattr(config, name) for name in ADDED} == ADDED == ADDED_FIELDS
    assert not set(ADDED) & set(config.to_dict())
    assert config_class(**ADDED) == config


ERRORS = [
    ({"patch_size": 0}, "expected patch_size to be an integer from 1"),
    ({"patch_size": [4]}, "expected patch_size to be an integer or a pair"),
    ({"patch_size": [4, 4.0]}, "expected patch_size to be an integer from 1"),
    ({"num_stages": 0}, "expected num_stages to be an integer from 1"),
    ({"num_stages": 3}, "expected hidden_sizes and depths to have num_stages = 3 entries each, got 4 and 4"),
    ({"hidden_sizes": [8, 8]}, "num_stages = 4 entries each, got 2 and 4; set num_stages to their length"),
    ({"depths": [1]}, "num_stages = 4 entries each, got 4 and 1"),
    ({"hidden_sizes": 96}, "expected hidden_sizes to be a list, got 96"),
    ({"hidden_sizes": [96, 192, 0, 768]}, r"expected hidden_sizes\[2\] to be an integer from 1"),
    ({"depths": [3, 3, -1, 3]}, r"expected depths\[2\] to be an integer from 0"),
    ({"depths": "3393"}, "expected depths to be a list"),
    ({"depths": [], "hidden_sizes": [], "num_stages": 1}, "expected depths to name 1 to 10000 layers"),
    ({"depths": [5000, 5001, 0, 0]}, "expected depths to name 1 to 10000 layers"),
    ({"depths": [1] * 10_001}, "expected depths to have at most 10000 entries, got 10001"),
    ({"drop_path_rate": 1.5}, "expected drop_path_rate to be a number from 0 to 1, got 1.5"),
    ({"drop_path_rate": None}, "expected drop_path_rate to be a number from 0 to 1"),
    ({"out_features": ("stage1",)}, "expected out_features to be a list, got tuple"),
    ({"out_features": "stage1"}, "expected out_features to be a list, got str"),
    ({"out_features": ["stage5"]}, "expected out_features from .* in this order and each once; got"),
    ({"out_features": ["stage2", "stage1"]}, "in this order and each once"),
    ({"out_features": ["stage1", "stage1"]}, "in this order and each once"),
    ({"out_indices": 2}, "expected out_indices to be a list or tuple of integers, got 2"),
    ({"out_indices": [1.0]}, "expected out_indices to be a list or tuple of integers"),
    ({"out_indices": [5]}, "expected out_indices from -5 to 4 for the stages"),
    ({"out_indices": [-6]}, "expected out_indices from -5 to 4"),
    ({"out_indices": [2, 1]}, "in this order and each once; got"),
    ({"out_indices": [4, -1]}, "in this order and each once"),
    ({"out_features": ["stage1"], "out_indices": [2]}, "name different stages; give one of them"),
    ({"out_features": ["stage1"], "out_indices": [1, 2]}, "name different stages; give one of them"),
    ({"stem_type": "overlapping"}, "expected stem_type to be one of patch, overlap, overlap_tiered, overlap_act; got "),
    ({"stem_type": None}, "expected stem_type to be one of patch, .*; got None"),
    ({"stem_type": "overlap", "patch_size": 2}, "expected patch_size 4 with stem_type 'overlap', .*; got 2"),
    ({"stem_type": "overlap_act", "patch_size": [4, 3]}, r"expected patch_size 4 with .*; got \[4, 3\]"),
    ({"kernel_sizes": 4}, "expected kernel_sizes to be odd, got 4"),
    ({"kernel_sizes": 0}, "expected kernel_sizes to be an integer from 1"),
    ({"kernel_sizes": "7"}, "expected kernel_sizes to be an integer from 1"),
    ({"kernel_sizes": None}, "expected kernel_sizes to be an integer from 1"),
    ({"kernel_sizes": [7, 7]}, r"expected kernel_sizes to be an integer or one for each of 4 stages, got \[7, 7\]"),
    ({"kernel_sizes": [7, 7, 6, 7]}, r"expected kernel_sizes\[2\] to be odd, got 6"),
    ({"kernel_sizes": [7, 7, 5.0, 7]}, r"expected kernel_sizes\[2\] to be an integer from 1"),
    ({"norm_eps": -1e-6}, "expected norm_eps to be a number from 0"),
    ({"norm_eps": "1e-6"}, "expected norm_eps to be a number from 0"),
    ({"norm_eps": None}, "expected norm_eps to be a number from 0"),
    ({"head_norm_first": "yes"}, "expected head_norm_first to be true or false, got 'yes'"),
    ({"head_norm_first": 2}, "expected head_norm_first to be true or false, got 2"),
    ({"head_hidden_size": 0}, "expected head_hidden_size to be an integer from 1"),
    ({"head_hidden_size": True}, "expected head_hidden_size to be an integer from 1"),
    ({"head_hidden_size": [8]}, "expected head_hidden_size to be an integer from 1"),
    (
        {"norm_type": "batch_norm"},
        "expected norm_type to be one of layer_norm, rms_norm, simple_norm; got 'batch_norm'",
    ),
    ({"norm_type": ["rms_norm"]}, "expected norm_type to be one of"),
    ({"norm_type": "simple_norm", "hidden_sizes": [4, 4, 1, 4]}, r"hidden_sizes of at least 2 .*, got \[4, 4, 1, 4\]"),
    ({"pooling": "mean"}, "expected pooling to be one of avg, max, avgmax, catavgmax; got 'mean'"),
    ({"pooling": None}, "expected pooling to be one of"),
    ({"pooling": "catavgmax"}, "expected head_norm_first with pooling catavgmax"),
    ({"output_stride": 4}, "expected output_stride to be one of 8, 16, 32; got 4"),
    ({"output_stride": True}, "expected output_stride to be one of 8, 16, 32; got True"),
]
LAYER_SCALE_ERRORS = [
    ({"layer_scale_init_value": "1"}, "expected layer_scale_init_value to be a number"),
    ({"layer_scale_init_value": math.nan}, "expected layer_scale_init_value to be a number"),
]


@STAGED
@pytest.mark.parametrize(("fields", "message"), ERRORS)
def test_a_field_that_describes_no_stages_is_named(config_class, fields, message):
    with pytest.raises(ConfigError, match=message) as caught:
        config_class(**fields)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("fields", "message"), LAYER_SCALE_ERRORS)
def test_a_layer_scale_that_is_no_number_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        ConvNextConfig(**fields)


@STAGED
@pytest.mark.parametrize(
    ("fields", "expected", "least"),
    [
        ({}, [1, 1, 1, 1], 32),
        ({"output_stride": 32}, [1, 1, 1, 1], 32),
        ({"output_stride": 16}, [1, 1, 1, 2], 16),
        ({"output_stride": 8}, [1, 1, 2, 4], 8),
        ({"output_stride": 8, "patch_size": 16}, [1, 2, 4, 8], 16),
        ({"output_stride": 32, "patch_size": 8}, [1, 1, 1, 2], 32),
        ({"patch_size": 8}, [1, 1, 1, 1], 64),
        ({"output_stride": 8, "stem_type": "overlap"}, [1, 1, 2, 4], 5),
    ],
)
def test_stages_that_do_not_halve_the_map_are_dilated(config_class, fields, expected, least):
    config = config_class(**fields)
    assert config.stage_dilations == expected
    assert config.least_picture == (least, least)


@STAGED
def test_stages_follow_from_the_number_of_stages(config_class):
    config = config_class(num_stages=2, hidden_sizes=[8, 12], depths=[1, 1], stage_names=["of", "another", "model"])
    assert config.stage_names == ["stem", "stage1", "stage2"]
    assert config.feature_sizes == {"stem": 8, "stage1": 8, "stage2": 12}
    assert (config.patch_shape, config_class(patch_size=(2, 3)).patch_shape) == ((4, 4), (2, 3))


@STAGED
@pytest.mark.parametrize(
    ("width", "between"),
    # What timm 1.0 makes of half the width; of 18 to 22, the nearest multiple of 8 would lose more than 10 %.
    [(1, 8), (8, 8), (16, 8), (17, 8), (18, 16), (22, 16), (24, 16), (40, 24), (48, 24), (64, 32), (80, 40)],
)
def test_channels_between_the_convolutions_of_a_tiered_stem(config_class, width, between):
    fields = {"num_stages": 1, "hidden_sizes": [width], "depths": [1]}
    assert config_class(**fields, stem_type="overlap_tiered").stem_hidden_size == between
    assert config_class(**fields, stem_type="overlap").stem_hidden_size == width


@STAGED
def test_kernels_of_every_stage(config_class):
    assert config_class(kernel_sizes=5).stage_kernel_sizes == [5, 5, 5, 5]
    assert config_class(kernel_sizes=(3, 5, 7, 9)).stage_kernel_sizes == [3, 5, 7, 9]
    assert config_class.from_dict({}, kernel_sizes=3).kernel_sizes == 3


OUTPUT_STAGES = [
    ({}, ["stage4"], [4]),
    ({"out_features": ["stem", "stage3"]}, ["stem", "stage3"], [0, 3]),
    ({"out_indices": [0, 2]}, ["stem", "stage2"], [0, 2]),
    ({"out_indices": (1, -1)}, ["stage1", "stage4"], [1, -1]),
    ({"out_indices": [-5, -4]}, ["stem", "stage1"], [-5, -4]),
    ({"out_features": ["stage2"], "out_indices": [2]}, ["stage2"], [2]),
    ({"out_features": ["stage4"], "out_indices": [-1]}, ["stage4"], [-1]),
    ({"out_features": []}, [], []),
]


@STAGED
@pytest.mark.parametrize(("fields", "features", "indices"), OUTPUT_STAGES)
def test_output_stages_by_name_or_number(config_class, fields, features, indices):
    config = config_class(**fields)
    assert (config.out_features, config.out_indices) == (features, indices)
    assert {"out_features": features, "out_indices": indices}.items() <= config.to_dict().items()


@STAGED
def test_output_stages_can_be_set_later(config_class):
    config = config_class(out_features=["stage1"])
    config.out_indices = [2, 3]
    assert (config.out_features, config.out_indices) == (["stage2", "stage3"], [2, 3])
    config.out_features = ["stem"]
    assert (config.out_features, config.out_indices) == (["stem"], [0])
    with pytest.raises(ConfigError, match="expected out_features from"):
        config.out_features = ["stage9"]
    assert config.out_features == ["stem"]


@STAGED
@pytest.mark.parametrize("depths", [[3, 3, 9, 3], [1, 0, 2, 1], [1, 0, 0, 0], [0, 0, 0, 0]])
def test_drop_path_rates_rise_linearly_over_all_blocks(config_class, depths):
    rates = config_class(depths=depths, drop_path_rate=0.4).drop_path_rates()
    assert [len(stage) for stage in rates] == depths
    blocks = [rate for stage in rates for rate in stage]
    steps = max(len(blocks) - 1, 1)
    assert blocks == pytest.approx([0.4 * index / steps for index in range(len(blocks))], rel=1e-15)
