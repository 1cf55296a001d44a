"""What the commands of conversion are given to read: pipes, addresses, empty texts, one file of several."""

from __future__ import annotations

import json
import os
import re

import pytest
from support.conversion_files import in_dialect, pickled_tensors, refusal, run

from npconv.convert import convert
from npconv.errors import InputError


@pytest.fixture
def source(tmp_path):
    """A ConvNeXt V2 in Facebook's names, as torch.save writes it."""
    path = tmp_path / "source.pth"
    path.write_bytes(pickled_tensors(in_dialect("convnextv2", "facebook"), wrapping="model"))
    return path


def test_one_of_several_files(capsys, tmp_path, source):
    convert(source, tmp_path / "o", max_shard_size=2000)
    shard = min((tmp_path / "o").glob("model-*.safetensors"))
    line = refusal(capsys, "convert", shard, tmp_path / "p")
    assert line.endswith("by its name: give their index, 'model.safetensors.index.json'")
    assert run(capsys, "convert", tmp_path / "o" / "model.safetensors.index.json", tmp_path / "p")[0] == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize("command", ["convert", "inspect", "export"])
@pytest.mark.parametrize("place", ["itself", "in a folder", "in an index"])
def test_named_pipes_are_not_opened(capsys, tmp_path, command, place):
    """Opening one would wait for ever for a writer."""
    (tmp_path / "m").mkdir()
    pipe = tmp_path / "m" / ("pytorch_model.bin" if place == "in a folder" else "part.safetensors")
    os.mkfifo(pipe)
    index = tmp_path / "m" / "x.index.json"
    index.write_text(json.dumps({"weight_map": {"convnext.layernorm.weight": pipe.name}}))
    source = {"itself": pipe, "in a folder": pipe.parent, "in an index": index}[place]
    words = {"convert": [tmp_path / "o"], "inspect": [], "export": [tmp_path / "o", "--to", "timm"]}[command]
    assert f"expected a file, but {str(pipe)!r} is a pipe" in refusal(capsys, command, source, *words)
    assert os.listdir(tmp_path) == ["m"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "expected a file, an index or a folder to read, got an empty text"),
        ("https://huggingface.co/facebook/x", "got the address 'https://huggingface.co/facebook/x'"),
        ("facebook/convnext-tiny-224", "npconv classify --model facebook/convnext-tiny-224 PICTURE"),
    ],
)
def test_sources_that_are_no_paths(capsys, tmp_path, monkeypatch, source, message):
    monkeypatch.chdir(tmp_path)
    assert message in refusal(capsys, "convert", source, "o")
    assert message in refusal(capsys, "inspect", source)
    with pytest.raises(InputError, match=re.escape(message)):
        convert(source, "o")


def test_an_empty_name_is_not_the_current_folder(capsys, tmp_path, source, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "expected a folder to write to, got an empty text" in refusal(capsys, "convert", source, "", "--force")
    assert os.listdir(tmp_path) == ["source.pth"]
