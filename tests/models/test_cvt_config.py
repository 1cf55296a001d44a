"""The configuration of CvT: lists with an entry for each stage."""

import pytest

from npconv.errors import ConfigError
from npconv.models import CvtConfig

DEFAULTS = {
    "patch_sizes": [7, 3, 3],
    "patch_stride": [4, 2, 2],
    "patch_padding": [2, 1, 1],
    "embed_dim": [64, 192, 384],
    "num_heads": [1, 3, 6],
    "depth": [1, 2, 10],
    "mlp_ratio": [4.0, 4.0, 4.0],
    "attention_drop_rate": [0.0, 0.0, 0.0],
    "drop_rate": [0.0, 0.0, 0.0],
    "drop_path_rate": [0.0, 0.0, 0.1],
    "qkv_bias": [True, True, True],
    "cls_token": [False, False, True],
    "qkv_projection_method": ["dw_bn", "dw_bn", "dw_bn"],
    "kernel_qkv": [3, 3, 3],
    "padding_kv": [1, 1, 1],
    "stride_kv": [2, 2, 2],
    "padding_q": [1, 1, 1],
    "stride_q": [1, 1, 1],
}


def test_defaults_are_those_documented():
    config = CvtConfig()
    assert {name: getattr(config, name) for name in DEFAULTS} == DEFAULTS
    assert set(DEFAULTS) <= set(config.to_dict())


ERRORS = [
    ({"depth": 3}, "expected depth to be a list"),
    ({"depth": []}, "expected depth to name 1 to 10000 layers"),
    ({"depth": [1, 2, -1]}, r"expected depth\[2\] to be an integer from 0"),
    ({"embed_dim": [64, 192]}, "expected embed_dim to have 3 entries, as many as depth, got 2"),
    ({"embed_dim": [64, 192, 384, 384]}, "expected embed_dim to have 3 entries, as many as depth, got 4"),
    ({"cls_token": [True]}, "expected cls_token to have 3 entries, as many as depth, got 1"),
    ({"cls_token": [False, False, True, True]}, "expected cls_token to have 3 entries, as many as depth, got 4"),
    ({"cls_token": [True, False, True]}, r"cls_token\[0\] is true, but a class token has the width of the last stage"),
    ({"cls_token": [False, False, "yes"]}, r"expected cls_token\[2\] to be true or false, got 'yes'"),
    ({"num_heads": [1, 3]}, "expected num_heads to have 3 entries"),
    ({"num_heads": [1, 5, 6]}, r"expected num_heads\[1\] to divide embed_dim\[1\] = 192, got 5"),
    ({"num_heads": [0, 3, 6]}, r"expected num_heads\[0\] to be an integer from 1"),
    ({"mlp_ratio": [4.0, 4.0, 0.0]}, r"expected mlp_ratio\[2\] to give a hidden channel at least, got 0.0"),
    ({"mlp_ratio": [4.0, 4.0, -1.0]}, r"expected mlp_ratio\[2\] to be a number from 0 to 1000"),
    ({"mlp_ratio": 4.0}, "expected mlp_ratio to be a list"),
    ({"drop_rate": [0, 0, 2]}, r"expected drop_rate\[2\] to be a number from 0 to 1, got 2"),
    ({"attention_drop_rate": [-0.5, 0, 0]}, r"expected attention_drop_rate\[0\] to be a number from 0 to 1"),
    ({"drop_path_rate": 0.1}, "expected drop_path_rate to be a list"),
    ({"qkv_bias": [True, True, 2]}, r"expected qkv_bias\[2\] to be true or false, got 2"),
    (
        {"qkv_projection_method": ["dw_bn", "conv", "avg"]},
        r"qkv_projection_method\[1\] to be one of dw_bn, avg, linear",
    ),
    ({"qkv_projection_method": ["dw_bn", ["avg"], "avg"]}, r"qkv_projection_method\[1\] to be one of"),
    ({"patch_sizes": [7, 3, [3]]}, r"expected patch_sizes\[2\] to be an integer or a pair"),
    ({"patch_stride": [4, 2, 0]}, r"expected patch_stride\[2\] to be an integer from 1"),
    ({"patch_padding": [2, 1, -1]}, r"expected patch_padding\[2\] to be an integer from 0"),
    ({"kernel_qkv": [3, 0, 3]}, r"expected kernel_qkv\[1\] to be an integer from 1"),
    ({"padding_kv": [1, 1]}, "expected padding_kv to have 3 entries"),
    ({"padding_q": [1, None, 1]}, r"expected padding_q\[1\] to be an integer from 0"),
    ({"stride_kv": [2, 2, 0]}, r"expected stride_kv\[2\] to be an integer from 1"),
    ({"stride_q": [1, 1, "1"]}, r"expected stride_q\[2\] to be an integer from 1"),
]


@pytest.mark.parametrize(("fields", "message"), ERRORS)
def test_a_field_that_describes_no_model_is_named(fields, message):
    with pytest.raises(ConfigError, match=message) as caught:
        CvtConfig(**fields)
    assert "\n" not in str(caught.value)


def test_cvt_lists_may_be_longer_than_the_stages():
    fields = {name: value for name, value in DEFAULTS.items() if name not in ("depth", "embed_dim", "cls_token")}
    config = CvtConfig(depth=[1, 2], embed_dim=[64, 192], cls_token=[False, True], **fields)
    assert config.num_heads == [1, 3, 6]


def test_cvt_accepts_zero_and_one_for_false_and_true():
    config = CvtConfig(qkv_bias=[0, 1, 1], cls_token=(0, 0, 1))
    assert (config.qkv_bias, config.cls_token) == ([False, True, True], [False, False, True])


@pytest.mark.parametrize(
    ("depth", "rates", "expected"),
    [
        ([1, 2, 10], [0.0, 0.0, 0.1], [0, 0, 0.1 * 2 / 9]),
        ([4, 4, 4], [0.3, 0.3, 0.3], [0, 0.1, 0.2]),
        ([2, 2, 3], [0.5, 0.5, 0.5], [0, 0.5, 0.5]),
        ([1, 1, 2], [0.5, 0.5, 0.5], [0, 0, 0.5]),  # too few blocks: transformers raises IndexError
    ],
)
def test_cvt_drop_path_rate_is_the_entry_with_the_number_of_the_stage(depth, rates, expected):
    config = CvtConfig(depth=depth, drop_path_rate=rates)
    assert [config.layer_drop_path_rate(stage) for stage in range(3)] == pytest.approx(expected, rel=1e-15)


def test_cvt_hidden_channels_are_cut_to_whole_numbers():
    assert [CvtConfig(mlp_ratio=[1.51, 2.7, 4]).hidden_channels(stage) for stage in range(3)] == [96, 518, 1536]
