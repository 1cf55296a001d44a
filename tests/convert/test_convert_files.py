"""A conversion that is refused, interrupted or hindered leaves nothing behind, and no file of another."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import numpy as np
import pytest
from support.container_files import call, mapping, name, storage, tensor, text, zip_bytes, zipped
from support.conversion_files import (
    FILES,
    ROOT,
    logits,
    refusal,
    run,
)

import npconv
from npconv.convert import convert
from npconv.files.locks import claimed

pytestmark = pytest.mark.long

RUN = text("touch canary")


STORED = storage("0", 24)


HOSTILE = {
    "os.system": (zipped(mapping(a=call("os", "system", RUN))), "os.system"),
    "builtins.eval": (zipped(mapping(a=call("builtins", "eval", text("open('canary', 'w')")))), "builtins.eval"),
    "nested": (zipped(mapping(a=call("collections", "OrderedDict", b"](" + call("os", "system", RUN) + b"e"))), "os.s"),
    "getattr": (zipped(mapping(a=call("builtins", "getattr", name("os", "path"), text("os")))), "os.path"),
    "short storage": (zipped(mapping(a=tensor(STORED, (25,), (1,))), {"0": np.zeros(24, np.float32)}), "beyond"),
    "a path out of the file": (zip_bytes({"../m/data.pkl": b"x"}), "m/data.pkl"),
    "a zip bomb": (zip_bytes({"m/data.pkl": b"0" * 50_000_000}, compression=8), "unpack"),
    "a bare pickle": (b"\x80\x02cos\nsystem\n" + RUN + b"\x85R.", "os.system"),
    "no weights": (b"hello", "none of the files that are read"),
    "nothing": (b"", "empty"),
}


@pytest.mark.parametrize("command", ["convert", "inspect"])
@pytest.mark.parametrize(("data", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_files(capsys, tmp_path, monkeypatch, command, data, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").write_bytes(data)
    assert message in refusal(capsys, command, "x", *(["o"] if command == "convert" else []))
    assert os.listdir(tmp_path) == ["x"]


def test_nothing_is_replaced_without_force(capsys, tmp_path, source):
    convert(source, tmp_path / "o", max_shard_size=2000)
    (tmp_path / "o" / "README.md").write_text("mine")
    before = {path.name: path.read_bytes() for path in (tmp_path / "o").iterdir()}
    assert "--force replaces them" in refusal(capsys, "convert", source, tmp_path / "o")
    assert {path.name: path.read_bytes() for path in (tmp_path / "o").iterdir()} == before
    assert run(capsys, "convert", source, tmp_path / "o", "--force")[0] == 0
    assert sorted(os.listdir(tmp_path / "o")) == ["README.md", *FILES]
    assert (tmp_path / "o" / "README.md").read_text() == "mine"


def test_other_files_are_no_hindrance(capsys, tmp_path, source):
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "README.md").write_text("mine")
    assert run(capsys, "convert", source, tmp_path / "o")[0] == 0
    assert sorted(os.listdir(tmp_path / "o")) == ["README.md", *FILES]
    (tmp_path / "o" / "config.json").write_text("{}")
    assert run(capsys, "verify", tmp_path / "o")[0] == 1


def test_a_folder_is_converted_in_its_place(capsys, tmp_path, folder):
    expected = logits(folder)
    status, _, errors = run(capsys, "convert", folder, folder, "--dtype", "float64", "--force")
    said = "config.json of a convnext has keys that are not known, and without effect: 'extra'"
    assert (status, errors) == (0, [f"weights_tools: warning: {said}"])
    np.testing.assert_array_equal(logits(folder), expected)
    assert npconv.AutoConfig.from_pretrained(folder).id2label[3] == "fox"


@pytest.mark.parametrize("place", ["file", "file/deeper", "file/deeper/still"])
def test_a_file_where_a_folder_should_be(capsys, tmp_path, source, place):
    (tmp_path / "file").write_text("mine")
    refusal(capsys, "convert", source, tmp_path / place)
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["file", "source.pth"]


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on files there")
@pytest.mark.parametrize("limit", [100, 3000])
def test_a_full_disk_is_one_line(tmp_path, source, limit):
    """No more than `limit` bytes fit into a file: the weights, or the small files, cannot be written."""
    code = (
        "import resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "from weights_tools.__main__ import main\n"
        f"sys.exit(main(['convert', {str(source)!r}, {str(tmp_path / 'a' / 'o')!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-B", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "cannot write" in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["source.pth"]


def test_an_interruption_leaves_nothing(capsys, tmp_path, source, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("npconv.convert.writing.write_text", interrupt)
    status, out, errors = run(capsys, "convert", source, tmp_path / "o")
    assert (status, out, errors) == (130, [], ["weights_tools: interrupted"])
    assert os.listdir(tmp_path) == ["source.pth"]


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal there")
def test_sigterm_leaves_nothing(tmp_path, source):
    code = (
        "import os, runpy, signal, sys\n"
        "from npconv.convert import writing\n"
        "writing.write_text = lambda *_: os.kill(os.getpid(), signal.SIGTERM)\n"
        f"sys.argv = ['weights_tools', 'convert', {str(source)!r}, {str(tmp_path / 'o')!r}]\n"
        "runpy.run_module('weights_tools', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-B", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "")
    assert os.listdir(tmp_path) == ["source.pth"]


def test_a_folder_and_a_file_have_one_writer(capsys, tmp_path, source):
    convert(source, tmp_path / "o")
    before = {path.name: path.read_bytes() for path in (tmp_path / "o").iterdir()}
    with claimed(tmp_path / "o"):
        said = refusal(capsys, "convert", source, tmp_path / "o", "--force")
        assert "is being written by another process" in said
    assert {path.name: path.read_bytes() for path in (tmp_path / "o").iterdir()} == before
    with claimed(tmp_path / "x.safetensors"):
        said = refusal(capsys, "export", tmp_path / "o", tmp_path / "x.safetensors")
        assert "is being written by another process" in said
    assert sorted(os.listdir(tmp_path)) == ["o", "source.pth"]


def test_what_another_process_wrote_meanwhile_is_not_replaced(capsys, tmp_path, source, monkeypatch):
    convert(source, tmp_path / "o")

    def meanwhile(*_):
        (tmp_path / "x.safetensors").write_text("of the other")
        return {}

    monkeypatch.setattr(importlib.import_module("npconv.convert.export"), "outgoing", meanwhile)
    assert "is there already" in refusal(capsys, "export", tmp_path / "o", tmp_path / "x.safetensors")
    assert (tmp_path / "x.safetensors").read_text() == "of the other"
