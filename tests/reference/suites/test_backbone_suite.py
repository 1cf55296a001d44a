"""The suite of the backbones. Which choices of stages a configuration takes is in ``test_exchange``."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import numpy as np
import parity
import torch
import transformers
import twins
from twins import EACH_BACKBONE

import npconv
from weights_tools.goldens import reference

pytestmark = pytest.mark.reference

STAGES = ["stem", "stage1", "stage2"]
CHOICES = [
    {},
    {"out_features": STAGES},
    {"out_features": ["stage1"]},
    {"out_indices": [0, 2]},
    {"out_indices": (-2, -1)},
    {"out_features": ["stem", "stage1"], "out_indices": [0, 1]},
]
EACH_CHOICE = pytest.mark.parametrize("choice", CHOICES, ids=str)
PLACES = ("out_features", "out_indices", "stage_names", "channels", "num_features", "out_feature_channels")


def places(backbone):
    """Return what a backbone of either library says of its maps."""
    return {name: getattr(backbone, name) for name in PLACES}


def maps_of_theirs(backbone, pixel_values):
    """Return the feature maps of a backbone of transformers, in its dtype."""
    with torch.no_grad():
        return [part.numpy() for part in backbone(torch.tensor(pixel_values).to(backbone.dtype)).feature_maps]


def assert_same_maps(ours, theirs, pixel_values):
    """Check that two backbones in float64 give the same maps, in the same order."""
    found = ours(pixel_values).feature_maps
    expected = maps_of_theirs(theirs, pixel_values)
    assert len(found) == len(expected) == len(ours.out_features)
    for name, channels, one, other in zip(ours.out_features, ours.channels, found, expected, strict=True):
        assert one.shape[1] == channels == ours.out_feature_channels[name]
        assert parity.distance(one, other) <= twins.CLOSE, name


@EACH_BACKBONE
@EACH_CHOICE
def test_the_chosen_stages_are_given_out_in_order(family, choice):
    pair = twins.make(family, "backbone", **choice)
    assert places(pair.ours) == places(pair.theirs)
    assert_same_maps(pair.ours, pair.theirs, pair.pixel_values)


@EACH_BACKBONE
@EACH_CHOICE
def test_a_choice_survives_the_way_to_transformers_and_back(tmp_path, family, choice):
    config = parity.CONFIGS[family](**{**twins.FIELDS[family], **choice})
    config.save_pretrained(tmp_path / "ours")
    theirs = reference.config_class(family).from_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    back = parity.CONFIGS[family].from_pretrained(tmp_path / "theirs")
    for found in (theirs, back):
        assert (found.out_features, found.out_indices) == (config.out_features, config.out_indices)


@EACH_BACKBONE
def test_feature_maps_are_those_of_the_whole_in_any_choice(family):
    """What else is given out does not change a map."""
    every = twins.make(family, "backbone", out_features=STAGES)
    maps = dict(zip(STAGES, every.ours(every.pixel_values).feature_maps, strict=True))
    for name in STAGES:
        model = twins.make(family, "backbone", out_features=[name]).ours
        weights = {key: array for key, array in every.weights.items() if key in model.state_dict()}
        model = type(model)(model.config, weights, dtype="float64")
        np.testing.assert_array_equal(model(every.pixel_values).feature_maps[0], maps[name])


@EACH_BACKBONE
def test_hidden_states_come_when_they_are_asked_for(family):
    pair = twins.shared(family, "backbone")
    plain = pair.ours(pair.pixel_values)
    assert (list(plain), plain.hidden_states) == (["feature_maps"], None)
    assert isinstance(plain.feature_maps, tuple)
    asked = pair.ours(pair.pixel_values, output_hidden_states=True)
    assert list(asked) == ["feature_maps", "hidden_states"]
    assert len(asked.hidden_states) == len(pair.ours.stage_names)
    assert [part.shape[1] for part in asked.hidden_states] == pair.ours.num_features


@EACH_BACKBONE
def test_setting_names_or_numbers_sets_the_other(family):
    ours = parity.CONFIGS[family](**twins.FIELDS[family])
    theirs = reference.config_class(family)(**twins.FIELDS[family])
    for name, value in (("out_features", ["stem", "stage1"]), ("out_indices", [1]), ("out_indices", [-3, 2])):
        for config in (ours, theirs):
            setattr(config, name, value)
        assert (ours.out_features, ours.out_indices) == (theirs.out_features, theirs.out_indices)


@EACH_BACKBONE
def test_setting_the_stages_of_a_backbone_changes_what_it_gives_out(family):
    """In transformers a ConvNeXt has norms for the stages of its beginning only; of these, any may be chosen."""
    pair = twins.make(family, "backbone", out_features=STAGES)
    for name, value in (("out_features", ["stage1"]), ("out_indices", [0, 2])):
        for backbone in (pair.ours, pair.theirs):
            setattr(backbone, name, value)
        assert places(pair.ours) == places(pair.theirs)
        assert_same_maps(pair.ours, pair.theirs, pair.pixel_values)


BAD = [
    ("out_features", ["stage9"]),
    ("out_features", ["stage2", "stem"]),
    ("out_features", ["stem", "stem"]),
    ("out_indices", [3]),
    ("out_indices", [2, 0]),
]


@EACH_BACKBONE
@pytest.mark.parametrize(("name", "value"), BAD)
def test_stages_that_cannot_be_set_are_a_value_error_and_change_nothing(family, name, value):
    pair = twins.make(family, "backbone")
    before = places(pair.ours)
    for config in (pair.ours.config, pair.theirs.config):
        with pytest.raises(ValueError):
            setattr(config, name, value)
    assert places(pair.ours) == before


@EACH_BACKBONE
@pytest.mark.parametrize("task", ["model", "backbone"])
@pytest.mark.parametrize("choice", [{"out_features": ["stage1"]}, {"out_indices": [1, 2]}], ids=str)
@pytest.mark.filterwarnings("ignore::npconv.NpconvWarning")
def test_a_choice_when_a_file_is_loaded(tmp_path, family, task, choice):
    """Of a bare model's file the norms of the maps are new, on both sides the same.

    The file of a backbone may hold norms of stages that are not chosen now. ``AutoBackbone`` there takes no folder.
    """
    pair = twins.make(family, task)
    pair.theirs.save_pretrained(tmp_path)
    theirs = reference.model_class(family, "backbone").from_pretrained(tmp_path, dtype=torch.float64, **choice)
    ours = npconv.AutoBackbone.from_pretrained(tmp_path, dtype="float64", **choice)
    assert type(ours).__name__ == type(theirs).__name__
    assert places(ours) == places(theirs)
    assert_same_maps(ours, theirs.eval(), pair.pixel_values)


@EACH_BACKBONE
def test_a_backbone_of_a_configuration(family):
    fields = {**twins.FIELDS[family], "out_features": ["stem", "stage2"]}
    ours = npconv.AutoBackbone.from_config(parity.CONFIGS[family](**fields))
    theirs = transformers.AutoBackbone.from_config(reference.config_class(family)(**fields))
    assert type(ours).__name__ == type(theirs).__name__
    assert places(ours) == places(theirs)


def test_there_is_none_of_cvt():
    for library, config_class in ((npconv, npconv.CvtConfig), (transformers, transformers.CvtConfig)):
        with pytest.raises(ValueError):
            library.AutoBackbone.from_config(config_class(**parity.TINY["cvt"]))
