"""Models with random weights: lifelike, the same each time, and as loadable as any other."""

import numpy as np
import pytest
from support.small_models import CONFIGS

from npconv import AutoModelForImageClassification
from npconv.bench.architectures import ARCHITECTURES, make_random_model, write_random_model
from npconv.layers import gelu
from npconv.models import family_of
from npconv.models.parameters import count_parameters

#: Published sizes in millions; those of V2-T and CvT-13 are of the checkpoints.
PARAMETERS = {"convnext-tiny": 28.6, "convnextv2-tiny": 28.6, "convnextv2-atto": 3.7, "cvt-13": 20.0}


def pictures(batch, height, width):
    return np.random.default_rng(0).standard_normal((batch, 3, height, width)).astype(np.float32)


@pytest.mark.parametrize("family", CONFIGS)
def test_pre_activations_are_mostly_small_and_reach_beyond_twenty(family):
    seen = []

    def recording(x):
        seen.append(np.abs(x).ravel())
        return gelu(x)

    config = CONFIGS[family]
    model = make_random_model(type(config).from_dict(config.to_dict(), hidden_act=recording))
    logits = model(pictures(2, 64, 48)).logits
    everything = np.concatenate(seen)
    assert everything.max() > 20
    assert np.median(everything) < 2
    assert np.isfinite(logits).all()
    assert 0.1 < logits.std() < 10


@pytest.mark.parametrize("family", CONFIGS)
def test_no_parameter_is_asleep(family):
    """Every float parameter varies within itself, so swapped axes and left-out scales show."""
    for name, value in make_random_model(CONFIGS[family]).state_dict().items():
        if value.dtype.kind == "f" and value.size > 1:
            assert value.std() > 1e-3, name


@pytest.mark.parametrize("family", CONFIGS)
def test_the_same_seed_gives_the_same_weights_and_another_gives_others(family):
    first, again, other = (make_random_model(CONFIGS[family], seed).state_dict() for seed in (0, 0, 1))
    weight = "classifier.weight"
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first[weight], other[weight])


@pytest.mark.parametrize("family", CONFIGS)
def test_a_written_model_loads_as_it_was(family, tmp_path):
    write_random_model(CONFIGS[family], tmp_path / "model")
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path / "model")
    x = pictures(2, 21, 17)
    np.testing.assert_array_equal(loaded(x).logits, make_random_model(CONFIGS[family])(x).logits)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_named_architectures_have_the_published_sizes(name):
    config = ARCHITECTURES[name]()
    shapes = family_of(config).part("model").image_classification_shapes(config)
    assert round(count_parameters(shapes) / 1e6, 1) == PARAMETERS[name]
    assert config.num_labels == 1000
