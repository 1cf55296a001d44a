"""500 damaged files: each is refused by name or gives the right tensors, in at most twice its size of memory.

Both when all is decoded at once (`load_file`) and when nothing is (`open_file`), where the header alone takes memory.
"""

import tracemalloc

import numpy as np
import pytest
from support.hostile_files import mutated_files, naive_read

from npconv.errors import SafetensorsError
from npconv.files import safetensors
from npconv.files.dtypes import STORED, WIDENED, decode

pytestmark = pytest.mark.long

COUNT = 500

#: Memory beyond twice the file: the buffers of NumPy while it converts a dtype, 8192 values at a time (70 kB measured).
CONSTANT = 100_000
#: And Python's objects for each tensor: its name, its entry, the array and what that is a view of (410 bytes measured).
PER_NAME = 500


def original_files():
    generator = np.random.default_rng(1)
    floats = {dtype: generator.normal(size=(31, 37, 43)) for dtype in WIDENED}
    every_dtype = {dtype: generator.integers(0, 2, (5, 3, 64)).astype(STORED[dtype]) for dtype in STORED}
    every_dtype = {name: array for name, array in every_dtype.items() if name not in WIDENED}
    nested = {f"convnext.stages.{i}.layers.{j}.weight": np.full((i + 1, j), i + j) for i in range(4) for j in range(3)}
    return [
        safetensors.save({**every_dtype, **floats}, {"format": "pt"}, dtypes={dtype: dtype for dtype in WIDENED}),
        safetensors.save(floats, dtypes={dtype: dtype for dtype in WIDENED}),
        safetensors.save({"a": floats["BF16"]}, dtypes={"a": "F8_E5M2"}),
        safetensors.save(nested, {"a": "1", "b": '{"c": "\u00e9"}'}),
        safetensors.save({"scalar": np.array(3.5), "empty": np.empty((0, 4)), "w": np.arange(60.0).reshape(3, 4, 5)}),
    ]


@pytest.fixture(scope="module")
def mutated():
    files = mutated_files(original_files(), COUNT)
    assert len(set(files)) == COUNT
    return files


READERS = [safetensors.load_file, safetensors.open_file]


def outcome(path, read):
    """Return the tensors, or the error as it is; the error's traceback would hold on to memory."""
    try:
        return read(path)
    except SafetensorsError as error:
        return error.with_traceback(None)


@pytest.mark.parametrize("read", READERS)
def test_mutated_files_are_refused_or_right(mutated, tmp_path, read):
    path = tmp_path / "model.safetensors"
    refused = 0
    for content in mutated:
        path.write_bytes(content)
        result = outcome(path, read)
        if isinstance(result, SafetensorsError):
            refused += 1
            continue
        expected = naive_read(content)
        assert list(result) == list(expected)
        for name, (dtype, shape, data) in expected.items():
            right = decode(np.frombuffer(data, np.uint8), dtype).reshape(shape)
            assert result[name].dtype == right.dtype
            assert result[name].shape == shape
            assert np.asarray(result[name]).tobytes() == right.tobytes()
    assert 200 < refused < COUNT - 50, "both outcomes are there to be tested"


@pytest.mark.parametrize("read", READERS)
def test_mutated_files_take_at_most_twice_their_size(mutated, tmp_path, read):
    paths = []
    for i, content in enumerate(original_files() + mutated):
        paths.append(tmp_path / f"{i}.safetensors")
        paths[-1].write_bytes(content)
    outcome(paths[0], read)
    tracemalloc.start()
    try:
        for path in paths:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            result = outcome(path, read)
            peak = tracemalloc.get_traced_memory()[1] - before
            names = 0 if isinstance(result, SafetensorsError) else len(result)
            del result
            size = path.stat().st_size
            if read is safetensors.open_file:
                size = min(size, int.from_bytes(path.read_bytes()[:8], "little"))  # the header's
            assert peak <= 2 * size + PER_NAME * names + CONSTANT, path
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", STORED)
@pytest.mark.parametrize("read", READERS)
def test_large_file_takes_at_most_twice_its_size(dtype, tmp_path, read):
    """A megabyte of each dtype, where a constant hides nothing; what is mapped or not yet decoded costs nothing."""
    path = tmp_path / "model.safetensors"
    content = f'{{"a":{{"dtype":"{dtype}","shape":[{2**20 // STORED[dtype].itemsize}],"data_offsets":[0,{2**20}]}}}}'
    path.write_bytes(len(content).to_bytes(8, "little") + content.encode() + bytes(2**20))
    outcome(path, read)
    tracemalloc.start()
    try:
        outcome(path, read)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    growth = 0 if read is safetensors.open_file else 2 if dtype in WIDENED else 1 if dtype == "BOOL" else 0
    assert growth * 2**20 <= peak <= growth * 2**20 + CONSTANT
