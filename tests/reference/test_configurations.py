"""The configurations' methods, and what is documented in one way and done in another, live against transformers."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers

import npconv

pytestmark = pytest.mark.reference

SMALL = {"hidden_sizes": [4, 6], "depths": [1, 1], "num_stages": 2}
CVT = {"embed_dim": [4, 6], "num_heads": [1, 2], "depth": [1, 2], "cls_token": [False, True]}
FAMILIES = {"ConvNext": SMALL, "ConvNextV2": SMALL, "Cvt": CVT}
EACH = pytest.mark.parametrize("name", FAMILIES)


def both(name, **fields):
    """Return the configuration of npconv and that of transformers."""
    given = {**FAMILIES[name], **fields}
    return getattr(npconv, f"{name}Config")(**given), getattr(transformers, f"{name}Config")(**given)


@EACH
def test_the_differences_have_the_same_fields(name):
    ours, theirs = both(name, num_labels=3, output_hidden_states=True)
    expected = {key: value for key, value in theirs.to_diff_dict().items() if key != "transformers_version"}
    found = ours.to_diff_dict()
    own = {"hidden_act", "image_size"} if name == "Cvt" else set()  # fields that CvT lacks there
    assert found.keys() - own == expected.keys()
    for key, value in expected.items():
        assert found[key] == (list(value) if isinstance(value, tuple) else value)


@EACH
def test_json_files_are_read_by_both(name, tmp_path):
    for use_diff in (True, False):
        ours, theirs = both(name, num_labels=3)
        ours.to_json_file(tmp_path / "ours.json", use_diff=use_diff)
        theirs.to_json_file(tmp_path / "theirs.json", use_diff=use_diff)
        again = type(theirs).from_json_file(tmp_path / "ours.json")
        assert again.to_diff_dict().items() >= theirs.to_diff_dict().items()
        read = type(ours).from_json_file(tmp_path / "theirs.json")
        assert read.to_dict().items() >= ours.to_dict().items()


@EACH
def test_attributes(name):
    for options in ({}, {"return_dict": False}, {"output_hidden_states": True}, {"num_labels": 5}):
        ours, theirs = both(name, **options)
        for attribute in (
            *("use_return_dict", "dtype", "torch_dtype", "output_attentions", "is_encoder_decoder", "name_or_path"),
            *("_name_or_path", "chunk_size_feed_forward", "num_labels", "problem_type", "architectures", "id2label"),
        ):
            assert getattr(ours, attribute) == getattr(theirs, attribute), attribute


STAGES = [
    *(
        ("out_features", value)
        for value in (["stem"], ["stage1", "stage2"], None, ["stage2", "stem"], ["stage9"], ["stem"] * 2)
    ),
    *(("out_indices", value) for value in ([0], [-1], (1, 2), None, [2, 0], [7], [0, 0])),
]


@pytest.mark.parametrize("name", ["ConvNext", "ConvNextV2"])
@pytest.mark.parametrize(("field", "value"), STAGES)
@pytest.mark.parametrize("how", ["set", "update"])
def test_stages_are_set_as_there(name, field, value, how):
    found = []
    for config in both(name):
        try:
            config.update({field: value}) if how == "update" else setattr(config, field, value)
        except ValueError:
            found.append(ValueError)
        else:
            found.append((config.out_features, config.out_indices))
    assert found[0] == found[1]


def test_updates_end_in_the_same_fields():
    ours, theirs = both("ConvNext")
    for config in (ours, theirs):
        config.update({"drop_path_rate": 0.5, "note": 3, "num_labels": 4})
        config.update_from_string("layer_scale_init_value=0.5,image_size=384,hidden_act=relu")
    names = ("drop_path_rate", "note", "num_labels", "id2label", "layer_scale_init_value", "image_size", "hidden_act")
    assert [getattr(ours, name) for name in names] == [getattr(theirs, name) for name in names]


def test_transformers_has_no_effect_of_mlp_ratios():
    """So its files have weights by ``mlp_ratio``, and a file that has both, with other values, is not trusted."""
    ours, theirs = (config for config in both("Cvt", mlp_ratios=[2.0, 2.0, 2.0]))
    assert list(theirs.mlp_ratio) == [4.0, 4.0, 4.0]
    assert ours.mlp_ratio == [2.0, 2.0, 2.0]
    with pytest.raises(npconv.ConfigError, match="are the same field and differ"):
        npconv.CvtConfig.from_dict(theirs.to_dict())


@EACH
def test_the_loss_is_of_no_dimensions_whatever_the_documentation_says(name):
    ours, theirs = both(name, num_labels=3)
    labels = [0, 2]
    expected = getattr(transformers, f"{name}ForImageClassification")(theirs)(
        torch.zeros(2, 3, 32, 32), labels=torch.tensor(labels)
    )
    found = getattr(npconv, f"{name}ForImageClassification")(ours)(torch.zeros(2, 3, 32, 32).numpy(), labels=labels)
    assert tuple(expected.loss.shape) == found.loss.shape == ()


@pytest.mark.parametrize("name", ["ConvNext", "ConvNextV2"])
def test_backbones_have_the_same_attributes_and_fields(name):
    ours, theirs = both(name, out_features=["stem", "stage2"])
    backbones = getattr(npconv, f"{name}Backbone")(ours), getattr(transformers, f"{name}Backbone")(theirs)
    for attribute in ("out_features", "out_indices", "channels", "num_features", "out_feature_channels", "stage_names"):
        assert getattr(backbones[0], attribute) == getattr(backbones[1], attribute), attribute
    x = torch.zeros(1, 3, 32, 32)
    outputs = (
        backbones[0].forward_with_filtered_kwargs(x.numpy(), nothing=1),
        backbones[1].forward_with_filtered_kwargs(x, nothing=1),
    )
    assert list(outputs[0]) == list(outputs[1])
    assert list(vars(outputs[0])) == list(vars(outputs[1]))
    assert outputs[0].attentions is outputs[1].attentions is None
    for backbone in backbones:
        backbone.out_features = ["stem"]
    for attribute in ("out_features", "out_indices", "channels"):
        assert getattr(backbones[0], attribute) == getattr(backbones[1], attribute), attribute


def test_cvt_takes_add_pooling_layer_without_effect():
    ours, theirs = both("Cvt")
    for flag in (True, False):
        expected = transformers.CvtModel(theirs, add_pooling_layer=flag)(torch.zeros(1, 3, 32, 32))
        found = npconv.CvtModel(ours, add_pooling_layer=flag)(torch.zeros(1, 3, 32, 32).numpy())
        assert list(found) == list(expected)
