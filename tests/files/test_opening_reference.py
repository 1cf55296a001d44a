"""Files written by PyTorch itself: the arrays are those that it loads."""

from __future__ import annotations

import argparse
import collections
import functools
import pathlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npconv.errors import WeightsError
from npconv.files.opening import open_weights

pytestmark = pytest.mark.reference
torch = pytest.importorskip("torch")

FORMS = [{"_use_new_zipfile_serialization": True}, {"_use_new_zipfile_serialization": False}]
DTYPES = (
    *("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"),
    *("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2"),
)


def assert_same(array, tensor):
    """Compare shape and every number; bfloat16 and 8-bit floats are held exactly in a larger dtype."""
    wider = {torch.bfloat16: torch.float32, torch.float8_e4m3fn: torch.float16, torch.float8_e5m2: torch.float16}
    expected = tensor.detach().to(wider.get(tensor.dtype, tensor.dtype)).numpy()
    np.testing.assert_array_equal(np.asarray(array), expected, strict=True)


@pytest.mark.parametrize("form", FORMS, ids=["zip", "stream"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_dtype_and_protocol(tmp_path, form, protocol):
    values = torch.arange(24).reshape(2, 3, 4)
    tensors = {name: values.to(getattr(torch, name)) for name in DTYPES}
    tensors |= {f"{name}.turned": tensor.permute(2, 0, 1) for name, tensor in tensors.items()}
    torch.save(tensors, tmp_path / "x", pickle_protocol=protocol, **form)
    checkpoint = open_weights(tmp_path / "x")
    assert list(checkpoint.tensors) == list(tensors)
    for name, tensor in tensors.items():
        assert_same(checkpoint.tensors[name], tensor)


@st.composite
def strided_views(draw):
    """Return a storage of some dtype and views of it with any offset, sizes and strides that it allows."""
    count = draw(st.integers(1, 60))
    dtype = getattr(torch, draw(st.sampled_from(DTYPES[:10])))
    stored = (torch.arange(count) * 37 % 101 - 50).to(dtype)
    views = {}
    for index in range(draw(st.integers(1, 4))):
        offset = draw(st.integers(0, count - 1))
        room = count - 1 - offset
        sizes, strides = [], []
        for _ in range(draw(st.integers(0, 4))):
            size = draw(st.integers(0, 4))
            stride = draw(st.integers(0, room // (size - 1))) if size > 1 else draw(st.integers(0, 50))
            room -= max(size - 1, 0) * stride
            sizes.append(size)
            strides.append(stride)
        views[f"view.{index}"] = torch.as_strided(stored, sizes, strides, offset)
    return views


@pytest.mark.parametrize("form", FORMS, ids=["zip", "stream"])
@given(views=strided_views())
def test_any_view(tmp_path_factory, form, views):
    path = tmp_path_factory.mktemp("views") / "x"
    torch.save(views, path, **form)
    tensors = open_weights(path).tensors
    assert list(tensors) == list(views)
    for name, view in views.items():
        assert_same(tensors[name], view)


@pytest.mark.parametrize("form", FORMS, ids=["zip", "stream"])
def test_a_training_checkpoint(tmp_path, form):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 2), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 4))
    model[2].weight = torch.nn.Parameter(model[2].weight.t())
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3, 5, 5)).sum().backward()
    optimizer.step()
    saved = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epoch": 299,
        "args": argparse.Namespace(lr=1e-3, out=pathlib.PurePosixPath("x"), seen=torch.ones(7)),
        "max_accuracy": np.float64(83.5),
        "history": np.arange(3),
        "rng_state": torch.get_rng_state(),
        "counts": collections.Counter("aab"),
        "more": collections.defaultdict(list, a=[1]),
        "set": {1, 2},
        "device": torch.device("cpu"),
        "sparse": torch.eye(3).to_sparse(),
        "parameter": torch.nn.ParameterDict({"a": torch.nn.Parameter(torch.ones(2))}).state_dict(),
    }
    # An own attribute makes PyTorch write another function around the tensor.
    saved["model"]["marked"] = torch.ones(3)
    saved["model"]["marked"].note = "x"
    torch.save(saved, tmp_path / "x", **form)
    checkpoint = open_weights(tmp_path / "x")
    assert checkpoint.taken == "model"
    assert list(checkpoint.tensors) == list(saved["model"])
    for name, tensor in saved["model"].items():
        assert_same(checkpoint.tensors[name], tensor)
    assert checkpoint.others.keys() == {"optimizer", "rng_state", "parameter", "history"}
    assert checkpoint.metadata["epoch"] == 299
    assert checkpoint.metadata["optimizer.param_groups.0.lr"] == 1e-3
    skipped = dict(checkpoint.skipped)
    assert skipped.keys() == {"args", "max_accuracy", "set", "device", "sparse"}
    assert skipped["args"] == "argparse.Namespace"


@pytest.mark.parametrize("form", FORMS, ids=["zip", "stream"])
def test_tensors_that_share_numbers(tmp_path, form):
    whole = torch.arange(24.0).reshape(2, 3, 4)
    saved = {"a": whole, "b": whole, "c": whole[1].t(), "d": whole.expand(5, 2, 3, 4)}
    torch.save(saved, tmp_path / "x", **form)
    tensors = open_weights(tmp_path / "x").tensors
    for name, tensor in saved.items():
        assert_same(tensors[name], tensor)
        assert np.shares_memory(tensors[name], tensors["a"])


def test_complex_numbers_are_refused(tmp_path):
    for form in FORMS:
        torch.save({"a": torch.ones(2, dtype=torch.complex64)}, tmp_path / "x", **form)
        with pytest.raises(WeightsError, match=r"torch\.ComplexFloatStorage, expected"):
            open_weights(tmp_path / "x")


def test_without_checksums(tmp_path):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.arange(5)}, tmp_path / "x")
    finally:
        torch.serialization.set_crc32_options(before)
    assert_same(open_weights(tmp_path / "x").tensors["a"], torch.arange(5))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_script_programs_are_refused(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(tmp_path / "x"))
    with pytest.raises(WeightsError, match="TorchScript"):
        open_weights(tmp_path / "x")


class Block(torch.nn.Module):
    """What whole models hold beside parameters: functions, partial calls, nothing, lists, a way back to the owner."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1).to(memory_format=torch.channels_last)
        self.layers = torch.nn.Sequential(torch.nn.BatchNorm2d(4), torch.nn.GELU(), torch.nn.Identity())
        self.gamma = torch.nn.Parameter(torch.arange(4.0))
        self.scales = torch.nn.ParameterList([torch.nn.Parameter(torch.ones(2))])
        self.register_buffer("mask", torch.ones(2, dtype=torch.bool))
        self.register_buffer("cache", torch.ones(3), persistent=False)
        self.register_parameter("bias", None)
        self.act = torch.nn.functional.gelu
        self.norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
        self.dtype, self.device, self.size = torch.float32, torch.device("cpu"), torch.Size([2, 3])
        self.tied = self.gamma
        self.names = {"a", "b"}


class Average:
    def __init__(self, model):
        self.module = model
        self.decay = 0.99
        self.owner = self


@pytest.mark.parametrize("form", FORMS, ids=["zip", "stream"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_whole_models(tmp_path, form, protocol):
    block = Block()
    optimizer = torch.optim.AdamW(block.parameters())
    block.conv(torch.ones(1, 3, 4, 4)).sum().backward()
    optimizer.step()
    things = {"model": block, "ema": Average(block), "opt": optimizer, "loss": torch.tensor(0.5)}
    things["sched"] = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    things["scaler"] = torch.amp.GradScaler("cpu")
    expected = block.state_dict()
    for content in (block, things):
        torch.save(content, tmp_path / "x", pickle_protocol=protocol, **form)
        opened = open_weights(tmp_path / "x")
        assert opened.tensors.keys() == expected.keys()
        for name, tensor in expected.items():
            assert_same(opened.tensors[name], tensor)
    assert opened.others == {"ema": len(expected), "loss": 1}
    skipped = dict(opened.skipped)
    assert skipped["opt"] == "torch.optim.adamw.AdamW"
    assert skipped["sched"] == "torch.optim.lr_scheduler.StepLR"
    assert skipped["model"].endswith("Block, of which the weights are taken")
    assert list(open_weights(tmp_path / "x", wrapping="ema.module").tensors) == list(opened.tensors)


def test_parallel_models(tmp_path):
    torch.save(torch.nn.DataParallel(Block()), tmp_path / "x")
    opened = open_weights(tmp_path / "x")
    assert (opened.taken, opened.tensors.keys()) == ("module", Block().state_dict().keys())
