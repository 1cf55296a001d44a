import json

import pytest
from support.builders import BACKBONES, BARE_MODELS, CLASSIFIERS, CONFIGS, FAMILIES, filled_model

import npconv
from npconv import ConfigError, ModelNotFoundError


@pytest.mark.parametrize("family", FAMILIES)
def test_each_auto_class_chooses_by_model_type(tmp_path, family):
    filled_model(CLASSIFIERS[family], CONFIGS[family]).save_pretrained(tmp_path)
    npconv.ConvNextImageProcessor(size={"shortest_edge": 24}).save_pretrained(tmp_path)
    assert type(npconv.AutoConfig.from_pretrained(tmp_path)) is type(CONFIGS[family])
    assert type(npconv.AutoModel.from_pretrained(tmp_path)) is BARE_MODELS[family]
    assert type(npconv.AutoModelForImageClassification.from_pretrained(str(tmp_path))) is CLASSIFIERS[family]
    assert npconv.AutoImageProcessor.from_pretrained(tmp_path).size == {"shortest_edge": 24}
    assert type(npconv.AutoModelForImageClassification.from_config(CONFIGS[family])) is CLASSIFIERS[family]


@pytest.mark.parametrize("family", list(BACKBONES))
def test_backbones_are_chosen_too(family):
    assert type(npconv.AutoBackbone.from_config(CONFIGS[family])) is BACKBONES[family]


def test_cvt_has_no_backbone():
    with pytest.raises(ConfigError, match=r"expected one of ConvNextConfig, ConvNextV2Config.*; got CvtConfig"):
        npconv.AutoBackbone.from_config(CONFIGS["cvt"])


def test_a_single_file_finds_its_configuration_beside_it(tmp_path):
    filled_model(CLASSIFIERS["cvt"], CONFIGS["cvt"]).save_pretrained(tmp_path)
    loaded = npconv.AutoModelForImageClassification.from_pretrained(tmp_path / "model.safetensors")
    assert type(loaded) is npconv.CvtForImageClassification


def test_configuration_fields_can_be_replaced(tmp_path):
    CONFIGS["convnext"].save_pretrained(tmp_path)
    config = npconv.AutoConfig.from_pretrained(tmp_path, drop_path_rate=0.25, out_indices=[0, 2])
    assert config.drop_path_rate == 0.25
    assert config.out_features == ["stem", "stage2"]


def test_other_families_are_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "resnet"}))
    with pytest.raises(ConfigError, match=r"convnext, convnextv2, cvt.*; got 'resnet'"):
        npconv.AutoModel.from_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="got 'resnet'; use AutoConfig"):
        npconv.ConvNextModel.from_pretrained(tmp_path)


def test_a_model_that_is_nowhere_is_named():
    with pytest.raises(ModelNotFoundError, match="no-such-model"):
        npconv.AutoModel.from_pretrained("no-such-model")
