import json
import os

import numpy as np
import pytest

from npconv.errors import InputError, SafetensorsError, WeightsError
from npconv.files.checkpoint import INDEX_FILE, SINGLE_FILE, load_checkpoint, save_checkpoint
from npconv.files.safetensors import load_file, read_metadata, save_file

TENSORS = {f"layers.{i}.weight": np.full((i + 1, 5), i, np.float32) for i in range(4)}  # 20, 40, 60 and 80 bytes


def assert_same(loaded, expected):
    assert loaded.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(loaded[name], array, strict=True)


@pytest.fixture
def sharded(tmp_path):
    """A folder with two shards, a and b, and their index."""
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"x": np.zeros(2)}, folder / "a.safetensors")
    save_file({"y": np.ones(3), "z": np.ones(1)}, folder / "b.safetensors")
    write_index(folder, {"x": "a.safetensors", "y": "b.safetensors", "z": "b.safetensors"})
    return folder


def write_index(folder, weight_map):
    (folder / INDEX_FILE).write_text(json.dumps({"metadata": {"total_size": 48}, "weight_map": weight_map}))


def test_single_file(tmp_path):
    save_checkpoint(tmp_path / "new" / "folder", TENSORS)
    folder = tmp_path / "new" / "folder"
    assert os.listdir(folder) == [SINGLE_FILE]
    assert read_metadata(folder / SINGLE_FILE) == {"format": "pt"}
    assert_same(load_checkpoint(folder), TENSORS)
    assert_same(load_checkpoint(str(folder / SINGLE_FILE)), TENSORS)


def test_metadata_is_the_callers(tmp_path):
    save_checkpoint(tmp_path, TENSORS, {"license": "none"}, max_shard_size=1)
    assert read_metadata(tmp_path / "model-00004-of-00004.safetensors") == {"license": "none"}


def test_shards(tmp_path):
    save_checkpoint(tmp_path, TENSORS, max_shard_size=100)
    files = ["model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors"]
    assert sorted(os.listdir(tmp_path)) == [*files, INDEX_FILE]
    assert [list(load_file(tmp_path / file)) for file in files] == [
        ["layers.0.weight", "layers.1.weight"],
        ["layers.2.weight"],
        ["layers.3.weight"],
    ]
    assert (tmp_path / INDEX_FILE).read_text() == (
        '{\n  "metadata": {\n    "total_size": 200\n  },\n  "weight_map": {\n'
        f'    "layers.0.weight": "{files[0]}",\n    "layers.1.weight": "{files[0]}",\n'
        f'    "layers.2.weight": "{files[1]}",\n    "layers.3.weight": "{files[2]}"\n  }}\n}}\n'
    )
    assert_same(load_checkpoint(tmp_path), TENSORS)


@pytest.mark.parametrize(
    ("size", "shards"),
    [(None, 1), (200, 1), ("200", 1), ("1KB", 1), ("1 kib", 1), ("5GB", 1), (199, 2), (60, 3), (1, 4)],
)
def test_shard_sizes(tmp_path, size, shards):
    save_checkpoint(tmp_path, TENSORS, max_shard_size=size)
    assert len([name for name in os.listdir(tmp_path) if name != INDEX_FILE]) == shards


@pytest.mark.parametrize("size", [0, -1, "5 apples", "", "GB", 1.5, True, "1" * 5000])
def test_what_is_no_shard_size(tmp_path, size):
    with pytest.raises(InputError, match="max_shard_size"):
        save_checkpoint(tmp_path, TENSORS, max_shard_size=size)


def test_no_tensors(tmp_path):
    save_checkpoint(tmp_path, {}, max_shard_size=1)
    assert load_checkpoint(tmp_path) == {}


@pytest.mark.parametrize(("before", "after"), [(None, 100), (100, None), (100, 50), (50, 100)])
def test_an_earlier_save_leaves_nothing(tmp_path, before, after):
    foreign = ["config.json", "model-00001.safetensors", "model-1-of-2.safetensors", "other.safetensors"]
    save_checkpoint(tmp_path, {"old": np.zeros(9), **TENSORS}, max_shard_size=before)
    for name in foreign:
        (tmp_path / name).write_text("kept")
    # The arrays are mapped from the very files that are replaced and removed.
    save_checkpoint(tmp_path, {name: load_checkpoint(tmp_path)[name] for name in TENSORS}, max_shard_size=after)
    assert_same(load_checkpoint(tmp_path), TENSORS)
    for name in foreign:
        assert (tmp_path / name).read_text() == "kept"
    clean = tmp_path / "clean"
    save_checkpoint(clean, TENSORS, max_shard_size=after)
    assert sorted(set(os.listdir(tmp_path)) - {"clean", *foreign}) == sorted(os.listdir(clean))


def test_a_tensor_that_cannot_be_stored_leaves_the_old_weights(tmp_path):
    save_checkpoint(tmp_path, TENSORS)
    with pytest.raises(InputError, match="tensor 'b'"):
        save_checkpoint(tmp_path, {"a": np.zeros(3), "b": np.zeros(3, complex)}, max_shard_size=1)
    assert_same(load_checkpoint(tmp_path), TENSORS)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match="cannot make folder"):
        save_checkpoint(tmp_path / "file" / "folder", TENSORS)


def test_old_files_that_cannot_be_removed(tmp_path):
    (tmp_path / INDEX_FILE).mkdir()
    with pytest.raises(WeightsError, match="cannot remove"):
        save_checkpoint(tmp_path, TENSORS)


def test_load_shards(sharded):
    assert_same(load_checkpoint(sharded), {"x": np.zeros(2), "y": np.ones(3), "z": np.ones(1)})


def test_the_single_file_comes_first(sharded):
    save_file(TENSORS, sharded / SINGLE_FILE)
    assert_same(load_checkpoint(sharded), TENSORS)


def test_links_as_in_a_hub_cache(sharded, tmp_path):
    """A snapshot holds links to blobs outside of it: the names stay inside, and that is what counts."""
    snapshot = tmp_path / "snapshots" / "0123"
    (tmp_path / "blobs").mkdir()
    snapshot.mkdir(parents=True)
    for i, path in enumerate(sorted(sharded.iterdir())):
        path.rename(tmp_path / "blobs" / str(i))
        (snapshot / path.name).symlink_to(f"../../blobs/{i}")
    assert set(load_checkpoint(snapshot)) == {"x", "y", "z"}


@pytest.mark.parametrize(
    "name",
    [
        "../a.safetensors",
        "/etc/a.safetensors",
        "sub/a.safetensors",
        "./a.safetensors",
        "sub\\a.safetensors",
        "..\\a.safetensors",
        "C:a.safetensors",
        "C:\\a.safetensors",
        "a.safetensors/",
        "a.safetensors\0",
        "a\n.safetensors",
        "..",
        "",
        "a.bin",
        "pytorch_model.bin",
        7,
        None,
        ["a.safetensors"],
    ],
)
def test_an_index_that_points_outside_its_folder(sharded, name):
    save_file({"x": np.zeros(2)}, sharded.parent / "a.safetensors")
    (sharded / "sub").mkdir()
    save_file({"x": np.zeros(2)}, sharded / "sub" / "a.safetensors")
    write_index(sharded, {"y": "b.safetensors", "z": "b.safetensors", "x": name})
    with pytest.raises(WeightsError, match=r"places tensor 'x' in .* expected the plain name") as caught:
        load_checkpoint(sharded)
    assert str(caught.value).isprintable()


def test_a_missing_shard(sharded):
    (sharded / "b.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"names 'b.safetensors', which is not in"):
        load_checkpoint(sharded)


def test_a_link_to_a_missing_blob(sharded):
    (sharded / "b.safetensors").unlink()
    (sharded / "b.safetensors").symlink_to("../blobs/none")
    with pytest.raises(WeightsError, match=r"b.safetensors' does not exist"):
        load_checkpoint(sharded)


def test_a_damaged_shard(sharded):
    with (sharded / "b.safetensors").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(SafetensorsError, match=r"TrailingBytes: .*b.safetensors"):
        load_checkpoint(sharded)


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        (
            {"x": "a.safetensors", "y": "b.safetensors", "z": "b.safetensors", "more": "a.safetensors"},
            r"'more' \(index: a.safetensors, found: nowhere\)",
        ),
        ({"x": "a.safetensors", "y": "b.safetensors"}, r"'z' \(index: nowhere, found: b.safetensors\)"),
        (
            {"x": "a.safetensors", "y": "a.safetensors", "z": "b.safetensors"},
            r"'y' \(index: a.safetensors, found: b.safetensors\)",
        ),
    ],
)
def test_index_and_shards_that_contradict_each_other(sharded, weight_map, message):
    write_index(sharded, weight_map)
    with pytest.raises(WeightsError, match=message):
        load_checkpoint(sharded)


def test_contradictions_are_counted(sharded):
    write_index(sharded, {f"missing {i}": "a.safetensors" for i in range(300)})
    with pytest.raises(WeightsError, match=r"'missing 2' .* and 298 more;") as caught:
        load_checkpoint(sharded)
    assert len(str(caught.value)) < 600


def test_one_tensor_in_two_shards(sharded):
    save_file({"x": np.zeros(2), "y": np.zeros(3)}, sharded / "a.safetensors")
    with pytest.raises(WeightsError, match=r"tensor 'y' is in both 'a.safetensors' and 'b.safetensors'"):
        load_checkpoint(sharded)


@pytest.mark.parametrize(
    "content",
    ["[]", "{}", "null", "1", '{"weight_map": []}', '{"weight_map": {}}', '{"weight_map": {"x": "a", "x": "b"}}', "{"],
)
def test_a_malformed_index(sharded, content):
    (sharded / INDEX_FILE).write_text(content)
    with pytest.raises(WeightsError, match=rf"{INDEX_FILE}'"):
        load_checkpoint(sharded)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["pytorch_model.bin", "config.json"], r"there is 'pytorch_model.bin', but models are loaded from safetensors"),
        (["tf_model.h5"], r"there is 'tf_model.h5', but"),
        (["a.bin", "b.bin", "c.bin", "d.bin", "e.bin"], r"'a.bin', 'b.bin', 'c.bin' and 2 more, but"),
        (["weights.safetensors", "pytorch_model.bin"], r"there is 'weights.safetensors': give the path of the file"),
        (["config.json"], r"the folder holds 'config.json'"),
        ([], "the folder holds nothing"),
    ],
)
def test_a_folder_without_weights(tmp_path, files, message):
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(WeightsError, match=message):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["none", "model.bin", "a\0b", ""])
def test_what_is_neither_folder_nor_file(name):
    with pytest.raises(WeightsError, match="expected a"):
        load_checkpoint(name or "none.safetensors")
