"""Weight files of other frameworks, made byte by byte: what is in them arrives as it is."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from support.container_files import (
    KINDS,
    call,
    group,
    mapping,
    name,
    number,
    storage,
    streamed,
    tensor,
    text,
    zip_bytes,
    zipped,
)

from npconv.errors import UnavailableError, WeightsError
from npconv.files.opening import find_tensors, open_weights
from npconv.files.safetensors import save_file

VALUES = np.arange(24, dtype=np.float32) - 7.5
FORMS = pytest.mark.parametrize(
    ("write", "container"), [(zipped, "PyTorch zip"), (streamed, "PyTorch legacy pickle")], ids=["zip", "stream"]
)


@FORMS
@pytest.mark.parametrize(("kind", "dtype"), KINDS.items())
def test_every_dtype(opened, write, container, kind, dtype):
    values = np.array([[0, 1, 2], [3, 100, 5]]).astype(dtype)
    body = mapping(a=tensor(storage("0", 6, kind), (2, 3), (3, 1)))
    checkpoint = opened(write(body, {"0": values}))
    assert checkpoint.container == container
    assert list(checkpoint.tensors) == ["a"]
    np.testing.assert_array_equal(np.asarray(checkpoint.tensors["a"]), values, strict=True)


@FORMS
def test_bfloat16(opened, write, container):
    """The upper halves of float32 numbers; also where they do not lie in one piece."""
    values = np.array([[1, -2.5, 3], [0.15625, 5, -0.0]], np.float32)
    halves = (values.view(np.uint32) >> 16).astype(np.uint16)
    stored = storage("k", 6, "BFloat16Storage")
    body = mapping(a=tensor(stored, (2, 3), (3, 1)), b=tensor(stored, (3, 2), (1, 3)), c=tensor(stored, (2,), (3,), 1))
    tensors = opened(write(body, {"k": halves})).tensors
    np.testing.assert_array_equal(np.asarray(tensors["a"]), values, strict=True)
    np.testing.assert_array_equal(np.asarray(tensors["b"]), values.T, strict=True)
    np.testing.assert_array_equal(tensors["b"][1:], values.T[1:], strict=True)
    np.testing.assert_array_equal(np.asarray(tensors["c"], np.float64), values[:, 1].astype(np.float64), strict=True)


@FORMS
def test_views_share_the_file(opened, write, container):
    stored = storage("0", 24)
    checkpoint = opened(
        write(
            mapping(
                whole=tensor(stored, (2, 3, 4), (12, 4, 1)),
                turned=tensor(stored, (4, 3, 2), (1, 4, 12)),
                part=tensor(stored, (2, 2), (4, 2), offset=5),
                one=tensor(stored, (), (), offset=23),
                repeated=tensor(stored, (5, 2), (0, 3)),
                none=tensor(stored, (0, 7), (7, 1), offset=24),
                axes_of_one=tensor(stored, (1, 3, 1), (2**62, 8, 2**61)),
            ),
            {"0": VALUES},
        )
    )
    whole = VALUES.reshape(2, 3, 4)
    expected = {
        "whole": whole,
        "turned": whole.T,
        "part": np.array([[VALUES[5], VALUES[7]], [VALUES[9], VALUES[11]]]),
        "one": np.array(VALUES[23]),
        "repeated": np.tile(VALUES[[0, 3]], (5, 1)),
        "none": np.empty((0, 7), np.float32),
        "axes_of_one": VALUES[[0, 8, 16]].reshape(1, 3, 1),
    }
    assert list(checkpoint.tensors) == list(expected)
    for key, array in expected.items():
        np.testing.assert_array_equal(checkpoint.tensors[key], array, strict=True)
        assert not checkpoint.tensors[key].flags.writeable
        assert not checkpoint.tensors[key].flags.owndata or key == "none"
    assert np.shares_memory(checkpoint.tensors["whole"], checkpoint.tensors["turned"])


def test_a_storage_within_a_storage(opened):
    """As the oldest versions wrote tensors that share numbers: key, first value and number of values of a view."""
    stored = storage("0", 24, last=group(text("view"), number(4), number(6)))
    checkpoint = opened(streamed(mapping(a=tensor(stored, (2, 2), (2, 1), offset=1)), {"0": VALUES}))
    np.testing.assert_array_equal(checkpoint.tensors["a"], VALUES[5:9].reshape(2, 2), strict=True)


@FORMS
def test_parameters_and_bytes_with_a_dtype(opened, write, container):
    hooks = call("collections", "OrderedDict")
    parameter = call("torch._utils", "_rebuild_parameter", tensor(storage("0", 24), (24,), (1,)), b"\x88", hooks)
    sizes = group(number(3)), group(number(1))
    untyped = group(text("storage"), name("torch.storage", "UntypedStorage"), text("1"), text("cpu"), number(6)) + b"Q"
    third = call(
        "torch._utils", "_rebuild_tensor_v3", untyped, number(0), *sizes, b"\x89", hooks, name("torch", "uint16")
    )
    data = {"0": VALUES, "1": np.array([1, 2, 60000], np.uint16).view(np.uint8)}
    tensors = opened(write(mapping(p=parameter, u=third), data)).tensors
    np.testing.assert_array_equal(tensors["p"], VALUES, strict=True)
    np.testing.assert_array_equal(tensors["u"], np.array([1, 2, 60000], np.uint16), strict=True)


@FORMS
def test_a_training_checkpoint(opened, write, container):
    """The model is taken; numbers and texts are kept; what else was there is named."""
    weights = [tensor(storage(key, 24), (24,), (1,)) for key in "01"]
    state = name("collections", "OrderedDict") + b")R(" + text("w") + weights[0] + text("b") + weights[1] + b"u"
    state += mapping(_metadata=b"}") + b"b"
    namespace = name("argparse", "Namespace") + b")\x81" + mapping(lr=number(3), hidden=weights[1]) + b"b"
    scalar = call("numpy.core.multiarray", "scalar", call("numpy", "dtype", text("f8"), b"\x89", b"\x88"), b"U\x01\xff")
    moments = mapping(m=weights[0], v=weights[1])
    body = mapping(
        optimizer=mapping(state=b"}(" + number(0) + moments + b"u"),
        model_ema=mapping(w=weights[1]),
        model=state,
        epoch=number(299),
        args=namespace,
        best=scalar,
        sizes=call("torch", "Size", group(number(2), number(3))),
        betas=b"](" + number(1) + number(2) + b"e",
        tags=b"\x8f(" + text("x") + b"\x90",
        dtype=name("torch", "float32"),
    )
    data = write(body, {"0": VALUES, "1": VALUES + 1})
    checkpoint = opened(data)
    assert checkpoint.taken == "model"
    assert {key: float(value[0]) for key, value in checkpoint.tensors.items()} == {"w": -7.5, "b": -6.5}
    assert checkpoint.others == {"optimizer": 2, "model_ema": 1}
    assert checkpoint.metadata == {"epoch": 299, "sizes": (2, 3), "betas": [1, 2]}
    assert checkpoint.skipped == [
        ("args", "argparse.Namespace"),
        ("best", "numpy.core.multiarray.scalar"),
        ("tags", "builtins.set"),
        ("dtype", "torch.float32"),
    ]
    ema = opened(data, wrapping="model_ema")
    assert (ema.taken, list(ema.tensors)) == ("model_ema", ["w"])
    assert list(opened(data, wrapping="optimizer.state").tensors) == ["0.m", "0.v"]
    with pytest.raises(WeightsError, match="nothing at 'teacher'; there is 'optimizer'"):
        opened(data, wrapping="teacher")


def test_wrapping_counts_in_lists():
    models = {"models": [{"w": VALUES}, {"w": VALUES + 1}], 3: {"w": VALUES + 2}}
    for place, first in (("models.0", -7.5), ("models.1", -6.5), ("3", -5.5)):
        found = find_tensors(models, place)
        assert (found.taken, {name: value[0] for name, value in found.tensors.items()}) == (place, {"w": first})
    with pytest.raises(WeightsError, match=r"nothing at 'models.2'; there is '0', '1'$"):
        find_tensors(models, "models.2")


def test_numpy_zip(opened, tmp_path):
    arrays = {"a.weight": VALUES.reshape(4, 6), "b": np.asfortranarray(VALUES.reshape(4, 6)), "n": np.array(3)}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", **arrays)
        checkpoint = open_weights(tmp_path / "x.npz")
        assert checkpoint.container == "NumPy zip"
        assert list(checkpoint.tensors) == list(arrays)
        for key, array in arrays.items():
            np.testing.assert_array_equal(checkpoint.tensors[key], array, strict=True)
            assert not checkpoint.tensors[key].flags.writeable
    np.savez(tmp_path / "x.npz", a=np.array([{}], object))
    with pytest.raises(WeightsError, match=r"has dtype '\|O'"):
        open_weights(tmp_path / "x.npz")


def test_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py", reason="needs the extra for HDF5")
    (tmp_path / "other.h5").write_bytes(b"never opened")
    with h5py.File(tmp_path / "tf", "w") as file:
        file.attrs["backend"] = "tensorflow"
        file["convnext/stem/kernel:0"] = VALUES.reshape(2, 3, 4)
        file["big"] = VALUES.astype(">f4")
        file["yes"] = np.array([True, False])
        file["half"] = VALUES.astype(np.float16)
        file["text"] = "hello"
        file["outside"] = h5py.ExternalLink("other.h5", "/x")
        file["again"] = h5py.SoftLink("/big")
        file.create_dataset("packed", data=VALUES, compression="gzip")
    checkpoint = open_weights(tmp_path / "tf")
    assert checkpoint.container == "HDF5"
    assert checkpoint.metadata == {}
    assert sorted(name for name, _ in checkpoint.skipped) == ["again", "outside", "text"]
    expected = {
        "convnext/stem/kernel:0": VALUES.reshape(2, 3, 4),
        "big": VALUES,
        "yes": np.array([True, False]),
        "half": VALUES.astype(np.float16),
        "packed": VALUES,
    }
    assert checkpoint.tensors.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_array_equal(np.asarray(checkpoint.tensors[key]), array, strict=True)


def test_hdf5_without_h5py(opened, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UnavailableError, match="needs h5py"):
        opened(b"\x89HDF\r\n\x1a\n" + bytes(100))


def one(key, first):
    return zipped(mapping(**{key: tensor(storage("0", 24), (24,), (1,))}), {"0": VALUES + first})


def write_index(folder, weight_map):
    path = folder / "pytorch_model.bin.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 192}, "weight_map": weight_map}))
    return path


def test_shards(tmp_path):
    (tmp_path / "1.bin").write_bytes(one("a", 0))
    (tmp_path / "2.bin").write_bytes(one("b", 1))
    index = write_index(tmp_path, {"a": "1.bin", "b": "2.bin"})
    for path in (index, tmp_path):
        checkpoint = open_weights(path)
        assert checkpoint.container == "sharded PyTorch zip"
        np.testing.assert_array_equal(checkpoint.tensors["a"], VALUES, strict=True)
        np.testing.assert_array_equal(checkpoint.tensors["b"], VALUES + 1, strict=True)
    save_file({"c": VALUES}, tmp_path / "3.safetensors")
    for weight_map, message in [
        ({"a": "1.bin"}, None),
        ({"a": "2.bin", "b": "1.bin"}, "contradict each other about 'a'"),
        ({"a": "1.bin", "b": "3.bin"}, "does not exist"),
        ({"a": "../x/1.bin"}, "plain name"),
        ({"a": "/etc/passwd"}, "plain name"),
        ({"a": index.name}, "plain name"),
        ({"a": "1.bin", "c": "3.safetensors"}, "different kinds"),
        ({"a": 3}, "plain name"),
        ({}, "without a 'weight_map'"),
    ]:
        write_index(tmp_path, weight_map)
        if message is None:
            assert list(open_weights(index).tensors) == ["a"]
            continue
        with pytest.raises(WeightsError, match=message):
            open_weights(index)


def test_a_safetensors_header_may_begin_with_the_byte_of_a_pickle(tmp_path):
    path = tmp_path / "model.safetensors"
    for length in range(0, 256, 8):  # a header of 128, 384 or 640 bytes begins with 0x80
        save_file({"a": VALUES}, path, {"note": "x" * length})
        if path.read_bytes()[0] == 0x80:
            break
    assert path.read_bytes()[0] == 0x80
    opened = open_weights(path)
    assert opened.container == "safetensors"
    assert list(opened.tensors) == ["a"]


def test_safetensors(tmp_path):
    save_file({"a": VALUES}, tmp_path / "model.bin", {"format": "pt"})
    checkpoint = open_weights(tmp_path / "model.bin")
    assert (checkpoint.container, checkpoint.metadata) == ("safetensors", {"format": "pt"})
    np.testing.assert_array_equal(checkpoint.tensors["a"], VALUES, strict=True)
    (tmp_path / "model.bin").rename(tmp_path / "s.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "s.safetensors"}}))
    assert open_weights(tmp_path).container == "sharded safetensors"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b"<!DOCTYPE html>", "web page"),
        (bytes(257) + b"ustar" + bytes(300), "tar file"),
        (b"{}", "without a 'weight_map'"),
        (b"{", "not the JSON"),
        (b"\x80\x02K\x01.", "found no tensors"),
        (b"\x80\x02K\x01.x", "bytes after its pickle"),
        (b"hello", "none of the files"),
        (zip_bytes({"a.txt": b"x"}), "without one NAME/data.pkl"),
        (zip_bytes({"m/data.pkl": b"\x80\x02}.", "m/constants.pkl": b"", "m/code/x.py": b""}), "TorchScript"),
        (zip_bytes({"m/data.pkl": b"\x80\x02}.", "m/byteorder": b"big"}), "big-endian"),
        (zipped(mapping(epoch=number(3))), "found no tensors"),
        (zipped(tensor(storage("0", 24), (24,), (1,)), {"0": VALUES}), "without a name"),
    ],
)
def test_what_holds_no_weights(opened, data, message):
    with pytest.raises(WeightsError, match=message):
        opened(data)


def test_wrappings():
    x, y = np.zeros(1), np.ones(1)
    assert find_tensors({"a": x, "model": {"b": y}}).taken == ""
    assert list(find_tensors({"a": x, "model": {"b": y}}).tensors) == ["a", "model.b"]
    found = find_tensors({"state_dict": {"model": {"a": x}}, "model_ema": {"a": y}})
    assert (found.taken, list(found.tensors), found.others) == ("state_dict.model", ["a"], {"model_ema": 1})
    found = find_tensors({"encoder": {"a": x}, "head": [y], "optimizer": {"m": y}, "epoch": 3})
    assert (found.taken, list(found.tensors), found.others) == ("", ["encoder.a", "head.0"], {"optimizer": 1})
    assert list(find_tensors({"a.b": {"c": x}}, "a.b").tensors) == ["c"]
    metrics = {"best_acc1": np.array(77.3), "random": np.zeros(9, np.uint8)}
    found = find_tensors({**metrics, "state_dict": {"a": x, "n_averaged": np.array(3)}})
    assert (found.taken, list(found.tensors)) == ("state_dict", ["a", "n_averaged"])
    assert found.others == {"best_acc1": 1, "random": 1}
    assert list(find_tensors(metrics).tensors) == list(metrics)
    state = {"a.w": x, "a.b": x}
    found = find_tensors({"history": x, "model": state})
    assert (found.taken, found.others) == ("model", {"history": 1})
    assert find_tensors({"head.weight": x, "model": state}).taken == ""
    with pytest.raises(WeightsError, match="two tensors have the name"):
        find_tensors({"a.b": x, "a": {"b": y}})


def test_nothing_of_pytorch_is_imported(tmp_path):
    (tmp_path / "x.pth").write_bytes(one("a", 0))
    code = (
        "import sys; from npconv.files.opening import open_weights; "
        f"open_weights({str(tmp_path / 'x.pth')!r}); print({{'torch', 'h5py'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
