"""Outputs of npconv against transformers run live, over random configurations and sizes of pictures."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import numpy as np
import parity

from weights_tools.goldens import reference

pytestmark = pytest.mark.reference

FAMILIES = pytest.mark.parametrize("family", parity.FAMILIES)
CLASSIFIERS = pytest.mark.parametrize("family", parity.CLASSIFIERS)


@FAMILIES
@pytest.mark.parametrize("seed", range(parity.CASES))
def test_float64(family, seed):
    """Below the bound: 1943 seeds of each family gave at most 8.1e-14, and 1.9e-11 with ``gelu_fast``.

    transformers truncates a constant of ``gelu_fast``; what that makes of an output depends on the model. CvT is never
    drawn with it: its configuration in transformers has no ``hidden_act``, and the few activations that the generator
    tries there do not include it.
    """
    for name, value in parity.measure(family, seed).float64.items():
        assert value <= 1e-10, name


@FAMILIES
def test_float32_is_at_most_twice_as_far_from_the_truth_as_pytorch(family):
    """Compared over all arrays of all cases: see ``parity`` for why, and for what is printed here."""
    result = parity.figures(family)
    mean_ratio, max_ratio = result.ratios
    print(f"\n{family}: float64 {result.worst_float64:.1e}, float32 ratios {mean_ratio:.2f} and {max_ratio:.2f}")
    assert mean_ratio <= 2
    assert max_ratio <= 2


def test_the_random_cases_vary():
    for family in parity.FAMILIES:
        cases = [parity.random_case(family, seed) for seed in range(parity.CASES)]
        shapes = [shape for _, shape in cases]
        assert len(cases) >= 30
        assert {shape[0] for shape in shapes} == {1, 2}
        assert sum(height % 2 and width % 2 for _, _, height, width in shapes) >= 5
        assert sum(height != width for _, _, height, width in shapes) >= 30
        assert {0, 1} < {fields["num_labels"] for fields, _ in cases}
        assert {1, 3, 5} <= {fields["num_channels"] for fields, _ in cases}
    staged = [parity.random_case("convnext", seed)[0] for seed in range(parity.CASES)]
    assert {fields["num_stages"] for fields in staged} == {1, 2, 3, 4, 5}
    assert {fields["layer_scale_init_value"] > 0 for fields in staged} == {True, False}
    cvt = [parity.random_case("cvt", seed)[0] for seed in range(parity.CASES)]
    assert {method for fields in cvt for method in fields["qkv_projection_method"]} == {"dw_bn", "avg", "linear"}
    assert {fields["cls_token"][-1] for fields in cvt} == {True, False}
    assert any(any(fields["cls_token"][:-1]) for fields in cvt)


SHARED = {"num_stages": 3, "hidden_sizes": [5, 8, 12], "depths": [1, 2, 1], "patch_size": 2}
CVT = {"embed_dim": [6, 8, 8], "num_heads": [2, 4, 1], "depth": [1, 1, 2], "patch_stride": [2, 2, 2]}
TASKS = [
    ("convnext", "model", SHARED),
    ("convnextv2", "model", SHARED),
    ("cvt", "model", CVT),
    ("cvt", "model", {**CVT, "cls_token": [False, True, False]}),
    ("convnext", "backbone", SHARED),
    ("convnext", "backbone", {**SHARED, "out_features": ["stem", "stage1", "stage3"]}),
    ("convnextv2", "backbone", {**SHARED, "out_indices": [1, -2]}),
    ("convnextv2", "backbone", {**SHARED, "out_features": ["stem", "stage1", "stage2", "stage3"]}),
]


@pytest.mark.parametrize(("family", "task", "fields"), TASKS)
def test_bare_models_and_backbones_in_float64(family, task, fields):
    pair = parity.make_pair(family, task, fields, (2, 3, 29, 34))
    found = parity.distances(
        parity.outputs_of(pair.ours, pair.pixel_values), reference.run(pair.theirs, pair.pixel_values)
    )
    assert max(found.values()) <= 1e-10
    if task == "backbone":
        assert pair.ours.channels == pair.theirs.channels
        assert pair.ours.num_features == pair.theirs.num_features
        assert pair.ours.out_features == pair.theirs.out_features
        assert pair.ours.out_indices == pair.theirs.out_indices
        assert pair.ours.stage_names == pair.theirs.stage_names


@CLASSIFIERS
def test_the_published_default_configuration(family):
    """The widths and depths of the tiny models and CvT-13, where sums are as long as in published models."""
    pair = parity.make_pair(family, "image_classification", {"num_labels": 10}, (1, 3, 73, 66))
    truth = reference.run(pair.theirs, pair.pixel_values)
    assert max(parity.distances(parity.outputs_of(pair.ours, pair.pixel_values), truth).values()) <= 1e-10
    ours = type(pair.ours)(pair.ours.config, pair.weights, dtype="float32")
    our_distance = np.mean(list(parity.distances(parity.outputs_of(ours, pair.pixel_values), truth).values()))
    theirs = reference.run(pair.theirs.float(), pair.pixel_values)
    their_distance = np.mean(list(parity.distances(theirs, truth).values()))
    print(f"\n{family}, default configuration: float32 ratio {our_distance / their_distance:.2f}")
    assert our_distance <= 2 * their_distance


def test_a_cvt_stage_without_blocks_in_float64():
    pair = parity.make_pair("cvt", "image_classification", {**CVT, "depth": [1, 0, 2]}, (2, 3, 29, 34))
    truth = reference.run(pair.theirs, pair.pixel_values)
    assert max(parity.distances(parity.outputs_of(pair.ours, pair.pixel_values), truth).values()) <= 1e-10


LOSSES = [
    (1, None, np.array([0.5, -1.25, 3.0])),
    (1, "regression", np.array([[0.5], [-1.25], [3.0]])),
    (4, "regression", np.linspace(-2, 2, 12).reshape(3, 4)),
    (4, None, np.array([3, 0, 1])),
    (4, "single_label_classification", np.array([-100, 0, 2])),
    (4, "single_label_classification", np.array([[1], [3], [2]])),
    (4, None, np.linspace(0, 1, 12).reshape(3, 4)),
    (1, "multi_label_classification", np.array([[1.0], [0.0], [0.5]])),
]


@CLASSIFIERS
@pytest.mark.parametrize(("num_labels", "problem_type", "labels"), LOSSES)
def test_losses(family, num_labels, problem_type, labels):
    fields = {**(CVT if family == "cvt" else SHARED), "num_labels": num_labels}
    pair = parity.make_pair(family, "image_classification", fields, (3, 3, 16, 19))
    pair.ours.config.problem_type = problem_type
    expected = reference.loss(pair.theirs, pair.pixel_values, labels, problem_type)
    actual = pair.ours(pair.pixel_values, labels=labels).loss
    assert abs(actual - expected) <= 1e-10 * abs(expected)


@CLASSIFIERS
def test_a_batch_of_ignored_labels_has_no_loss(family):
    fields = {**(CVT if family == "cvt" else SHARED), "num_labels": 4}
    pair = parity.make_pair(family, "image_classification", fields, (2, 3, 16, 19))
    ignored = np.array([-100, -100])
    assert np.isnan(reference.loss(pair.theirs, pair.pixel_values, ignored, None))
    assert np.isnan(pair.ours(pair.pixel_values, labels=ignored).loss)
