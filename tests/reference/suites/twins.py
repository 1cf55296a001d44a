"""What the suites share: tiny models of npconv and of transformers that are the same, for every family and its tasks.

The suites ask of npconv what the test suites of transformers ask of these families, in our own words and where it makes
sense without autograd. What ``tests/reference`` asks already is not asked again: numbers, losses and activations in
``test_parity``, forms of the outputs in ``test_forms``, files in every dtype, shards, default configurations and
choices of stages in ``test_exchange``, drop path and dropout in ``test_training_parity``, single pictures in
``tests/images/test_processor_reference.py``.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import parity
import pytest

from npconv.models import FAMILIES
from tests.support.builders import filled_state_dict
from tests.support.families import CLASSES, CONFIGS
from weights_tools.goldens import reference
from weights_tools.goldens.cases import family_file

#: Two programs in float64 that compute the same: ``test_parity`` measured 8.1e-14 at most over 1943 seeds a family.
CLOSE = 1e-10

NAMES = ["cat", "dog", "ship"]

#: Fields of the tiny models: three classes with names, where there is a classifier.
FIELDS: dict[str, dict[str, Any]] = {
    family: {**fields, "id2label": dict(enumerate(NAMES)), "label2id": {name: i for i, name in enumerate(NAMES)}}
    for family, fields in parity.TINY.items()
}

#: Three pictures, odd and not square.
SHAPE = (3, 3, 16, 19)

TASKS = [(family, task) for family, found in FAMILIES.items() for task in found.tasks]
EACH = pytest.mark.parametrize(("family", "task"), TASKS)
EACH_FAMILY = pytest.mark.parametrize("family", FAMILIES)
EACH_CLASSIFIER = pytest.mark.parametrize("family", parity.CLASSIFIERS)
EACH_BACKBONE = pytest.mark.parametrize("family", parity.BACKBONES)


def make(family: str, task: str, **fields: Any) -> parity.Pair:
    """Return a new pair of models with the same weights, in float64."""
    return parity.make_pair(family, task, {**FIELDS[family], **fields}, SHAPE)


@cache
def shared(family: str, task: str) -> parity.Pair:
    """Return a pair that every test may use and none may change."""
    return make(family, task)


def ours(family: str, task: str, dtype: Any = "float32") -> Any:
    """Return a new model of npconv whose weights need all digits of float32, none of them at its first value."""
    model_class, config = CLASSES[family, task], CONFIGS[family](**FIELDS[family])
    return model_class(config, filled_state_dict(model_class, config), dtype=dtype)


def theirs(family: str, task: str) -> Any:
    """Return a new model of transformers with random weights in float32."""
    return reference.model_class(family, task)(reference.config_class(family)(**FIELDS[family])).eval()


def tensors_of(model: Any, family: str) -> dict[str, np.ndarray]:
    """Return the tensors of a model of transformers by their names in its files."""
    named = getattr(family_file(family), "named_as_in_files", None)
    state = (named(model) if named else model).state_dict()
    return {name: tensor.numpy() for name, tensor in state.items()}


def assert_same_bits(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Check that tensors have the same names, dtypes and bits."""
    assert set(actual) == set(expected)
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype, name
        np.testing.assert_array_equal(actual[name], array, err_msg=name)


def assert_same_outputs(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Check that outputs have the same names and bits."""
    assert set(actual) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(actual[name], array, err_msg=name)


def assert_close(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Check that all outputs of float64 models are the same but for rounding."""
    assert max(parity.distances(actual, expected).values()) <= CLOSE
