"""The ConvNeXt of keras.applications, in each of the files that Keras writes: npconv gives the same logits."""

from __future__ import annotations

import importlib
import os
import zipfile

import numpy as np
import pytest

import npconv
from npconv.convert import convert

pytestmark = pytest.mark.reference

#: Keras's own LayerNorm is so far off in float64 (3e-7 with PyTorch), and so are the logits of four stages of it.
TOLERANCE = 2e-6

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.fixture(scope="module")
def keras():
    pytest.importorskip("torch")
    pytest.importorskip("h5py")
    before = os.environ.get("KERAS_BACKEND")
    os.environ["KERAS_BACKEND"] = "torch"
    try:
        keras = pytest.importorskip("keras")
    finally:
        if before is None:
            del os.environ["KERAS_BACKEND"]
    keras.config.set_floatx("float64")
    yield keras
    keras.config.set_floatx("float32")


def make(top: bool):
    """Return a small model with random weights, norms near 1."""
    applications = importlib.import_module("keras.src.applications.convnext")
    head = {"include_top": True, "classes": 5, "classifier_activation": None} if top else {"include_top": False}
    model = applications.ConvNeXt(
        depths=[1, 2, 1, 1],
        projection_dims=[8, 12, 16, 20],
        default_size=64,
        name="convnext_tiny",
        weights=None,
        input_shape=(64, 64, 3),
        pooling=None if top else "avg",
        **head,
    )
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(w.ndim == 1, 0.3, w.shape) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("top", [True, False])
@pytest.mark.parametrize("name", ["x.h5", "x.weights.h5", "x.keras"])
@pytest.mark.filterwarnings("ignore")
def test_keras_applications(keras, tmp_path, name, top):
    model = make(top)
    path = tmp_path / name
    (model.save_weights if name == "x.weights.h5" else model.save)(path)
    if name == "x.keras":
        zipfile.ZipFile(path).extract("model.weights.h5", tmp_path)
        path = tmp_path / "model.weights.h5"
    made = convert(path, tmp_path / "out")
    assert made.dialect.name == "keras"
    pictures = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3)).astype(float)
    expected = np.asarray(model(pictures, training=False).detach())  # its first layer normalizes
    pixels = ((pictures / 255 - MEAN) / STD).transpose(0, 3, 1, 2)
    chosen = npconv.AutoModelForImageClassification if top else npconv.AutoModel
    output = chosen.from_pretrained(made.directory, dtype="float64")(pixels)
    found = output.logits if top else output.pooler_output
    assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max()
