"""Models that end after some of their stages: configuration, parameters, and what they make of pictures."""

from __future__ import annotations

import numpy as np
import pytest

import npconv
from npconv.api.families import class_for
from npconv.models import family_of
from npconv.training.shortened import first_stages, shortened_state, stage_names

STAGED = {"hidden_sizes": [8, 8, 12], "depths": [1, 2, 1], "num_stages": 3, "image_size": 32, "num_labels": 4}

#: Of many ways in which a model may end, and one whose stages have one width.
CONFIGS = {
    "convnext": npconv.ConvNextConfig(**STAGED),
    "kernels": npconv.ConvNextConfig(**STAGED, kernel_sizes=[3, 5, 7]),
    "norm first": npconv.ConvNextConfig(**STAGED, head_norm_first=True, pooling="catavgmax"),
    "hidden head": npconv.ConvNextConfig(**STAGED, head_hidden_size=6),
    "rms norm": npconv.ConvNextV2Config(**STAGED, norm_type="rms_norm"),
    "convnextv2": npconv.ConvNextV2Config(**STAGED, out_features=["stage2"]),
}


def make_model(config, dtype="float64"):
    """A classifier with random weights, its norms too: what is at its first values would hide what is left out."""
    model = class_for(family_of(config), "image_classification")(config, dtype=dtype)
    rng = np.random.default_rng(0)
    state = model.state_dict()
    for name, array in state.items():
        if array.dtype.kind == "f":
            state[name] = np.abs(rng.normal(0.5, 0.3, array.shape)).astype(array.dtype)
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_shortened_model_gives_what_is_pooled_from_the_map(name, stages):
    config = CONFIGS[name]
    model = make_model(config)
    shortened = first_stages(config, stages)
    assert len(stage_names(shortened)) == stages
    ending = shortened.from_dict(shortened.to_dict(), num_labels=0)
    state = {key: value.astype(np.float64) for key, value in shortened_state(model, ending).items()}
    short = type(model)(ending, state, dtype="float64")
    pixel_values = np.random.default_rng(1).normal(size=(2, 3, 64, 64))
    maps = model(pixel_values, output_hidden_states=True).hidden_states
    place = len(maps) - len(stage_names(config)) + stages - 1
    expected = family_of(config).part("model").pool_stage(maps[place], config=shortened)
    # float64, the same sums
    np.testing.assert_allclose(short(pixel_values).logits, expected, rtol=1e-12)


@pytest.mark.parametrize("name", CONFIGS)
def test_with_all_stages_the_model_stays_what_it_is(name):
    model = make_model(CONFIGS[name], "float32")
    assert first_stages(model.config, 3) is model.config
    for key, value in shortened_state(model, model.config).items():
        if not key.startswith("classifier."):
            np.testing.assert_array_equal(value, model.state_dict()[key])


def test_a_backbone_that_gave_out_later_stages_can_be_shortened():
    config = npconv.ConvNextConfig(**STAGED, out_features=["stage1", "stage3"])
    assert first_stages(config, 2).stage_names == ["stem", "stage1", "stage2"]
    assert first_stages(config, 2).out_features == ["stage2"]


def test_a_cvt_is_not_shortened():
    """As transformers has no classifier for one whose last stage has no class token."""
    config = npconv.CvtConfig(depth=[1, 2, 3])
    assert [first_stages(config, count) for count in (1, 2, 3)] == [None, None, config]
