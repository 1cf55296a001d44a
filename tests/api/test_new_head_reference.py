"""A new head for other classes, as transformers makes it: ``num_labels``, ``id2label``, ``ignore_mismatched_sizes``."""

from __future__ import annotations

import numpy as np
import pytest
from support.builders import CLASSIFIERS, filled_model
from support.small_models import CONFIGS

import npconv
from npconv.errors import MisfitError, NpconvWarning

torch = pytest.importorskip("torch", reason="transformers needs it")
transformers = pytest.importorskip("transformers", reason="it is what is compared with")

pytestmark = pytest.mark.reference

NAMES = {0: "a", 1: "b"}
GIVEN = {
    "a number": {"num_labels": 2},
    "one output": {"num_labels": 1},
    "names": {"id2label": NAMES, "label2id": {"a": 0, "b": 1}},
    "number and names": {"num_labels": 2, "id2label": NAMES, "label2id": {"a": 0, "b": 1}},
    "another problem": {"num_labels": 3, "problem_type": "multi_label_classification"},
}


@pytest.fixture(params=CLASSIFIERS)
def folder(request, tmp_path):
    """A classifier of each family."""
    filled_model(CLASSIFIERS[request.param], CONFIGS[request.param]).save_pretrained(tmp_path)
    return tmp_path


def theirs_of(folder, **given):
    return transformers.AutoModelForImageClassification.from_pretrained(folder, **given)


def ours_of(folder, **given):
    return npconv.AutoModelForImageClassification.from_pretrained(folder, **given)


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_a_new_head_is_that_of_transformers(folder, given):
    theirs, told = theirs_of(folder, ignore_mismatched_sizes=True, output_loading_info=True, **given)
    with pytest.warns(
        NpconvWarning, match=r"of another shape in the file, .*: classifier\.weight .*, classifier\.bias"
    ):
        ours, said = ours_of(folder, ignore_mismatched_sizes=True, output_loading_info=True, **given)
    for field in ("num_labels", "id2label", "problem_type"):
        assert getattr(ours.config, field) == getattr(theirs.config, field)
    assert ours.config.label2id == {name: number for number, name in ours.config.id2label.items()}
    if not given.keys() >= {"num_labels", "id2label"}:  # there, num_labels overwrites the other
        assert ours.config.label2id == theirs.config.label2id
    assert said["mismatched_keys"] == {(name, tuple(a), tuple(b)) for name, a, b in told["mismatched_keys"]}
    new = {name for name, *_ in said["mismatched_keys"]}
    for name, value in theirs.state_dict().items():
        assert ours.state_dict()[name].shape == tuple(value.shape)
        if name not in new:
            np.testing.assert_array_equal(ours.state_dict()[name], value.numpy())


def test_its_first_values_are_drawn_from_the_same_distribution(folder):
    torch.manual_seed(0)
    classes = 2000
    theirs = theirs_of(folder, num_labels=classes, ignore_mismatched_sizes=True).classifier
    with pytest.warns(NpconvWarning, match="of another shape"):
        ours, again = (ours_of(folder, num_labels=classes, ignore_mismatched_sizes=True) for _ in range(2))
    weight = np.asarray(ours.classifier.weight)
    expected = ours.config.initializer_range
    for values in (weight, theirs.weight.detach().numpy()):
        # of N normal values, mean and standard deviation are off by expected / sqrt(N) and / sqrt(2 N); five of them
        assert abs(values.mean()) < 5 * expected / np.sqrt(values.size)
        assert abs(values.std() / expected - 1) < 5 / np.sqrt(2 * values.size)
    assert not np.asarray(ours.classifier.bias).any()
    assert not theirs.bias.detach().numpy().any()
    np.testing.assert_array_equal(np.asarray(again.classifier.weight), weight)


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_without_the_flag_both_refuse_and_ours_says_what_to_do(folder, given):
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        theirs_of(folder, **given)
    with pytest.raises(MisfitError, match="ignore_mismatched_sizes=True puts new ones in their place") as caught:
        ours_of(folder, **given)
    assert isinstance(caught.value, RuntimeError)


def test_a_head_of_the_same_size_keeps_its_weights(folder):
    classes = npconv.AutoConfig.from_pretrained(folder).num_labels
    given = {"id2label": {number: f"new {number}" for number in range(classes)}, "ignore_mismatched_sizes": True}
    theirs, ours = theirs_of(folder, **given), ours_of(folder, **given)
    np.testing.assert_array_equal(np.asarray(ours.classifier.weight), theirs.classifier.weight.detach().numpy())
    assert ours.config.id2label == theirs.config.id2label
