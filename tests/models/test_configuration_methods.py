"""The methods and attributes of configurations that users of transformers type, and the other spellings of fields."""

import copy
import json
import pickle

import numpy as np
import pytest

import npconv
from npconv.errors import ConfigError, InputError, UnavailableError
from npconv.models import FAMILIES, ConvNextConfig, ConvNextV2Config, CvtConfig

EACH = pytest.mark.parametrize("config_class", [family.config_class for family in FAMILIES.values()])

SMALL = {"hidden_sizes": [4, 6], "depths": [1, 1], "num_stages": 2}


def test_other_spellings_are_the_same_classes():
    assert npconv.ConvNeXTV2Config is ConvNextV2Config
    for name in ("CvtImageProcessor", "ConvNextImageProcessorFast", "ConvNextImageProcessorPil"):
        assert getattr(npconv, name) is npconv.ConvNextImageProcessor
    assert npconv.DINOv3ViTImageProcessorFast is npconv.DINOv3ViTImageProcessor
    assert npconv.PreTrainedConfig is npconv.PretrainedConfig
    assert issubclass(ConvNextConfig, npconv.PretrainedConfig)
    assert isinstance(npconv.ConvNextModel(ConvNextConfig(**SMALL)), npconv.PreTrainedModel)


# mlp_ratios


def test_mlp_ratios_is_mlp_ratio():
    assert CvtConfig(mlp_ratios=[4.0, 4.0, 4.0, 4.0]).mlp_ratio[:3] == CvtConfig().mlp_ratio
    config = CvtConfig(embed_dim=[4, 6], num_heads=[1, 2], depth=[1, 1], cls_token=[False, True], mlp_ratios=[2, 3])
    assert config.mlp_ratio == [2, 3]
    assert "mlp_ratios" not in config.to_dict()
    assert npconv.CvtModel(config).state_dict()["encoder.stages.1.layers.0.intermediate.dense.weight"].shape == (18, 6)
    assert CvtConfig(mlp_ratio=[4, 4, 4], mlp_ratios=[4, 4, 4, 2]) == CvtConfig(mlp_ratios=[4, 4, 4, 2])


def test_two_mlp_ratios_that_differ_are_refused():
    with pytest.raises(
        ConfigError, match=r"mlp_ratio \[4, 4, 4\] and mlp_ratios \[2, 2, 2\] are the same field and diff"
    ):
        CvtConfig(mlp_ratio=[4, 4, 4], mlp_ratios=[2, 2, 2])
    with pytest.raises(ConfigError, match="expected mlp_ratios to have 3 entries"):
        CvtConfig(mlp_ratios=[2, 2])
    with pytest.raises(ConfigError, match=r"expected mlp_ratios\[0\] to be a number"):
        CvtConfig(mlp_ratios=["2", 2, 2])


# Files


@EACH
@pytest.mark.parametrize("use_diff", [True, False])
def test_a_json_file_of_any_name_and_back(config_class, use_diff, tmp_path):
    config = config_class(id2label={0: "cat", 1: "dog", 2: "cow"}, output_hidden_states=True, note=[1])
    file = tmp_path / "new" / "settings.json"  # the folder is made, as for a processor's
    config.to_json_file(file, use_diff=use_diff)
    assert config_class.from_json_file(file) == config
    assert file.read_text("utf-8") == config.to_json_string(use_diff=use_diff)
    assert json.loads(config.to_json_string()).keys() == config.to_diff_dict().keys()


def test_json_files_that_are_none(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match=r"a\.json: expected JSON, but it cannot be read") as caught:
        ConvNextConfig.from_json_file(tmp_path / "a.json")
    assert isinstance(caught.value, ConfigError)
    with pytest.raises(ConfigError, match=r"expected JSON, but it cannot be read: .* is a directory"):
        ConvNextConfig.from_json_file(tmp_path)
    for wrong in (None, 5):
        with pytest.raises(InputError, match="expected the name of a file or folder, got"):
            ConvNextConfig.from_json_file(wrong)
        with pytest.raises(InputError, match="expected the name of a file or folder, got"):
            ConvNextConfig().to_json_file(wrong)
    with pytest.raises(ConfigError, match=r"b\.json cannot be written: .*; give another path"):
        ConvNextConfig().to_json_file(tmp_path / "file" / "b.json")


@EACH
@pytest.mark.parametrize("fields", [None, [1], 5, "x", {1: 2}, {None: 3}], ids=repr)
def test_what_are_no_fields_by_name(config_class, fields):
    config = config_class()
    for take in (config_class.from_dict, config.update):
        with pytest.raises(ConfigError, match="expected fields of a configuration by name, got "):
            take(fields)
    with pytest.raises(ConfigError, match="expected update_str to be text, got"):
        config.update_from_string(fields if fields != "x" else 5)
    assert config == config_class()


@EACH
def test_numbers_of_numpy_are_numbers(config_class, tmp_path):
    config = config_class(num_labels=np.int64(4))
    assert type(config.num_labels) is int
    config.num_labels = np.arange(3).max() + 1
    config.save_pretrained(tmp_path)
    assert config_class.from_pretrained(tmp_path).num_labels == 3
    with pytest.raises(ConfigError, match="expected num_labels to be an integer"):
        config.num_labels = np.True_


@pytest.mark.parametrize("names", [["cat", "dog"], "cat", 5, {"cat": 0}], ids=repr)
def test_names_of_classes_of_another_kind_are_shown(names):
    with pytest.raises(ConfigError, match=r"expected id2label to map .*, got \W?\W?(cat|5)"):
        ConvNextConfig(id2label=names)


@EACH
def test_the_difference_leaves_out_what_every_configuration_has(config_class):
    usual = {"architectures", "problem_type", "output_hidden_states", "return_dict", "id2label", "label2id"}
    assert config_class().to_dict().keys() - config_class().to_diff_dict().keys() == usual
    changed = config_class(num_labels=3, return_dict=False).to_diff_dict()
    assert {"id2label", "label2id", "return_dict", "num_channels", "model_type"} <= changed.keys()
    assert config_class.from_dict(changed) == config_class(num_labels=3, return_dict=False)


def test_the_fields_in_a_file_and_what_is_left_over(tmp_path):
    ConvNextConfig(**SMALL).save_pretrained(tmp_path)
    fields, left = ConvNextConfig.get_config_dict(tmp_path, foo=3)
    assert fields["hidden_sizes"] == [4, 6]
    assert left == {"foo": 3}


@EACH
def test_nothing_is_uploaded(config_class):
    with pytest.raises(UnavailableError, match="npconv uploads nothing; save_pretrained"):
        config_class().push_to_hub("me/mine", private=True)


@EACH
def test_copies(config_class):
    config = config_class(num_labels=3, note="x")
    for again in (copy.copy(config), copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert again == config
        assert again.note == "x"


# Attributes


@EACH
def test_attributes_that_configurations_of_transformers_have(config_class):
    config = config_class()
    assert (config.use_return_dict, config_class(return_dict=False).use_return_dict) == (True, False)
    assert (config.dtype, config.torch_dtype, config.output_attentions, config.is_encoder_decoder) == (
        *[None] * 2,
        False,
        0,
    )
    for name in ("dtype", "torch_dtype"):
        assert (config_class(**{name: "float16"}).dtype, config_class(**{name: "float16"}).torch_dtype) == (
            "float16",
        ) * 2
    assert config.name_or_path == config._name_or_path == ""
    assert not hasattr(config, "vocab_size")


def test_what_a_model_was_loaded_by_is_known_and_not_written(tmp_path):
    config = ConvNextConfig(**SMALL)
    npconv.ConvNextModel(config).save_pretrained(tmp_path)
    loaded = [ConvNextConfig.from_pretrained(tmp_path), npconv.AutoConfig.from_pretrained(tmp_path)]
    loaded += [kind.from_pretrained(tmp_path).config for kind in (npconv.ConvNextModel, npconv.AutoModel)]
    for each in loaded:
        assert each.name_or_path == each._name_or_path == str(tmp_path)
        assert "tmp" not in each.to_json_string()
        assert each == copy.deepcopy(each) == ConvNextConfig.from_dict(each.to_dict())


# Several fields at once


def test_update_checks_all_fields_and_sets_all_or_none():
    config = ConvNextConfig(id2label={0: "cat", 1: "dog"})
    before = config.to_dict()
    for fields, message in (
        ({"drop_path_rate": 0.5, "image_size": 0}, "expected image_size"),
        ({"depths": [1, 1]}, "expected hidden_sizes and depths"),
        ({"model_type": "cvt"}, "expected model_type 'convnext', got 'cvt'"),
    ):
        with pytest.raises(ConfigError, match=message):
            config.update(fields)
        assert config.to_dict() == before
    config.update({"drop_path_rate": 0.5, "note": 1, **SMALL})
    assert (config.drop_path_rate, config.note, config.stage_names) == (0.5, 1, ["stem", "stage1", "stage2"])
    assert config.id2label == {0: "cat", 1: "dog"}
    config.note = 2
    config.update({"note": 3})
    assert (config.note, config.to_dict()["note"]) == (3, 3)


def test_update_keeps_labels_and_stages_in_step():
    config = ConvNextConfig()
    config.update({"num_labels": 3})
    assert (config.num_labels, config.label2id["LABEL_2"]) == (3, 2)
    config.update({"id2label": {0: "cat"}})
    assert config.label2id == {"cat": 0}
    config.update({"out_features": ["stem"]})
    assert config.out_indices == [0]
    config.update({"out_indices": [1, 2]})
    assert config.out_features == ["stage1", "stage2"]


def test_update_from_text():
    config = ConvNextConfig(**SMALL)
    config.update_from_string("drop_path_rate=0.25,image_size=384,hidden_act=relu,return_dict=false")
    assert (config.drop_path_rate, config.image_size, config.hidden_act, config.return_dict) == (
        0.25,
        384,
        "relu",
        False,
    )
    for text, message in (
        ("drop_rate=1", "expected fields of a ConvNextConfig, got 'drop_rate'"),
        ("drop_path_rate=x", "expected drop_path_rate to be a number, got 'x'"),
        ("return_dict=maybe", "expected return_dict to be true or false, got 'maybe'"),
        ("depths=3", "expected a field with a number, a flag or a text, got depths"),
    ):
        with pytest.raises(ConfigError, match=message):
            config.update_from_string(text)


def test_a_dtype_of_another_library_is_written_by_its_name():
    class Torchs:
        def __repr__(self):
            return "torch.float16"

    for dtype in (np.float16, np.dtype("float16"), Torchs(), "float16"):
        config = ConvNextConfig(torch_dtype=dtype)
        assert config.dtype is dtype
        assert json.loads(config.to_json_string())["torch_dtype"] == "float16"
    assert ConvNextConfig(dtype=None).to_dict()["dtype"] is None


# The stages of a backbone


def test_the_stages_can_be_set_either_way_and_keep_in_step():
    config = ConvNextConfig(**SMALL)
    config.out_features = ["stem", "stage1"]
    assert config.out_indices == [0, 1]
    config.out_indices = (-1,)
    assert (config.out_features, config.out_indices) == (["stage2"], [-1])
    config.out_features = None
    assert (config.out_features, config.out_indices) == (["stage2"], [2])
    for name, value in (
        *(("out_features", value) for value in (["stage2", "stem"], ["stage7"], "stem", ["stem", "stem"])),
        *(("out_indices", value) for value in ([2, 0], [7], 1, [0, 0])),
    ):
        with pytest.raises(ConfigError, match=f"expected {name}"):
            setattr(config, name, value)
        assert (config.out_features, config.out_indices) == (["stage2"], [2])
