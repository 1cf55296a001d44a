"""The fast engine against transformers run live: how far both are from the float64 truth, in float32."""

import numpy as np
import pytest
from support.fast_models import CLASSIFIERS, own_threads

#: Random configurations of each family. The largest error is that of a few ill-conditioned arrays, such as the logits
#: of a 1 x 1 map of three channels: among 50 cases it doubles or halves with the rounding of one operation.
CASES = 200


@pytest.mark.reference
@pytest.mark.parametrize("family", list(CLASSIFIERS))
def test_float32_is_at_most_twice_as_far_from_the_truth_as_pytorch(family, monkeypatch):
    """Compared over all outputs of all cases: ``tests/reference/parity.py`` says why, and has the cases."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.reference import parity
    from weights_tools.goldens import reference

    def measure(family, seed):
        fields, shape = parity.random_case(family, seed)
        pair = parity.make_pair(family, "image_classification", fields, shape, seed=seed)
        truth = reference.run(pair.theirs, pair.pixel_values)
        fast = type(pair.ours)(pair.ours.config, pair.weights, engine="fast", threads=1 + seed % 2)
        with own_threads():
            outputs = parity.outputs_of(fast, pair.pixel_values)
        return parity.Distances(
            float64=parity.distances(parity.outputs_of(pair.ours, pair.pixel_values), truth),
            ours_float32=parity.distances(outputs, truth),
            theirs_float32=parity.distances(reference.run(pair.theirs.float(), pair.pixel_values), truth),
        )

    monkeypatch.setattr(parity, "CASES", CASES)
    monkeypatch.setattr(parity, "measure", measure)
    result = parity.figures(family)
    mean_ratio, max_ratio = result.ratios
    print(
        f"\n{family}, fast engine, {result.arrays} arrays: {mean_ratio:.2f} of PyTorch's distance on average, "
        f"{max_ratio:.2f} at most"
    )
    assert mean_ratio <= 2
    assert max_ratio <= 2


@pytest.mark.reference
@pytest.mark.parametrize("family", list(CLASSIFIERS))
def test_the_published_default_configuration(family):
    """The widths and depths of the tiny models and CvT-13, where sums are as long as in published models."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.reference import parity
    from weights_tools.goldens import reference

    pair = parity.make_pair(family, "image_classification", {"num_labels": 10}, (1, 3, 73, 66))
    truth = reference.run(pair.theirs, pair.pixel_values)
    fast = type(pair.ours)(pair.ours.config, pair.weights, engine="fast")
    ours = np.mean(list(parity.distances(parity.outputs_of(fast, pair.pixel_values), truth).values()))
    theirs = reference.run(pair.theirs.float(), pair.pixel_values)
    ratio = ours / np.mean(list(parity.distances(theirs, truth).values()))
    print(f"\n{family}, fast engine, default configuration: {ratio:.2f} of PyTorch's")
    assert ratio <= 2
