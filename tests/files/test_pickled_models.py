"""Whole pickled models, objects of training libraries and arrays of NumPy: weights are read, the rest is named."""

from __future__ import annotations

import argparse
import collections
import datetime
import enum
import functools
import logging
import pathlib
import pickle
import struct

import numpy as np
import pytest
from support.container_files import call, group, mapping, name, storage, streamed, tensor, text, zipped

from npconv.errors import WeightsError
from npconv.files.opening import PICKLE
from npconv.files.pickle_values import Skipped

VALUES = np.arange(24, dtype=np.float32) - 7.5
A = tensor(storage("0", 24), (24,), (1,))
B = tensor(storage("0", 24), (2,), (1,), offset=3)
FORMS = pytest.mark.parametrize("write", [zipped, streamed], ids=["zip", "stream"])


def test_values_that_are_not_made_are_told_apart_as_keys():
    """Two sets of which nothing is known are two; a dict may have them for keys."""
    assert len({Skipped("set", []): 1, Skipped("set", []): 2}) == 2


def ordered(**values):
    return call("collections", "OrderedDict") + mapping(**values)[1:]


def made(module, kind, body=b"}", keywords=b""):
    """An object as pickle writes it: new, then its state."""
    return name(module, kind) + b")" + (keywords + b"\x92" if keywords else b"\x81") + body + b"b"


def module(kind, parameters=b"}", buffers=b"}", modules=b"}", **attributes):
    return made(
        "theirs.models",
        kind,
        mapping(
            training=b"\x89",
            _parameters=parameters,
            _buffers=buffers,
            _backward_hooks=ordered(),
            _modules=modules,
            **attributes,
        ),
    )


NET = module(
    "Net",
    parameters=ordered(gamma=A, none=b"N"),
    modules=ordered(
        norm=module(
            "Norm",
            ordered(weight=B),
            ordered(mean=B, mask=A),
            _non_persistent_buffers_set=b"\x8f(" + text("mask") + b"\x90",
        ),
        act=module(
            "Act", fn=name("torch._C._nn", "gelu"), make=call("functools", "partial", name("torch.nn", "Linear"))
        ),
        drop=b"N",
    ),
    cached=A,
)


@FORMS
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_whole_model(opened, write, wrapped):
    """Its state dict, whatever its classes are: parameters, buffers that are saved, those of its modules."""
    found = opened(write(mapping(model=NET, epoch=b"K\x03") if wrapped else NET, {"0": VALUES}))
    assert list(found.tensors) == ["gamma", "norm.weight", "norm.mean"]
    np.testing.assert_array_equal(found.tensors["norm.mean"], VALUES[3:5], strict=True)
    assert found.skipped == [("model" if wrapped else "", "theirs.models.Net, of which the weights are taken")]
    assert (found.taken, found.metadata) == (("model", {"epoch": 3}) if wrapped else ("", {}))


@FORMS
def test_a_module_that_keeps_one_of_its_methods(opened, write):
    method = call("builtins", "getattr", made("theirs.models", "Net"), text("forward"))
    found = opened(write(module("Net", parameters=ordered(w=A), run=method), {"0": VALUES}))
    assert list(found.tensors) == ["w"]


def test_the_average_that_pytorch_itself_keeps_is_a_model(opened):
    parts = {"_parameters": b"}", "_buffers": ordered(n_averaged=B), "_modules": ordered(module=NET)}
    found = opened(zipped(made("torch.optim.swa_utils", "AveragedModel", mapping(**parts)), {"0": VALUES}))
    assert "gamma" in found.tensors or "module.gamma" in found.tensors


def test_a_buffer_that_is_not_saved_as_protocol_2_writes_it(opened):
    left_out = call("__builtin__", "set", b"]" + text("mask") + b"a")
    body = module("Net", buffers=ordered(mean=B, mask=A), _non_persistent_buffers_set=left_out)
    assert list(opened(zipped(body, {"0": VALUES})).tensors) == ["mean"]


def test_a_class_that_older_versions_wrote_with_its_source(opened):
    kind = group(text("module"), name("theirs.models", "Net"), text("net.py"), text("class Net: ...")) + b"Q"
    body = kind + b")\x81" + mapping(_parameters=ordered(w=A), _buffers=b"}", _modules=b"}") + b"b"
    assert list(opened(streamed(body, {"0": VALUES})).tensors) == ["w"]


@FORMS
def test_a_model_within_an_object(opened, write):
    """The moving average of older training scripts: no module, but an object that has one."""
    body = mapping(model_ema=made("timm.utils.model_ema", "ModelEma", mapping(decay=b"G?\xf0" + bytes(6), ema=NET)))
    found = opened(write(body, {"0": VALUES}))
    assert (found.taken, list(found.tensors)) == ("model_ema.ema", ["gamma", "norm.weight", "norm.mean"])


def test_a_kind_of_dict_with_tensors(opened):
    body = mapping(state_dict=name("fvcore.common.config", "State") + b")\x81" + mapping(w=A)[1:])
    assert list(opened(zipped(body, {"0": VALUES})).tensors) == ["w"]


def plain(full, state=b"}"):
    module, _, kind = full.rpartition(".")
    return made(module, kind, state)


def filled(full):
    module, _, kind = full.rpartition(".")
    return name(module, kind) + b")\x81" + mapping(lr=b"K\x01")[1:]


def called(full, argument):
    module, _, function = full.rpartition(".")
    return call(module, function, argument)


OMEGACONF = "omegaconf.dictconfig.DictConfig"
HISTORY = "mmengine.logging.history_buffer.HistoryBuffer"
CONFIG = "mmengine.config.config.ConfigDict"
LIGHTNING = "pytorch_lightning.utilities.parsing.AttributeDict"
#: What it is called -> how a pickle has it.
BOOKKEEPING = {
    "argparse.Namespace": plain("argparse.Namespace", mapping(lr=A)),
    OMEGACONF: plain(OMEGACONF, mapping(_content=b"}", _parent=b"N")),
    HISTORY: plain(HISTORY, mapping(_max_length=b"K\x09")),
    CONFIG: filled(CONFIG),
    LIGHTNING: filled(LIGHTNING),
    "torch.optim.adamw.AdamW": plain("torch.optim.adamw.AdamW", mapping(state=b"}" + A + mapping(m=B) + b"s")),
    "torch.optim.lr_scheduler.StepLR": plain("torch.optim.lr_scheduler.StepLR", mapping(last=b"K\x01")),
    "timm.data.Mode": called("timm.data.Mode", text("x")),
    "theirs.config.Args": made("theirs.config", "Args", b"}", mapping(lr=b"K\x01")),
    "__main__.Config": plain("__main__.Config", mapping(lr=b"K\x01")),
    "theirs.Slotted": plain("theirs.Slotted", b"N" + mapping(lr=b"K\x01") + b"\x86"),
    "functools.partial": called("functools.partial", name("torch.nn", "LayerNorm")),
    "numpy.random._pickle.__randomstate_ctor": called("numpy.random._pickle.__randomstate_ctor", text("MT19937")),
    "torch._C._nn.gelu": name("torch._C._nn", "gelu"),
}


@FORMS
@pytest.mark.parametrize("what", BOOKKEEPING)
def test_bookkeeping_is_skipped_by_name(opened, write, what):
    found = opened(write(mapping(model=mapping(w=A), extra=BOOKKEEPING[what]), {"0": VALUES}))
    assert (list(found.tensors), found.metadata) == (["w"], {})
    assert found.skipped == [("extra", what)]


class Mode(enum.Enum):
    EVAL = 1


class Config(dict):
    pass


class Node:
    def __init__(self, parent=None):
        self.parent = parent
        self.children = [] if parent is None else [Node()]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_python_itself_pickles(opened, protocol):
    node = Node()
    node.children = [Node(node)]
    extras = {
        "namespace": argparse.Namespace(lr=0.1, path=pathlib.PurePosixPath("/a/b"), kind=Mode.EVAL),
        "path": pathlib.PurePosixPath("/a/b"),
        "when": datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc),
        "took": datetime.timedelta(seconds=3),
        "partial": functools.partial(int, base=3),
        "queue": collections.deque([1, 2]),
        "groups": collections.defaultdict(list, {"a": [1]}),
        "counter": collections.Counter("aab"),
        "mode": Mode.EVAL,
        "config": Config(a=Config(b=1)),
        "tree": node,
        "log": logging.getLogger("training"),
        "number": np.float64(3.5),
        "whole": np.int64(3),
        "random": np.random.RandomState(1),
        "generator": np.random.default_rng(1),
        "names": {"a", "b"},
        "none": type(None),
    }
    state = {"conv.weight": VALUES.reshape(4, 6), "conv.bias": VALUES[:4]}
    found = opened(pickle.dumps({"model": state, "extras": extras}, protocol))
    assert found.container == PICKLE
    assert list(found.tensors) == list(state)
    for key, array in state.items():
        np.testing.assert_array_equal(found.tensors[key], array, strict=True)
    assert {place.removeprefix("extras.") for place, _ in found.skipped} == {*extras} - {"groups", "counter"}
    assert found.metadata == {"extras.groups.a": [1], "extras.counter.a": 2, "extras.counter.b": 1}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "dtype", [*"?bBhHiIlLqQefd", ">f4", ">f8", ">i2", "<f4"], ids=lambda dtype: np.dtype(dtype).str
)
def test_arrays_of_numpy(opened, protocol, dtype):
    values = (np.arange(24) % 3).astype(dtype)
    arrays = {
        "c": values.reshape(2, 3, 4),
        "fortran": np.asfortranarray(values.reshape(4, 6)),
        "view": values[::2],
        "scalar": values.reshape(24)[1:2].reshape(()),
        "empty": values[:0].reshape(0, 7),
    }
    found = opened(pickle.dumps({"model": arrays, "__author__": "Third Party", "matching_heuristics": True}, protocol))
    assert list(found.tensors) == list(arrays)
    for key, array in arrays.items():
        np.testing.assert_array_equal(found.tensors[key], array.astype(array.dtype.newbyteorder("=")), strict=True)
        assert not found.tensors[key].flags.writeable
    assert found.metadata == {"__author__": "Third Party", "matching_heuristics": True}


def test_large_arrays_are_views_of_the_file(opened):
    values = np.arange(500_000, dtype=np.float32)
    tensors = opened(pickle.dumps({"model": {"w": values, "v": values}}, 5)).tensors
    np.testing.assert_array_equal(tensors["w"], values, strict=True)
    assert not tensors["w"].flags.owndata
    assert np.shares_memory(tensors["w"], tensors["v"])


@pytest.mark.parametrize("values", [np.arange(3, dtype="<f4"), np.zeros(3, "<f4"), np.arange(300, dtype="u1")])
def test_arrays_that_python_2_pickled(opened, values):
    """Their bytes are of a kind that also was text there; some are UTF-8 by chance."""
    data = values.tobytes()
    old = (b"U" + bytes([len(data)]) if len(data) < 256 else b"T" + struct.pack("<I", len(data))) + data
    kind = call("numpy", "dtype", b"U\x02" + values.dtype.str[1:].encode(), b"K\x00", b"K\x01")
    kind += b"(K\x03U\x01" + values.dtype.str[:1].encode() + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = call("numpy.core.multiarray", "_reconstruct", name("numpy", "ndarray"), b"K\x00\x85", b"U\x01b")
    array += group(b"K\x01", b"M" + struct.pack("<H", len(values)) + b"\x85", kind, b"\x89", old) + b"b"
    found = opened(b"\x80\x02" + b"}U\x05model}U\x01w" + array + b"ss.")
    np.testing.assert_array_equal(found.tensors["w"], values, strict=True)


@pytest.mark.parametrize(
    ("array", "what"),
    [
        (np.array(["a", "b"]), "numpy.ndarray"),
        (np.array([{}, 1], object), "numpy.ndarray"),
        (np.array([1j]), "numpy.ndarray"),
        (np.array([(1, 2)], "i4,i4"), "numpy.ndarray"),
        (np.array(["2020-01-01"], "M8[D]"), "numpy.ndarray"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 5])
def test_arrays_of_something_else_are_skipped(opened, array, what, protocol):
    found = opened(pickle.dumps({"w": VALUES, "x": array}, protocol))
    assert (list(found.tensors), found.skipped) == (["w"], [("x", what)])


def lying(shape, data, dtype=b"U\x02f4"):
    array = call("numpy.core.multiarray", "_reconstruct", name("numpy", "ndarray"), b"K\x00\x85", b"U\x01b")
    return array + group(b"K\x01", shape, call("numpy", "dtype", dtype, b"K\x00", b"K\x01"), b"\x89", data) + b"b"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lying(b"K\x04\x85", b"C\x04abcd"), "has 4 bytes, expected 16"),
        (lying(b"J\xff\xff\xff\xff\x85", b"C\x04abcd"), "no shape or no bytes"),
        (lying(b"(" + b"K\x01" * 65 + b"t", b"C\x04abcd"), "no shape or no bytes"),
        (lying(b"(K\x00" + b"\x8a\x08" + b"\xff" * 7 + b"\x7ft", b"C\x00"), "expected less than 2"),
        (lying(b"K\x01\x85", b"K\x05"), "no shape or no bytes"),
        (called("numpy.core.multiarray._reconstruct", name("numpy", "ndarray")) + b"K\x01b", "state that NumPy does"),
        (call("timm.models", "create_model", text("x")), "asks for 'timm.models.create_model', .* was not run"),
        (call("theirs", "_hidden", text("x")), "asks for 'theirs._hidden'"),
        (made("subprocess", "Popen"), "asks for 'subprocess.Popen'"),
        (name("builtins", "exec"), "asks for 'builtins.exec'"),
        (name("theirs.os system", "x"), "asks for 'theirs.os system.x'"),
    ],
)  # fmt: skip
def test_what_is_still_refused(opened, body, message):
    with pytest.raises(WeightsError, match=message) as caught:
        opened(zipped(mapping(a=A, z=body), {"0": VALUES}))
    assert "\n" not in str(caught.value)
