"""The numbers of a converted model: their dtype, what it cannot hold, and how many are in memory."""

from __future__ import annotations

import os
import tracemalloc

import numpy as np
import pytest
from support.conversion_files import (
    FILES,
    in_dialect,
    pickled_tensors,
    refusal,
    run,
    state_of,
)

import npconv
from npconv.convert import convert, translate
from npconv.errors import WeightsError
from npconv.files import safetensors
from npconv.files.checkpoint import load_checkpoint
from npconv.models import convnext
from npconv.models.naming import lines

pytestmark = pytest.mark.long


@pytest.mark.parametrize(("dtype", "stored"), [("float64", "F64"), ("float16", "F16"), ("bfloat16", "BF16")])
def test_dtypes(tmp_path, source, dtype, stored):
    done = convert(source, tmp_path / "o", dtype=dtype)
    entries = safetensors.read_header(tmp_path / "o" / "model.safetensors").entries
    assert {entry.dtype for entry in entries.values()} == {stored}
    assert (done.dtype, done.config.dtype) == (dtype, dtype)
    expected = {"F64": np.float64, "F16": np.float16}.get(stored)
    for key, value in load_checkpoint(tmp_path / "o").items():
        exact = state_of("convnextv2")[key]
        if expected is None:  # the nearest of the numbers with 8 bits of mantissa
            assert np.abs(value - exact).max() <= 2.0**-8 * np.abs(exact).max()
            assert not (value.view(np.uint32) & 0xFFFF).any()
        else:
            np.testing.assert_array_equal(value, exact.astype(expected), strict=True)


def save_with(path, value, dtype=np.float32):
    tensors = {name: tensor.astype(dtype) for name, tensor in state_of("convnext").items()}
    tensors["convnext.layernorm.bias"][2] = value
    safetensors.save_file(tensors, path)


@pytest.mark.parametrize(
    ("value", "source_dtype", "dtype", "fits"),
    [
        (65519.0, np.float32, "float16", True),
        (65520.0, np.float32, "float16", False),
        (-1e6, np.float32, "float16", False),
        (1e6, np.float32, "bfloat16", True),
        (3.39e38, np.float32, "bfloat16", True),
        (3.4e38, np.float32, "bfloat16", False),
        (1e39, np.float64, "float32", False),
        (3.4028235e38, np.float64, "float32", True),
        (1e300, np.float64, "bfloat16", False),
        (6e4, np.float16, "float32", True),
    ],
)
def test_overflow_is_refused(capsys, tmp_path, value, source_dtype, dtype, fits):
    save_with(tmp_path / "x.safetensors", value, source_dtype)
    words = ["convert", tmp_path / "x.safetensors", tmp_path / "o", "--dtype", dtype]
    if fits:
        assert run(capsys, *words)[0] == 0
        assert np.isfinite(load_checkpoint(tmp_path / "o")["convnext.layernorm.bias"]).all()
    else:
        message = refusal(capsys, *words)
        assert "'convnext.layernorm.bias' has numbers" in message
        assert f"which {dtype} cannot hold" in message
        assert os.listdir(tmp_path) == ["x.safetensors"]


def test_what_becomes_zero_or_is_not_finite_is_said(tmp_path):
    save_with(tmp_path / "x.safetensors", 1e-8)
    said = lines(convert(tmp_path / "x.safetensors", tmp_path / "o", dtype="float16").decisions)
    assert "warning: 1 numbers too small for float16 became 0, most in convnext.layernorm.bias" in said
    save_with(tmp_path / "x.safetensors", np.nan)
    said = lines(convert(tmp_path / "x.safetensors", tmp_path / "p", dtype="float16").decisions)
    assert any("NaN or infinity: 1 in convnext.layernorm.bias" in line for line in said)
    assert np.isnan(load_checkpoint(tmp_path / "p")["convnext.layernorm.bias"][2])


def test_weights_with_nan_are_written_and_reported(capsys, tmp_path):
    save_with(tmp_path / "x.safetensors", np.inf)
    status, lines, errors = run(capsys, "convert", tmp_path / "x.safetensors", tmp_path / "o")
    assert status == 1
    assert errors[-1].startswith("weights_tools: warning: the weights hold NaN or infinity: 1 in convnext.layernorm")
    assert lines[-1].startswith("wrote ")
    assert not any(line.startswith("warning: ") for line in lines)
    assert sorted(os.listdir(tmp_path / "o")) == FILES


@pytest.mark.parametrize("code", ["F8_E4M3", "F8_E5M2"])
def test_8_bit_floats_become_float32(tmp_path, code):
    state = {key: np.round(value) for key, value in state_of("convnext").items()}  # of -5 to 5: held by both
    kept = {key for key in state if "layernorm" in key}
    path = tmp_path / "x.safetensors"
    safetensors.save_file(state, path, dtypes={key: code for key in state if key not in kept})
    done = convert(path, tmp_path / "o")
    assert done.dtype == done.config.dtype == "float32"
    assert any(line.startswith("dtype float32: the 8-bit floats of the source") for line in lines(done.decisions))
    stored = load_checkpoint(tmp_path / "o")
    for key, value in state.items():
        np.testing.assert_array_equal(stored[key], value, strict=True)
    assert convert(path, tmp_path / "p", dtype="bfloat16").dtype == "bfloat16"


def test_integers_are_no_weights(tmp_path):
    tensors = state_of("convnext") | {"classifier.bias": np.arange(4)}
    safetensors.save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match=r"'classifier.bias' is stored as I64, expected floating-point"):
        convert(tmp_path / "x.safetensors", tmp_path / "o")


def test_bfloat16_keeps_its_bits(tmp_path):
    state = in_dialect("convnextv2", "timm")
    safetensors.save_file(state, tmp_path / "x.safetensors", dtypes=dict.fromkeys(state, "BF16"))
    assert convert(tmp_path / "x.safetensors", tmp_path / "o").dtype == "bfloat16"
    entries = safetensors.read_header(tmp_path / "o" / "model.safetensors").entries
    assert {entry.dtype for entry in entries.values()} == {"BF16"}
    before = safetensors.load_file(tmp_path / "x.safetensors")
    after = load_checkpoint(tmp_path / "o")
    for key, value in translate.to_hugging_face(before, translate.detect(before)).items():
        np.testing.assert_array_equal(after[key], value)


@pytest.mark.parametrize("dtype", [None, "float16", "bfloat16", "float64"])
def test_tensors_are_in_memory_one_at_a_time(tmp_path, dtype):
    """The file is mapped; beside it there are copies of the largest tensor, not of the model."""
    config = npconv.ConvNextConfig(hidden_sizes=[96] * 4, depths=[20, 20, 20, 20], num_labels=0)
    rng = np.random.default_rng(0)
    shapes = {f"convnext.{name}": shape for name, shape in convnext.model_shapes(config).items()}
    state = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    (tmp_path / "x").write_bytes(pickled_tensors(state))
    largest = max(value.nbytes for value in state.values())
    total = (tmp_path / "x").stat().st_size
    assert total > 100 * largest
    del state
    tracemalloc.start()
    try:
        convert(tmp_path / "x", tmp_path / "o", dtype=dtype)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Eight bytes a number in place of four, two tensors on their way, and what rounding to bfloat16 takes. The rest is
    # names, the header, the reading buffer and imports.
    assert peak < 20 * largest + 6_000_000
    assert peak < total / 2
