"""Training mode with the same random numbers on both sides."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import numpy as np
import parity
import same_masks
import torch

pytestmark = pytest.mark.reference

STAGED = {"num_stages": 3, "hidden_sizes": [5, 8, 12], "depths": [2, 1, 2], "patch_size": 2}
CVT = {
    "embed_dim": [6, 8, 8],
    "num_heads": [2, 4, 1],
    "depth": [1, 2, 3],
    "patch_stride": [2, 2, 2],
    "drop_rate": [0.1, 0.2, 0.3],
    "attention_drop_rate": [0.3, 0.2, 0.1],
    "drop_path_rate": [0.3, 0.2, 0.1],
}


FIELDS = {"convnext": {**STAGED, "drop_path_rate": 0.4}, "convnextv2": {**STAGED, "drop_path_rate": 0.4}, "cvt": CVT}


@pytest.mark.parametrize("family", FIELDS)
def test_drop_path_dropout_and_batch_statistics(family):
    pair = parity.make_pair(family, "image_classification", FIELDS[family], (7, 3, 16, 19))
    same_masks.train(pair.theirs, pair.ours, np.random.default_rng(3))
    with torch.no_grad():
        theirs = pair.theirs(torch.tensor(pair.pixel_values).double(), output_hidden_states=True)
    ours = pair.ours(pair.pixel_values, output_hidden_states=True, training=True, rng=np.random.default_rng(3))
    assert parity.distance(ours.logits, theirs.logits.numpy()) <= 1e-10
    for mine, yours in zip(ours.hidden_states, theirs.hidden_states, strict=True):
        assert parity.distance(mine, yours.numpy()) <= 1e-10
    assert parity.distance(ours.logits, pair.ours(pair.pixel_values).logits) > 1e-3


def test_drop_path_draws_as_that_of_transformers(monkeypatch):
    """With its own modules. Five blocks: these rates are exact in float32, to which transformers rounds them."""
    pair = parity.make_pair("convnext", "image_classification", {**STAGED, "drop_path_rate": 0.5}, (7, 3, 16, 19))
    numbers = np.random.default_rng(3)
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.tensor(numbers.random(tuple(shape))))
    with torch.no_grad():
        theirs = pair.theirs.train()(torch.tensor(pair.pixel_values).double())
    ours = pair.ours(pair.pixel_values, training=True, rng=np.random.default_rng(3))
    assert parity.distance(ours.logits, theirs.logits.numpy()) <= 1e-10


def test_drop_path_rates():
    ours = parity.CONFIGS["convnext"](**{**STAGED, "drop_path_rate": 0.4})
    theirs = parity.make_pair("convnext", "model", {**STAGED, "drop_path_rate": 0.4}, (1, 3, 16, 16)).theirs
    found = [[getattr(layer.drop_path, "drop_prob", 0.0) for layer in stage.layers] for stage in theirs.encoder.stages]
    for mine, yours in zip(ours.drop_path_rates(), found, strict=True):
        assert mine == pytest.approx(yours, abs=2**-24)  # theirs are rounded to float32


@pytest.mark.parametrize("rates", [[0.5, 0.25, 0.125], [0.0, 0.3, 0.6]])
def test_drop_path_rates_of_cvt(rates):
    fields = {**CVT, "depth": [2, 3, 5], "drop_path_rate": rates}
    ours = parity.CONFIGS["cvt"](**fields)
    theirs = parity.make_pair("cvt", "model", fields, (1, 3, 16, 16)).theirs
    for index, stage in enumerate(theirs.encoder.stages):
        found = [getattr(layer.drop_path, "drop_prob", 0.0) for layer in stage.layers]
        assert found == pytest.approx([ours.layer_drop_path_rate(index)] * len(found), abs=2**-24)
