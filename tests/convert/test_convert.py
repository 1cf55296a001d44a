"""``npconv convert``: what it writes and what it says."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from support.conversion_files import (
    CONFIGS,
    FILES,
    ROOT,
    STEPS,
    in_dialect,
    logits,
    nested,
    pickled_tensors,
    refusal,
    run,
    state_of,
)

import npconv
from npconv.convert import convert
from npconv.files import safetensors
from npconv.files.checkpoint import load_checkpoint
from npconv.models.naming import lines
from weights_tools.__main__ import main

pytestmark = pytest.mark.long


def test_what_is_written_and_said(capsys, tmp_path, source):
    status, lines, errors = run(capsys, "convert", source, tmp_path / "made" / "out")
    assert (status, errors) == (0, [])
    directory = tmp_path / "made" / "out"
    assert sorted(os.listdir(directory)) == FILES
    assert sorted(os.listdir(tmp_path)) == ["made", "source.pth"]
    written = json.loads((directory / "config.json").read_text("utf-8"))
    assert written.keys() >= npconv.ConvNextV2Config().to_dict().keys(), "all fields, also those that are usual"
    for beginning in (
        "container PyTorch zip: ",
        "wrapping model: ",
        "dialect facebook: ",
        "depths [1, 2, 1]: ",
        "hidden_sizes [3, 5, 7]: ",
        "layer_norm_eps 1e-06: what facebook computes with",
        "image_size 224: not in the shapes",
        "labels LABEL_0 and so on: ",
        'preprocessing size {"shortest_edge": 224}, crop_pct 0.875, ',
        "dtype float32: as stored",
        f"wrote {directory / 'model.safetensors'}",
    ):
        assert sum(line.startswith(beginning) for line in lines) == 1, beginning
    expected = npconv.ConvNextV2ForImageClassification(
        npconv.ConvNextV2Config.from_dict(CONFIGS["convnextv2"].to_dict() | {"layer_norm_eps": 1e-6}),
        state_of("convnextv2"),
        dtype="float64",
    )
    pixels = np.random.default_rng(0).standard_normal((2, 3, 33, 37))
    np.testing.assert_array_equal(logits(directory), expected(pixels).logits)
    assert "a guess" in next(line for line in lines if line.startswith("preprocessing"))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("family", "dialect", "prefix"),
    [
        ("convnext", "timm", ""),
        ("convnext", "torchvision", "module."),
        ("convnextv2", "timm", "backbone."),
        ("convnextv2", "huggingface", "convnextv2."),
        ("convnext", "open_clip", ""),
        ("cvt", "microsoft", ""),
    ],
)
def test_dialects(capsys, tmp_path, family, dialect, prefix, stream):
    (tmp_path / "x").write_bytes(pickled_tensors(in_dialect(family, dialect, prefix), stream=stream))
    options = [word for key, value in STEPS.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    status, lines, _ = run(capsys, "convert", tmp_path / "x", tmp_path / "o", *(options if family == "cvt" else ()))
    assert status == 0
    assert any(line.startswith(f"dialect {dialect}: ") and repr(prefix) in line for line in lines) or not prefix
    stored = load_checkpoint(tmp_path / "o")
    assert stored.keys() == state_of(family).keys()
    for key, value in state_of(family).items():
        np.testing.assert_array_equal(stored[key], value, strict=True)


def test_the_manifest_has_the_hash_of_every_file(tmp_path, source):
    done = convert(source, tmp_path / "o", name="somebody/something")
    manifest = json.loads((tmp_path / "o" / "npconv_manifest.json").read_text())
    assert sorted([*manifest["files"], "npconv_manifest.json"]) == FILES == sorted(path.name for path in done.files)
    for file, digest in manifest["files"].items():
        assert hashlib.sha256((tmp_path / "o" / file).read_bytes()).hexdigest() == digest
    assert manifest["source"]["files"] == {"source.pth": hashlib.sha256(source.read_bytes()).hexdigest()}
    assert manifest["source"]["name"] == "somebody/something"
    assert manifest["source"]["wrapping"] == "model"
    assert manifest["decisions"] == lines(done.decisions)
    assert (manifest["dtype"], manifest["source"]["dialect"]) == ("float32", "facebook")


def test_wrappings(capsys, tmp_path):
    first = {f"model.{key}": value for key, value in in_dialect("convnext", "facebook").items()}
    second = {f"model_ema.{key}": -value for key, value in in_dialect("convnext", "facebook").items()}
    third = {f"optimizer.{key}": value for key, value in in_dialect("convnext", "facebook").items()}
    (tmp_path / "x").write_bytes(nested(first | second | third))
    _, lines, errors = run(capsys, "convert", tmp_path / "x", tmp_path / "a")
    assert any(line.startswith("also there, not used: 'optimizer' with") for line in lines)
    assert len(errors) == 1
    assert errors[0].startswith("weights_tools: warning: ")
    assert errors[0].endswith(f"'model_ema' with {len(second)} tensors; --wrapping model_ema takes it")
    status, lines, errors = run(capsys, "convert", tmp_path / "x", tmp_path / "b", "--wrapping", "model_ema")
    assert (status, errors) == (0, [])
    assert any(line.startswith("also there, not used: 'model' with") for line in lines)
    key = "convnext.layernorm.weight"
    np.testing.assert_array_equal(load_checkpoint(tmp_path / "a")[key], -load_checkpoint(tmp_path / "b")[key])


def test_other_models_are_refused(capsys, tmp_path):
    safetensors.save_file({"conv1.weight": np.zeros((3, 3))}, tmp_path / "x.safetensors")
    assert "expected tensors named as" in refusal(capsys, "convert", tmp_path / "x.safetensors", tmp_path / "o")
    state = state_of("convnext") | {"convnext.layernorm.extra": np.zeros(3, np.float32)}
    safetensors.save_file(state, tmp_path / "x.safetensors")
    message = refusal(capsys, "convert", tmp_path / "x.safetensors", tmp_path / "o")
    assert "no place for tensor 'convnext.layernorm.extra'" in message
    del state["convnext.layernorm.extra"], state["convnext.layernorm.bias"]
    safetensors.save_file(state, tmp_path / "x.safetensors")
    assert "lacks 'convnext.layernorm.bias'" in refusal(capsys, "convert", tmp_path / "x.safetensors", tmp_path / "o")
    assert os.listdir(tmp_path) == ["x.safetensors"]


def test_shards(capsys, tmp_path, source):
    assert run(capsys, "convert", source, tmp_path / "o", "--max-shard-size", "2000")[0] == 0
    shards = sorted(path.name for path in (tmp_path / "o").glob("model-*.safetensors"))
    assert len(shards) > 1
    assert (tmp_path / "o" / "model.safetensors.index.json").exists()
    assert convert(source, tmp_path / "p").dtype == "float32"
    np.testing.assert_array_equal(logits(tmp_path / "o"), logits(tmp_path / "p"))
    done = convert(tmp_path / "o", tmp_path / "q")
    assert done.container == "sharded safetensors"
    assert sorted(done.source_files) == sorted([*shards, "model.safetensors.index.json"])
    assert (tmp_path / "q" / "model.safetensors").read_bytes() == (tmp_path / "p" / "model.safetensors").read_bytes()


def test_debug_shows_where(capsys, tmp_path):
    assert main(["convert", str(tmp_path / "none"), str(tmp_path / "o"), "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_help_and_nothing_at_all(capsys):
    assert main([]) == 2
    assert "convert" in capsys.readouterr().out
    for words in (["--help"], ["convert", "--help"], ["train", "--help"]):
        assert main(words) == 0
        assert "usage" in capsys.readouterr().out
    assert "invalid choice" in refusal(capsys, "translate")
    assert main(["train", "--no-such-option"]) == 2


def test_nothing_of_pytorch_is_imported(tmp_path, source):
    code = (
        "import sys\nfrom weights_tools.__main__ import main\n"
        f"assert main(['convert', {str(source)!r}, {str(tmp_path / 'o')!r}]) == 0\n"
        "assert not {'torch', 'transformers', 'timm', 'safetensors', 'h5py'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
