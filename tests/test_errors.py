"""Errors are also what programs that were written for other libraries catch."""

from __future__ import annotations

import inspect
import pickle
import sys
from types import ModuleType

import numpy as np
import pytest
from support.builders import BARE_MODELS, CLASSIFIERS, CONFIGS, filled_model, pictures

import npconv
from npconv import errors, golden
from npconv.files.checkpoint import load_checkpoint
from npconv.files.opening import open_weights
from npconv.files.safetensors import load_file, save_file
from npconv.images import open_image, pictures_in
from npconv.layers import linear
from npconv.models.parameters import nest

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.NpconvError)]


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_says_its_message_also_after_it_was_sent_to_another_process(kind):
    made = kind("HeaderTooLarge", "a line") if kind is errors.SafetensorsError else kind("a line")
    sent = pickle.loads(pickle.dumps(kind("a line"))) if kind is not errors.SafetensorsError else made
    for error in (made, sent):
        assert str(error).endswith("a line")
        assert "Errno" not in str(error)
        assert isinstance(error, errors.NpconvError)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    path = tmp_path / "model"
    filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"]).save_pretrained(path)
    npconv.ConvNextImageProcessor(size=24).save_pretrained(path)
    return path


LOADERS = [
    npconv.AutoModel.from_pretrained,
    npconv.AutoModelForImageClassification.from_pretrained,
    npconv.AutoConfig.from_pretrained,
    npconv.AutoImageProcessor.from_pretrained,
    npconv.ConvNextModel.from_pretrained,
    npconv.ConvNextConfig.from_pretrained,
    npconv.ConvNextImageProcessor.from_pretrained,
    lambda name: npconv.pipeline("image-classification", model=name),
]


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize("name", ["no-such-model", "no/such-model", "./no/such/folder"])
def test_a_missing_model_is_an_os_error(folder, load, name):
    with pytest.raises(OSError) as caught:
        load(name)
    assert isinstance(caught.value, errors.ModelNotFoundError)
    assert isinstance(caught.value, EnvironmentError)


@pytest.mark.parametrize(
    ("missing", "load", "kind"),
    [
        ("config.json", npconv.ConvNextConfig.from_pretrained, errors.ConfigError),
        ("config.json", npconv.AutoModel.from_pretrained, errors.ConfigError),
        ("model.safetensors", npconv.AutoModel.from_pretrained, errors.WeightsError),
        ("preprocessor_config.json", npconv.AutoImageProcessor.from_pretrained, errors.ModelNotFoundError),
    ],
)
def test_a_missing_file_of_a_model_is_a_file_not_found_error(folder, missing, load, kind):
    (folder / missing).unlink()
    with pytest.raises(FileNotFoundError, match=missing) as caught:
        load(folder)
    assert isinstance(caught.value, kind)


def test_a_missing_shard_is_a_file_not_found_error(folder):
    filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"]).save_pretrained(folder, max_shard_size=4000)
    gone = max(folder.glob("model-*.safetensors"))
    gone.unlink()
    with pytest.raises(FileNotFoundError, match=gone.name):
        npconv.AutoModel.from_pretrained(folder)


@pytest.mark.parametrize(
    ("read", "kind"),
    [
        (load_file, errors.WeightsError),
        (load_checkpoint, errors.WeightsError),
        (open_weights, errors.WeightsError),
        (golden.load_trace, errors.GoldenError),
        (open_image, errors.ImageError),
        (lambda path: list(pictures_in(path)), errors.ImageError),
        (npconv.ConvNextImageProcessor(), errors.ImageError),
    ],
)
def test_a_missing_file_is_a_file_not_found_error(tmp_path, read, kind):
    with pytest.raises(FileNotFoundError) as caught:
        read(str(tmp_path / "missing.safetensors"))
    assert isinstance(caught.value, kind)


def test_what_is_there_but_no_picture_is_not_a_file_not_found_error(tmp_path):
    for given in (tmp_path, tmp_path / "text"):
        (tmp_path / "text").write_text("no picture")
        with pytest.raises(errors.ImageError) as caught:
            open_image(given)
        assert not isinstance(caught.value, OSError)


def test_weights_of_other_shapes_are_a_runtime_error(folder):
    tensors = dict(load_file(folder / "model.safetensors"))
    save_file(tensors | {"classifier.weight": np.ones((3, 3), np.float32)}, folder / "model.safetensors")
    with pytest.raises(RuntimeError, match=r"classifier.weight"):
        npconv.AutoModelForImageClassification.from_pretrained(folder)
    with pytest.raises(RuntimeError, match=r"classifier.weight"):
        npconv.ConvNextForImageClassification(CONFIGS["convnext"], load_file(folder / "model.safetensors"))
    with pytest.raises(RuntimeError, match="the file lacks"):
        BARE_MODELS["convnext"](CONFIGS["convnext"], {})


@pytest.mark.parametrize("family", CONFIGS)
def test_arrays_of_other_shapes_are_a_runtime_error_and_a_value_error(family):
    model = filled_model(CLASSIFIERS[family], CONFIGS[family])
    for given in (pictures(channels=4), pictures()[0]):
        with pytest.raises(errors.ShapeError) as caught:
            model(given)
        assert isinstance(caught.value, RuntimeError)
        assert isinstance(caught.value, ValueError)
    with pytest.raises(RuntimeError, match="linear: the weights expect 5 channels"):
        linear(np.ones((2, 3)), np.ones((4, 5)))


@pytest.mark.parametrize(
    "call",
    [
        lambda: npconv.pipeline("text-generation"),
        lambda: npconv.ConvNextConfig(num_stages="many"),
        lambda: npconv.ConvNextConfig.from_dict({"model_type": "resnet"}),
        lambda: npconv.AutoModel.from_pretrained("convnextv2-cifar10", dtype="float31"),
        lambda: npconv.AutoModel.from_pretrained("convnextv2-cifar10", revisions="main"),
        lambda: npconv.ConvNextImageProcessor(size="large"),
        lambda: npconv.ConvNextImageProcessor()(np.zeros((2, 2, 2, 2, 2))),
        lambda: nest({"a": 1}) and npconv.ConvNextModel(npconv.CvtConfig()),
    ],
)
def test_a_wrong_value_is_a_value_error(call):
    with pytest.raises(ValueError) as caught:
        call()
    assert isinstance(caught.value, errors.NpconvError)


def test_a_missing_package_is_an_import_error_and_a_missing_device_a_runtime_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    for kind in (ImportError, RuntimeError, errors.UnavailableError):
        with pytest.raises(kind, match="pip install cupy"):
            npconv.AutoModel.from_pretrained("convnextv2-cifar10", device="cuda")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="pip install torch"):
        npconv.ConvNextImageProcessor()(np.zeros((9, 9, 3), np.uint8), return_tensors="pt")
    cupy = ModuleType("cupy")
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(RuntimeError, match="finds no usable CUDA device") as caught:
        npconv.AutoModel.from_pretrained("convnextv2-cifar10", device="cuda")
    assert not isinstance(caught.value, ImportError)


@pytest.mark.parametrize("tensors", [{}, {"classifier.weight": np.ones((3, 3), np.float32)}])
def test_what_a_model_says_of_weights_can_be_sent_to_another_process(folder, tensors):
    whole = dict(load_file(folder / "model.safetensors"))
    for given in (tensors, whole | tensors if tensors else {n: t for n, t in whole.items() if "classifier" not in n}):
        with pytest.raises(errors.MisfitError) as caught:
            npconv.ConvNextForImageClassification(CONFIGS["convnext"], given)
        sent = pickle.loads(pickle.dumps(caught.value))
        assert (type(sent), str(sent)) == (type(caught.value), str(caught.value))
