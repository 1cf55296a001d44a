"""What a caller gives by mistake: an error of the project in one line, from every public function of the room."""

import numpy as np
import pytest

from npconv.errors import InputError, NpconvError
from npconv.files import checkpoint, disk, dtypes, opening, safetensors

NO_PATHS = [None, 3, 1.5, [], {}, ("a",), True, np.zeros(3), object(), range(3)]
ODD_PATHS = ["", "a\0b", "\ud800", "x" * 5000, b"x", b"\xff", "~"]
NO_MAPPINGS = [3, 1.5, "a", b"a", [], ["a"], object(), np.zeros(3), True, range(3)]
ARRAYS = {"a": np.zeros(2, np.float32)}

READERS = [
    *(safetensors.load_file, safetensors.open_file, safetensors.open_with_header, safetensors.read_header),
    *(safetensors.read_metadata, checkpoint.load_checkpoint, checkpoint.checkpoint_files, opening.open_weights),
    *(opening.weight_files, disk.map_file, disk.read_json, disk.hash_file),
]


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_no_path(read):
    for path in NO_PATHS:
        with pytest.raises(InputError, match="expected the name of a file or folder"):
            read(path)


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_odd_path(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ODD_PATHS:
        with pytest.raises(NpconvError) as caught:
            read(path)
        assert str(caught.value).isprintable()


def test_paths_may_be_bytes(tmp_path):
    path = bytes(tmp_path / "a.safetensors")
    safetensors.save_file(ARRAYS, path)
    assert safetensors.load_file(path).keys() == ARRAYS.keys()


@pytest.mark.parametrize("value", NO_MAPPINGS, ids=lambda value: type(value).__name__)
def test_no_mapping(value, tmp_path):
    for call in (
        lambda: safetensors.save(value),
        lambda: safetensors.save(ARRAYS, value),
        lambda: safetensors.save(ARRAYS, dtypes=value),
        lambda: safetensors.save_file(value, tmp_path / "a"),
        lambda: checkpoint.save_checkpoint(tmp_path, value),
        lambda: checkpoint.save_checkpoint(tmp_path, ARRAYS, value),
        lambda: checkpoint.shard_files(value),
    ):
        with pytest.raises(InputError, match="as a dict by name, got"):
            call()


@pytest.mark.parametrize("value", [None, 3, [], {}, np.zeros(3), "F33"], ids=lambda value: type(value).__name__)
def test_no_format_of_numbers(value):
    bytes_of_two = np.zeros(2, np.uint8)
    for call in (
        lambda: dtypes.held_dtype(value),
        lambda: dtypes.decode(bytes_of_two, value),
        lambda: dtypes.encode(bytes_of_two, value),
    ):
        with pytest.raises(InputError, match="expected the format of numbers as one of U64"):
            call()
    if value is not None:
        with pytest.raises(InputError, match="expected one of BF16"):
            safetensors.save(ARRAYS, dtypes={"a": value})


@pytest.mark.parametrize("value", [3, [], object(), b"a"], ids=lambda value: type(value).__name__)
def test_other_arguments(value, tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.save_file(ARRAYS, path)
    with pytest.raises(InputError, match="wrapping as the name of a place"):
        opening.open_weights(path, wrapping=value)
    with pytest.raises(InputError):
        safetensors.save({"a": value} if not isinstance(value, bytes) else {value: np.zeros(3)})
