import json
import os
import tracemalloc

import pytest

from npconv.errors import WeightsError
from npconv.files import disk
from npconv.files.disk import MAX_JSON_SIZE, map_file, parse_json, read_json, write_file


def test_map_file(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "empty").touch()
    assert map_file(tmp_path / "a") == b"content"
    assert map_file(tmp_path / "a").readonly
    assert map_file(tmp_path / "empty") == b""


@pytest.mark.parametrize("name", ["none", "none/none", "a\0b", "x" * 1000, ""])
def test_no_such_file(tmp_path, name):
    with pytest.raises(WeightsError, match="expected a file"):
        map_file(os.path.join(tmp_path, name))


def test_a_directory_is_no_file(tmp_path):
    with pytest.raises(WeightsError, match="is a directory"):
        map_file(tmp_path)
    (tmp_path / "inner").mkdir()
    with pytest.raises(WeightsError, match="cannot write"):
        write_file(tmp_path / "inner", [b"a"])
    assert os.listdir(tmp_path) == ["inner"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WeightsError, match="not a regular file"):
        map_file(tmp_path / "pipe")


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"content")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(WeightsError, match=r"cannot read .*Permission denied"):
        map_file(tmp_path / "a")
    with pytest.raises(WeightsError, match=r"cannot write .*Permission denied"):
        write_file(tmp_path / "b", [b"content"])


@pytest.mark.parametrize("name", ["none/a", "a\0b", "x" * 1000])
def test_a_file_that_cannot_be_written(tmp_path, name):
    with pytest.raises(WeightsError, match="cannot write"):
        write_file(os.path.join(tmp_path, name), [b"content"])
    assert os.listdir(tmp_path) == []


def test_all_is_in_the_file_when_it_appears(tmp_path, monkeypatch):
    sizes = []
    replace = os.replace

    def measured(source, target):
        sizes.append(os.path.getsize(source))
        replace(source, target)

    monkeypatch.setattr(os, "replace", measured)
    write_file(tmp_path / "a", [b"con", b"tent"])
    assert sizes == [7]


def test_read_json(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, "\u00e9", null]}', encoding="utf-8")
    assert read_json(path) == {"a": [1, "\u00e9", None]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"{'a': 1}",
        b'{"a": 1, "a": 2}',
        b"[" * 1_000_000,
        b'{"a":' * 1_000_000,
    ],
)
def test_read_json_refuses(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="is not the JSON it should be") as caught:
        read_json(path)
    assert str(caught.value).isprintable()


def test_read_json_of_a_million_digits(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("1" * 1_000_000)
    assert read_json(path) == float("inf")


def test_read_json_refuses_a_huge_file(tmp_path):
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(MAX_JSON_SIZE + 1)
    with pytest.raises(WeightsError, match="10000001 bytes"):
        read_json(path)


@pytest.mark.parametrize("item", ["[]", "{}", "0", '""'])
def test_json_is_counted_before_it_is_made(monkeypatch, item):
    monkeypatch.setattr(disk, "MAX_JSON_VALUES", 20_000)
    text = "[" + f"{item}," * 200_000 + "0]"
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=r"about \d+ values, expected at most 20000"):
            parse_json(text, "it")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000


def test_json_may_have_as_many_values_as_the_largest_configuration():
    """The names of ImageNet-22k in both directions, with commas in them."""
    names = {str(i): f"class {i}, another name, a third" for i in range(21_841)}
    fields = {"id2label": names, "label2id": {name: int(i) for i, name in names.items()}}
    assert parse_json(json.dumps(fields), "it") == fields
