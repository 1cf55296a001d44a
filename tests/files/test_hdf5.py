"""HDF5 is opened in a process of its own: what the library does there hurts nobody here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from npconv.errors import WeightsError
from npconv.files import hdf5
from npconv.files.opening import KERAS, open_weights

pytestmark = pytest.mark.long

VALUES = np.arange(24, dtype=np.float32) - 7.5
EMPTY = hdf5.MAGIC + bytes(100)


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py", reason="needs the extra for HDF5")


@pytest.fixture
def child(tmp_path, monkeypatch):
    """A function that opens a file with a process that runs other code in the place of the library."""
    monkeypatch.setitem(sys.modules, "h5py", hdf5)  # so that it counts as installed
    monkeypatch.setattr(hdf5.importlib.util, "find_spec", lambda name: name)
    path = tmp_path / "weights.h5"

    def open_with(code, data=EMPTY):
        path.write_bytes(data)
        monkeypatch.setattr(hdf5, "_PROGRAM", "import json, os, sys, time; order = json.load(sys.stdin);" + code)
        return open_weights(path)

    return open_with


def tells(*lines, end=True):
    """The code of a process that says this, and is then at its end or not."""
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    return f"sys.stdout.write({text + ('{' + chr(34) + 'end' + chr(34) + ': true}' + chr(10)) * end!r})"


ARRAY = {"name": "a", "dtype": "<f4", "shape": [2], "offset": 8}


@pytest.mark.parametrize(
    "code",
    [
        "os.abort()",
        "import ctypes; ctypes.string_at(0)",
        "os._exit(3)",
        "pass",
        tells(ARRAY, end=False),
        tells(ARRAY, end=False) + "; sys.stdout.flush(); os.abort()",
        tells({**ARRAY, "offset": None}, end=False) + "; sys.stdout.flush(); os.abort()",
        tells({**ARRAY, "offset": 200}),
    ],
)
def test_a_process_that_dies(child, code):
    with pytest.raises(
        WeightsError, match=r"is damaged: the HDF5 library crashed on it .*; download it again"
    ) as caught:
        child(code)
    assert str(caught.value).isprintable()


def test_a_process_that_does_not_read_what_to_do(tmp_path, child, monkeypatch):
    with pytest.raises(WeightsError, match="crashed"):
        child("0" * 10)
    monkeypatch.setattr(hdf5, "_PROGRAM", "import os; os._exit(0)")
    with pytest.raises(WeightsError, match="crashed"):
        open_weights(tmp_path / "weights.h5")


@pytest.mark.parametrize("code", ["time.sleep(600)", "sys.stdout.write('{'); sys.stdout.flush(); time.sleep(600)"])
def test_a_process_without_end(child, monkeypatch, code):
    monkeypatch.setattr(hdf5, "_SECONDS", 0.5)
    with pytest.raises(WeightsError, match="came to no end with it or took too much memory"):
        child(code)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (tells({"error": "'x' is odd"}), "'x' is odd"),
        (tells({"reason": "bad heap"}), "cannot be read by the HDF5 library: bad heap; download"),
        (tells({**ARRAY, "dtype": "|O"}), "no shape and dtype of an array"),
        (tells({**ARRAY, "shape": [-2]}), "no shape and dtype of an array"),
        (tells({**ARRAY, "shape": [2**40], "offset": None}), "take more than"),
        (tells("[" * 5000), "not the JSON"),
        ("sys.stdout.write('x' * 200_000)", "a name of more than 100000 letters"),
        (tells(), "without arrays"),
    ],
)
def test_what_a_process_says_is_not_believed(child, code, message):
    with pytest.raises(WeightsError, match=message):
        child(code)


def test_a_process_that_says_what_is_there(child):
    numbers = {**ARRAY, "name": "b", "dtype": ">i2", "offset": None}
    code = (
        f"sys.stdout.buffer.write({json.dumps(ARRAY)!r}.encode() + b'\\n' + {json.dumps(numbers)!r}.encode() + b'\\n')"
    )
    code += '; sys.stdout.buffer.write(b\'\\0\\1\\0\\2\' + b\'{"name": "s", "skipped": "text"}\\n{"end": true}\\n\')'
    found = child(code, hdf5.MAGIC + VALUES[:2].tobytes())
    np.testing.assert_array_equal(found.tensors["a"], VALUES[:2], strict=True)
    np.testing.assert_array_equal(found.tensors["b"], np.array([1, 2], np.int16), strict=True)
    assert found.skipped == [("s", "text")]


def write(h5py, path, arrays, **settings):
    with h5py.File(path, "w", **settings) as file:
        for name, array in arrays.items():
            file[name] = array


@pytest.mark.parametrize("version", ["earliest", "latest"])
def test_every_layout(h5py, tmp_path, version):
    with h5py.File(tmp_path / "x", "w", libver=version) as file:
        file["whole"] = VALUES.reshape(2, 3, 4)
        file["scalar"] = np.float64(3)
        file["none"] = np.zeros((0, 7), np.float16)
        file["yes"] = np.array([True, False])
        file["swapped"] = VALUES.astype(">f8")
        for name, settings in {"packed": {"compression": "gzip", "shuffle": True}, "cut": {"chunks": (5,)}}.items():
            file.create_dataset(name, data=VALUES, **settings)
        file.create_dataset("unfilled", (3,), "f4")
        file.attrs["layer_names"] = [b"a", b"b"]
    found = open_weights(tmp_path / "x").tensors
    expected = {"whole": VALUES.reshape(2, 3, 4), "scalar": np.array(3.0), "none": np.zeros((0, 7), np.float16)}
    expected |= {"yes": np.array([True, False]), "swapped": VALUES.astype("f8"), "packed": VALUES, "cut": VALUES}
    expected |= {"unfilled": np.zeros(3, np.float32)}
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(np.asarray(found[name]), array, strict=True)
    assert not found["whole"].flags.owndata


def test_a_file_that_claims_more_than_it_can_hold(h5py, tmp_path):
    with h5py.File(tmp_path / "x", "w") as file:
        file.create_dataset("a", (10**11,), "f4", chunks=(10**6,))
    with pytest.raises(WeightsError, match="take more than 1000000 bytes"):
        open_weights(tmp_path / "x")


def test_a_damaged_file(h5py, tmp_path):
    write(h5py, tmp_path / "x", {"a": VALUES, "b/c": VALUES})
    whole = (tmp_path / "x").read_bytes()
    for data in (whole[: len(whole) // 2], whole.replace(b"TREE", b"TREF"), whole.replace(b"SNOD", b"SNOE")):
        (tmp_path / "x").write_bytes(data)
        with pytest.raises(WeightsError, match="cannot be read by the HDF5 library") as caught:
            open_weights(tmp_path / "x")
        assert str(caught.value).isprintable()


def test_a_model_with_its_optimizer(h5py, tmp_path):
    """As Keras saves a compiled model."""
    arrays = {"model_weights/stem/stem/kernel": VALUES, "model_weights/head/head/bias": VALUES[:3]}
    write(h5py, tmp_path / "x", {**arrays, "optimizer_weights/adam/m": VALUES, "optimizer_weights/adam/v": VALUES})
    found = open_weights(tmp_path / "x")
    assert set(found.tensors) == {"stem/kernel", "head/bias"}
    assert (found.taken, found.others) == ("model_weights", {"optimizer_weights": 2})


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_file_of_keras(h5py, tmp_path, packing):
    write(h5py, tmp_path / "w", {"layers/dense/vars/0": VALUES.reshape(4, 6), "optimizer/vars/0": VALUES})
    with zipfile.ZipFile(tmp_path / "x.keras", "w", packing) as file:
        file.writestr("metadata.json", '{"keras_version": "3.9.0"}')
        file.writestr("config.json", '{"class_name": "Functional"}')
        file.write(tmp_path / "w", "model.weights.h5")
    if packing:
        with pytest.raises(WeightsError, match="is packed, which Keras never does"):
            open_weights(tmp_path / "x.keras")
        return
    found = open_weights(tmp_path / "x.keras")
    assert (found.container, found.others) == (KERAS, {"optimizer": 1})
    assert found.metadata == {
        "metadata.json": '{"keras_version": "3.9.0"}',
        "config.json": '{"class_name": "Functional"}',
    }
    np.testing.assert_array_equal(found.tensors["layers/dense/vars/0"], VALUES.reshape(4, 6), strict=True)
    assert not found.tensors["layers/dense/vars/0"].flags.owndata


@pytest.mark.parametrize("how", ["stdin", "script"])
def test_from_a_program_without_a_main_guard(h5py, tmp_path, how):
    """And where other modules of the names of the library's lie beside it: they are not loaded."""
    write(h5py, tmp_path / "x.h5", {"a": VALUES})
    (tmp_path / "json.py").write_text("raise SystemExit('loaded')")
    (tmp_path / "run.py").write_text(
        "from npconv.files.opening import open_weights; print(*open_weights('x.h5').tensors)"
    )
    with (tmp_path / "run.py").open() as program:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        alone = "-P" if sys.version_info >= (3, 11) else "-s"
        command = [sys.executable, alone, "run.py" if how == "script" else "-"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, stdin=program, capture_output=True, text=True, check=False
        )
    assert (done.stdout, done.stderr, done.returncode) == ("a\n", "", 0)
