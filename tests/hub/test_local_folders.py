"""A folder without safetensors is converted once, as a model of the hub is."""

from __future__ import annotations

import os

import numpy as np
import pytest
from support.conversion_files import CONFIGS, in_dialect, pickled_tensors, state_of

import npconv
from npconv.convert import convert
from npconv.errors import ConfigError, NpconvWarning, WeightsError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NPCONV_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "model"
    CONFIGS["convnext"].save_pretrained(path)
    npconv.ConvNextImageProcessor(size=64, crop_pct=0.75).save_pretrained(path)
    (path / "pytorch_model.bin").write_bytes(pickled_tensors(state_of("convnext")))
    return path


def load(folder):
    return npconv.AutoModelForImageClassification.from_pretrained(folder)


def made(tmp_path):
    place = tmp_path / "cache" / "converted" / "local"
    return sorted(place.iterdir()) if place.is_dir() else []


@pytest.mark.parametrize("spelling", [str, lambda path: path, lambda path: os.path.relpath(path)])
def test_a_folder_with_a_pickle_is_loaded(folder, tmp_path, monkeypatch, spelling):
    monkeypatch.chdir(tmp_path)
    with pytest.warns(NpconvWarning, match="has no .safetensors file: converting it, once"):
        first = load(spelling(folder))
    assert len(made(tmp_path)) == 1
    again = load(spelling(folder))  # without a warning, which would be an error
    for name, value in state_of("convnext").items():
        np.testing.assert_array_equal(first.state_dict()[name], value)
        np.testing.assert_array_equal(again.state_dict()[name], value)
    assert sorted(os.listdir(folder)) == ["config.json", "preprocessor_config.json", "pytorch_model.bin"]
    assert npconv.AutoImageProcessor.from_pretrained(folder).crop_pct == 0.75


def test_changed_weights_are_converted_anew(folder, tmp_path):
    with pytest.warns(NpconvWarning):
        load(folder)
    (folder / "pytorch_model.bin").write_bytes(pickled_tensors(state_of("convnext", seed=5)))
    os.utime(folder / "pytorch_model.bin", ns=(1, 1))
    with pytest.warns(NpconvWarning):
        model = load(folder)
    name = "classifier.weight"
    np.testing.assert_array_equal(model.state_dict()[name], state_of("convnext", seed=5)[name])


def test_safetensors_come_first_and_conversion_itself_makes_no_copy(folder, tmp_path):
    convert(folder, tmp_path / "out")
    load(tmp_path / "out")
    assert made(tmp_path) == []


def test_a_folder_that_is_no_model_is_named(folder, tmp_path):
    (folder / "pytorch_model.bin").write_bytes(pickled_tensors({"x": np.zeros(3, np.float32)}))
    with pytest.warns(NpconvWarning), pytest.raises(WeightsError, match="cannot be converted: expected tensors named"):
        load(folder)


def test_names_of_another_library_are_converted_as_well(folder):
    (folder / "pytorch_model.bin").write_bytes(pickled_tensors(in_dialect("convnext", "timm")))
    with pytest.warns(NpconvWarning):
        model = load(folder)
    np.testing.assert_array_equal(model.state_dict()["classifier.weight"], state_of("convnext")["classifier.weight"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("adapter_config.json", "{}", "is a LoRA adapter"),
        ("config.json", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
    ],
)
def test_a_folder_without_a_configuration_is_named_as_what_it_is(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=message):
        npconv.AutoModel.from_pretrained(tmp_path)
