"""What holds no weights that are read here is named as what it is, with what to do, in one line."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from npconv.errors import SafetensorsError, WeightsError
from npconv.files.checkpoint import load_checkpoint
from npconv.files.opening import open_weights

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 99\n"
PADDLE = pickle.dumps({"w": np.zeros(3), "StructuredToParameterName@@": {"w": "w_0"}})

BEGINNINGS = {
    "Git LFS": (LFS, "Git LFS pointer.*git lfs pull"),
    "web page": (b"\n<!doctype html><html>", "web page"),
    "gzip": (b"\x1f\x8b\x08" + bytes(20), "packed; unpack it"),
    "xz": (b"\xfd7zXZ\0" + bytes(20), "packed; unpack it"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(20), "packed; unpack it"),
    "GGUF": (b"GGUF\x03\0\0\0" + bytes(20), "GGUF file, made for llama.cpp"),
    "ONNX": (b"\x08\x07\x12\x07pytorch\x1a\x052.1.0", "ONNX model"),
    "ONNX without a producer": (b"\x08\x0a:\xc0\x01\x0a\x0b", "ONNX model"),
    "TensorFlow Lite": (b"\x1c\0\0\0TFL3" + bytes(20), "TensorFlow Lite"),
    "SavedModel": (b"\x08\x01\x12\xff\x01", "SavedModel of TensorFlow"),
    "Flax": (b"\x81\xa6params\x81\xa1a\xc0", "msgpack, as Flax"),
    "MXNet": (b"\x12\x01\0\0\0\0\0\0" + bytes(8), "MXNet"),
    "PaddlePaddle": (PADDLE, "PaddlePaddle"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(20), "a picture"),
    "nothing": (b"", "is empty; download it again"),
    "something else": (b"hello", "none of the files that are read"),
}


@pytest.mark.parametrize(("data", "message"), BEGINNINGS.values(), ids=BEGINNINGS)
def test_files(tmp_path, data, message):
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(data)
    for given in (path, tmp_path):
        with pytest.raises(WeightsError, match=message) as caught:
            open_weights(given)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (LFS, "Git LFS pointer"),
        (b"PK\x03\x04\0\0\x08\x08" + bytes(90), "npconv convert reads"),
        (b"<html>\n\n\n", "web page"),
    ],
)
def test_a_model_whose_file_is_another(tmp_path, data, message):
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(SafetensorsError, match=message):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.ckpt.index", "a part of a checkpoint of TensorFlow"),
        ("model.ckpt.data-00000-of-00001", "a part of a checkpoint of TensorFlow"),
        ("model.pdparams", "PaddlePaddle"),
    ],
)
def test_names_of_files(tmp_path, name, message):
    (tmp_path / name).write_bytes(b"\0\0\0")
    with pytest.raises(WeightsError, match=message):
        open_weights(tmp_path / name)


def test_a_checkpoint_of_tensorflow_is_no_single_file(tmp_path):
    (tmp_path / "model.ckpt.index").write_bytes(b"\0")
    with pytest.raises(WeightsError, match="a part of a checkpoint of TensorFlow"):
        open_weights(tmp_path / "model.ckpt")


@pytest.mark.parametrize(
    ("file", "message"),
    [("adapter_config.json", "LoRA adapter.*merge_and_unload"), ("saved_model.pb", "SavedModel of TensorFlow")],
)
@pytest.mark.parametrize("read", [open_weights, load_checkpoint])
def test_folders(tmp_path, read, file, message):
    (tmp_path / file).write_text(json.dumps({}))
    with pytest.raises(WeightsError, match=message):
        read(tmp_path)
