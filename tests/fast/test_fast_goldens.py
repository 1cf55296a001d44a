"""The fast engine on the golden files: every branch of the models, against outputs of the reference in float64."""

import numpy as np
import pytest
from support import fast_models as models
from support import golden_files


@pytest.mark.parametrize("name", golden_files.NAMES)
def test_outputs_are_those_of_the_reference(name):
    """About as near as the explicit engine in float32: see ``fast_models``."""
    golden = golden_files.load(name)
    model_class, config = golden_files.CLASSES[golden.family, golden.task], golden.config()
    x = golden.pixel_values.astype(np.float32)
    outputs = models.outputs_of(model_class(config, golden.weights, engine="fast"), x)
    bound = models.SLACK * models.rounding_of(model_class, config, golden.weights, x)
    compared = set(outputs) & set(golden.expected)
    assert compared
    for output in compared:
        assert models.distance(outputs[output], golden.expected[output]) <= max(bound, models.LEAST_BOUND), output
