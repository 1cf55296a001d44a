"""Configurations: defaults, every error, files, fields that are kept."""

from __future__ import annotations

import copy
import json
import math
import os

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from npconv.errors import ConfigError, ModelNotFoundError, NpconvError
from npconv.models import ConvNextConfig, ConvNextV2Config, CvtConfig, configuration
from npconv.models.configuration import read_config_file

CLASSES = [ConvNextConfig, ConvNextV2Config, CvtConfig]
EACH = pytest.mark.parametrize("config_class", CLASSES)

DEFAULTS = {
    "num_labels": 2,
    "id2label": {0: "LABEL_0", 1: "LABEL_1"},
    "label2id": {"LABEL_0": 0, "LABEL_1": 1},
    "problem_type": None,
    "output_hidden_states": False,
    "return_dict": True,
    "architectures": None,
    "num_channels": 3,
    "hidden_act": "gelu",
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "image_size": 224,
}


@EACH
def test_shared_defaults_are_those_documented(config_class):
    config = config_class()
    assert {name: getattr(config, name) for name in DEFAULTS} == DEFAULTS
    assert config.to_dict()["model_type"] == config_class.model_type


ERRORS = [
    ({"num_labels": -1}, "expected num_labels to be an integer from 0 to 1000000, got -1"),
    ({"num_labels": 2.0}, "expected num_labels to be an integer"),
    ({"num_labels": "3"}, "expected num_labels to be an integer"),
    ({"num_labels": True}, "expected num_labels to be an integer"),
    ({"num_labels": 10**7}, "expected num_labels to be an integer from 0 to 1000000"),
    ({"id2label": ["cat", "dog"]}, "expected id2label to map class numbers to names"),
    ({"id2label": {"cat": 0}}, "expected id2label to map class numbers to names"),
    ({"id2label": {0: "cat", 2: "dog"}}, "expected id2label to number the classes from 0 to 1 without a gap"),
    ({"id2label": {1: "cat"}}, "without a gap"),
    ({"id2label": {0: "cat"}, "num_labels": 2}, "num_labels is 2 but id2label names 1 classes"),
    ({"problem_type": "ranking"}, "expected problem_type to be one of regression, single_label"),
    ({"problem_type": ["regression"]}, "expected problem_type to be one of"),
    ({"label2id": 5}, "expected label2id to map names to class numbers"),
    ({"label2id": "cat"}, "expected label2id to map names to class numbers"),
    ({"architectures": 5}, "expected architectures to be a list, got 5"),
    ({"layer_norm_eps": 10**400}, "expected layer_norm_eps to be a number from 0 to inf, got a larger integer"),
    ({"initializer_range": float("inf")}, "expected initializer_range to be a number from 0 to inf, got inf"),
    ({"num_channels": 0}, "expected num_channels to be an integer from 1 to 1000000, got 0"),
    ({"num_channels": 3.0}, "expected num_channels to be an integer"),
    ({"num_channels": None}, "expected num_channels to be an integer"),
    ({"initializer_range": -0.1}, "expected initializer_range to be a number from 0 to inf, got -0.1"),
    ({"initializer_range": "0.1"}, "expected initializer_range to be a number"),
    ({"layer_norm_eps": math.nan}, "expected layer_norm_eps to be a number"),
    ({"layer_norm_eps": -1e-9}, "expected layer_norm_eps to be a number"),
    ({"image_size": [1, 2, 3]}, r"expected image_size to be an integer or a pair \(height, width\)"),
    ({"image_size": 0}, "expected image_size to be an integer"),
]


@EACH
@pytest.mark.parametrize(("fields", "message"), ERRORS)
def test_a_field_that_describes_no_model_is_named(config_class, fields, message):
    with pytest.raises(ConfigError, match=message) as caught:
        config_class(**fields)
    assert "\n" not in str(caught.value)


@EACH
@pytest.mark.parametrize("name", ["gelu_10", "GELU", "", None, 3, ["gelu"]])
def test_an_unknown_activation_is_refused_with_a_list_of_those_known(config_class, name):
    with pytest.raises(NpconvError, match=r"one of gelu, .*gelu_new, .*quick_gelu, relu, selu, silu, swish, mish, "):
        config_class(hidden_act=name)


# Any value whatever, as a file may hold it

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.just(2**70) | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("config_class", "name"),
    [(config_class, name) for config_class in CLASSES for name in ["num_labels", *config_class().to_dict(), "unknown"]],
)
def test_any_value_of_any_field_gives_a_configuration_or_an_error_of_our_own(config_class, name):
    @hypothesis.settings(max_examples=12)
    @given(JSON_VALUES)
    def check(value):
        try:
            config = config_class.from_dict({name: value})
        except NpconvError as refused:
            message = str(refused)
        else:
            message = ""
            text = config.to_json_string()
            assert config_class.from_dict(json.loads(text)).to_json_string() == text
        assert "\n" not in message

    check()


# Labels


@EACH
@pytest.mark.parametrize("count", [0, 1, 7])
def test_labels_are_numbered(config_class, count):
    config = config_class(num_labels=count)
    assert config.num_labels == count
    assert config.id2label == {index: f"LABEL_{index}" for index in range(count)}
    assert config.label2id == {f"LABEL_{index}": index for index in range(count)}


@EACH
def test_labels_of_a_file_have_their_numbers_as_text(config_class):
    config = config_class.from_dict({"id2label": {"1": "dog", "0": "cat", "2": "ship"}})
    assert config.id2label == {0: "cat", 1: "dog", 2: "ship"}
    assert list(config.id2label) == [0, 1, 2]
    assert config.label2id == {"cat": 0, "dog": 1, "ship": 2}
    assert config_class(id2label={0: "cat"}, num_labels=1, label2id={"Cat": 0}).label2id == {"Cat": 0}


@EACH
def test_another_number_of_labels_replaces_the_names_of_a_file(config_class):
    fields = {"id2label": {"0": "cat", "1": "dog"}, "label2id": {"cat": 0, "dog": 1}}
    assert config_class.from_dict(fields, num_labels=3).id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert config_class.from_dict(fields, num_labels=2).id2label == {0: "cat", 1: "dog"}


# To a file and back


@EACH
def test_unknown_fields_are_kept(config_class, tmp_path):
    fields = {
        "model_type": config_class.model_type,
        "dtype": "float32",
        "nested": {"a": [1, None]},
        "_name_or_path": "x",
    }
    config = config_class.from_dict(fields)
    assert config.nested == {"a": [1, None]}
    config.save_pretrained(tmp_path / "new" / "folder")
    again = config_class.from_pretrained(tmp_path / "new" / "folder")
    assert again == config
    assert json.loads((tmp_path / "new" / "folder" / "config.json").read_text()).items() >= fields.items()


@pytest.mark.parametrize(
    "config",
    [
        ConvNextConfig(num_stages=2, hidden_sizes=(4, 6), depths=(1, 2), patch_size=(2, 3), out_indices=(0, -1)),
        ConvNextV2Config(num_labels=3, problem_type="regression", hidden_act="relu", out_features=["stem", "stage4"]),
        CvtConfig(qkv_projection_method=["avg", "linear", "dw_bn"], qkv_bias=[False, True, True], num_labels=0),
    ],
    ids=lambda config: config.model_type,
)
def test_json_round_trip(config):
    text = config.to_json_string()
    fields = json.loads(text)
    assert list(fields) == sorted(fields)
    assert text.endswith("}\n")
    again = type(config).from_dict(fields)
    assert again == config
    assert again.to_json_string() == text
    assert copy.deepcopy(config) == config


@EACH
def test_equality_is_that_of_class_and_fields(config_class):
    assert config_class() == config_class()
    assert config_class() != config_class(num_labels=3)
    assert config_class() != "config"
    assert ConvNextConfig() != ConvNextV2Config()
    with pytest.raises(TypeError, match="unhashable"):
        hash(config_class())


@EACH
def test_repr_shows_fields_but_not_every_label(config_class):
    text = repr(config_class(num_labels=1000))
    assert text.startswith(f"{config_class.__name__}(")
    assert "num_labels=1000" in text
    assert "num_channels=3" in text
    assert len(text) < 1200


@EACH
def test_what_cannot_be_written_is_refused(config_class):
    with pytest.raises(ConfigError, match="hidden_act is a callable and cannot be written to a file"):
        config_class(hidden_act=np.tanh).to_json_string()
    with pytest.raises(ConfigError, match="the configuration cannot be written as JSON"):
        config_class(extra={1, 2}).to_json_string()
    circular = []
    circular.append(circular)
    with pytest.raises(ConfigError, match="the configuration cannot be written as JSON"):
        config_class(extra=circular).to_json_string()


@EACH
def test_another_family_is_refused(config_class):
    with pytest.raises(ConfigError, match=f"expected model_type '{config_class.model_type}', got 'resnet'"):
        config_class.from_dict({"model_type": "resnet"})


@EACH
def test_overrides_replace_fields(config_class, tmp_path):
    config_class(num_channels=5).save_pretrained(tmp_path)
    config = config_class.from_pretrained(tmp_path, num_channels=1, output_hidden_states=True)
    assert (config.num_channels, config.output_hidden_states) == (1, True)


# Files that are broken

BROKEN_FILES = [
    (b"", "expected JSON"),
    (b"{", "expected JSON"),
    (b'{"num_labels": 2,}', "expected JSON"),
    (b"\xff\xfe{}", "expected JSON"),
    (b"\xef\xbb\xbf{}", "expected JSON"),
    (b'{"a": ' + b"[" * 200_000, "expected JSON"),
    (b'{"a": ' + b"9" * 5000 + b"}", "expected JSON"),
    (b"\x80\x04\x95pickle", "expected JSON"),
    (b"\0" * 100, "expected JSON"),
    (b"[]", "expected a JSON object, got list"),
    (b"null", "expected a JSON object, got NoneType"),
    (b'"convnext"', "expected a JSON object, got str"),
    (b"12", "expected a JSON object, got int"),
]


@pytest.mark.parametrize(("content", "message"), BROKEN_FILES, ids=range(len(BROKEN_FILES)))
def test_a_broken_file_is_refused(tmp_path, content, message):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_config_file(tmp_path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"config\.json: no such file; a model needs its config\.json beside its"):
        read_config_file(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"config\.json: no such file"):
        read_config_file(tmp_path / "model.safetensors")
    with pytest.raises(ModelNotFoundError):
        read_config_file(tmp_path / "nowhere")


def test_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "folder" / "config.json").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"config\.json"):
        read_config_file(tmp_path / "folder")
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "config.json").symlink_to("config.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config_file(tmp_path / "loop")
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "config.json")
    with pytest.raises(ConfigError, match="not a regular file"):
        read_config_file(tmp_path / "pipe")


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{}" + " " * 100)
    assert read_config_file(tmp_path) == {}
    monkeypatch.setattr(configuration, "LARGEST_CONFIG_FILE", 100)
    with pytest.raises(ConfigError, match="has 102 bytes, expected at most 100 of JSON"):
        read_config_file(tmp_path)


@EACH
def test_a_dictionary_of_the_fields_is_a_copy(config_class):
    config = config_class()
    fields = config.to_dict()
    for value in fields.values():
        if isinstance(value, list):
            value.append("changed")
    fields["id2label"][0] = "changed"
    assert config == config_class()


@EACH
def test_the_number_of_labels_can_be_set(config_class):
    config = config_class(id2label={0: "cat", 1: "dog"})
    config.num_labels = 2
    assert config.id2label == {0: "cat", 1: "dog"}
    config.num_labels = 3
    assert (config.num_labels, config.id2label[2], config.label2id["LABEL_2"]) == (3, "LABEL_2", 2)
