"""What can be asked of a backbone, and that its stages can be chosen anew."""

import numpy as np
import pytest
from support.builders import BACKBONES, CLASSIFIERS, CONFIGS, filled_model, pictures

import npconv
from npconv import ConfigError

EACH = pytest.mark.parametrize("family", list(BACKBONES))


def made(family, **options):
    """Return a backbone with the stem's map and the last two of three stages."""
    config = type(CONFIGS[family]).from_dict(CONFIGS[family].to_dict(), out_features=["stem", "stage2", "stage3"])
    return filled_model(BACKBONES[family], config, **options)


@EACH
def test_channels_by_stage(family):
    backbone = made(family)
    assert backbone.out_feature_channels == {"stem": 6, "stage1": 6, "stage2": 10, "stage3": 14}
    assert [backbone.out_feature_channels[name] for name in backbone.out_features] == backbone.channels == [6, 10, 14]
    assert backbone.num_features == [6, 6, 10, 14]


@EACH
def test_other_stages_can_be_chosen_where_their_norms_are_there(family):
    backbone, x = made(family), pictures()
    before = backbone(x).feature_maps
    backbone.out_features = ["stage2"]
    assert (backbone.out_indices, backbone.channels, backbone.config.out_features) == ([2], [10], ["stage2"])
    np.testing.assert_array_equal(backbone(x).feature_maps[0], before[1])
    backbone.out_indices = [0, 3]
    assert backbone.out_features == ["stem", "stage3"]
    np.testing.assert_array_equal(backbone(x).feature_maps[1], before[2])
    for name, value in (("out_features", ["stage1"]), ("out_indices", [1])):
        with pytest.raises(ConfigError, match=r"cannot return \['stage1'\]: it has no hidden_states_norms.stage1"):
            setattr(backbone, name, value)
        assert backbone.out_features == ["stem", "stage3"]
    with pytest.raises(ConfigError, match="expected out_features from"):
        backbone.out_features = ["stage9"]


def test_what_the_message_advises_works(tmp_path):
    filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"]).save_pretrained(tmp_path)
    with pytest.warns(npconv.NpconvWarning, match="never trained: hidden_states_norms.stage1"):
        again = npconv.ConvNextBackbone.from_pretrained(tmp_path, out_features=["stage1", "stage2"])
    assert again.channels == [6, 10]


@EACH
def test_a_file_may_hold_the_norms_of_stages_that_are_not_chosen_now(tmp_path, family):
    backbone = made(family)
    backbone.save_pretrained(tmp_path)
    again = BACKBONES[family].from_pretrained(tmp_path, out_features=["stage2"])
    np.testing.assert_array_equal(again(pictures()).feature_maps[0], backbone(pictures()).feature_maps[1])


@pytest.mark.parametrize("engine", ["explicit", "fast"])
def test_stages_set_in_the_configuration_are_checked_by_the_next_call(engine):
    backbone, x = made("convnext", engine=engine), pictures()
    before = backbone(x).feature_maps
    backbone.config.out_features = ["stage2"]
    np.testing.assert_array_equal(backbone(x).feature_maps[0], before[1])
    backbone.config.out_indices = [1]
    with pytest.raises(ConfigError, match=r"cannot return \['stage1'\]: it has no hidden_states_norms.stage1"):
        backbone(x)
    backbone.out_features = ["stem"]
    np.testing.assert_array_equal(backbone(x).feature_maps[0], before[0])


def test_dinov3_can_return_any_stage():
    config = npconv.DINOv3ConvNextConfig(hidden_sizes=[4, 6], depths=[1, 1], out_features=["stage1"])
    backbone, x = npconv.DINOv3ConvNextBackbone(config), pictures(height=32, width=32)
    backbone.out_indices = [0, 2]
    assert [each.shape[1] for each in backbone(x).feature_maps] == backbone.channels == [3, 6]


def test_arguments_of_other_models_are_left_out():
    backbone, x = made("convnext"), pictures()
    output = backbone.forward_with_filtered_kwargs(x, output_hidden_states=True, output_attentions=True, labels=3)
    np.testing.assert_array_equal(output.feature_maps[0], backbone(x).feature_maps[0])
    assert len(output.hidden_states) == 4
