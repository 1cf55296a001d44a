"""The fast engine on the golden files: every branch of the models, against outputs of the reference in float64."""

import numpy as np
import pytest
from support import fast_models as models
from support import golden_files


@pytest.mark.parametrize("name", golden_files.NAMES)
def test_outputs_are_those_of_the_reference(name):
    check(golden_files.load(name))


@pytest.mark.parametrize("hidden_act", golden_files.ACTIVATIONS_OF_V1)
def test_v2_applies_every_activation_of_v1(hidden_act):
    check(golden_files.with_activation("convnextv2-patch_size_2", hidden_act))


def check(golden):
    """Compare what the fast engine gives, which must be about as near as the explicit one in float32."""
    model_class, config = golden_files.CLASSES[golden.family, golden.task], golden.config()
    x = golden.pixel_values.astype(np.float32)
    outputs = models.outputs_of(model_class(config, golden.weights, engine="fast"), x)
    bound = models.SLACK * models.rounding_of(model_class, config, golden.weights, x)
    compared = set(outputs) & set(golden.expected)
    assert compared
    for output in compared:
        assert models.distance(outputs[output], golden.expected[output]) <= max(bound, models.LEAST_BOUND), output
