"""``python -m weights_tools export``: back to the names of another library, bit for bit."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from support.conversion_files import STEPS, in_dialect, pickled_tensors, refusal, run, state_of

import npconv
from npconv.convert import convert, export
from npconv.errors import InputError, WeightsError
from npconv.files import safetensors

pytestmark = pytest.mark.long

OF_FAMILY = {
    "convnext": ["huggingface", "facebook", "timm", "open_clip", "torchvision", "tensorflow"],
    "convnextv2": ["huggingface", "facebook", "timm", "open_clip", "tensorflow"],
    "cvt": ["huggingface", "microsoft", "tensorflow"],
}
PAIRS = [(family, name) for family, names in OF_FAMILY.items() for name in names]


def make(tmp_path, family, tensors=None, name="o"):
    """Return a converted folder."""
    path = tmp_path / "source"
    path.write_bytes(pickled_tensors(state_of(family) if tensors is None else tensors))
    convert(path, tmp_path / name, **(STEPS if family == "cvt" else {}))
    return tmp_path / name


def assert_same(path, expected):
    found = safetensors.load_file(path)
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, strict=True)


@pytest.mark.parametrize(("family", "name"), PAIRS)
def test_every_dialect(capsys, tmp_path, family, name):
    folder = make(tmp_path, family)
    status, lines, errors = run(capsys, "export", folder, tmp_path / "x.safetensors", "--to", name)
    assert status == 0
    assert all(line.startswith("weights_tools: warning: ") for line in errors)
    assert_same(tmp_path / "x.safetensors", in_dialect(family, name))
    assert lines[-1].startswith(f"wrote {tmp_path / 'x.safetensors'}, SHA-256 ")


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
@pytest.mark.parametrize(
    ("family", "name", "prefix"),
    [(*pair, prefix) for pair in PAIRS for prefix in (None, "module.") if prefix is None or pair[1] != "tensorflow"],
)
def test_there_and_back(tmp_path, family, name, prefix, dtype):
    """Without --to, and with the dialect's own name: as the source was, prefix and number format included."""
    usual = f"{family}." if name == "huggingface" else ""
    theirs = in_dialect(family, name, None if prefix is None else prefix + usual)
    theirs = {key: value.astype(dtype) if value.dtype == np.float32 else value for key, value in theirs.items()}
    folder = make(tmp_path, family, theirs)
    export(folder, tmp_path / "x")
    assert_same(tmp_path / "x", theirs)
    export(folder, tmp_path / "y", to=name)
    assert_same(tmp_path / "y", theirs)


@pytest.mark.parametrize("old", [False, True])
def test_old_names_come_back(tmp_path, old):
    theirs = state_of("convnextv2")
    if old:
        theirs = {
            name.replace("grn.weight", "grn.gamma").replace("grn.bias", "grn.beta"): value
            for name, value in theirs.items()
        }
    folder = make(tmp_path, "convnextv2", theirs)
    export(folder, tmp_path / "x")
    assert_same(tmp_path / "x", theirs)


def test_another_prefix(tmp_path):
    folder = make(tmp_path, "convnext")
    done = export(folder, tmp_path / "x", to="timm", prefix="backbone.")
    assert done.count == len(in_dialect("convnext", "timm"))
    assert_same(tmp_path / "x", in_dialect("convnext", "timm", "backbone."))


def test_bfloat16(tmp_path):
    theirs = in_dialect("convnext", "torchvision")
    safetensors.save_file(theirs, tmp_path / "x", dtypes=dict.fromkeys(theirs, "BF16"))
    convert(tmp_path / "x", tmp_path / "o")
    export(tmp_path / "o", tmp_path / "y")
    assert (tmp_path / "y").read_bytes()[-2000:] == (tmp_path / "x").read_bytes()[-2000:]
    assert_same(tmp_path / "y", safetensors.load_file(tmp_path / "x"))
    entries = safetensors.read_header(tmp_path / "y").entries.values()
    assert {entry.dtype for entry in entries} == {"BF16"}


def test_what_the_other_library_computes_otherwise(capsys, tmp_path):
    folder = make(tmp_path, "cvt")
    errors = run(capsys, "export", folder, tmp_path / "x", "--to", "microsoft")[2]
    assert errors == ["weights_tools: warning: microsoft computes with quick_gelu, this model with gelu"]
    folder = make(tmp_path, "convnext", name="p")
    errors = run(capsys, "export", folder, tmp_path / "y", "--to", "facebook")[2]
    assert errors == ["weights_tools: warning: facebook has 1e-06 in the final LayerNorm, this model 1e-12"]


@pytest.mark.parametrize(("patch", "warned"), [(2, True), (4, False), (7, False), (8, True)])
def test_a_patch_with_which_timm_has_other_strides(tmp_path, patch, warned):
    config = npconv.ConvNextV2Config(
        hidden_sizes=[3, 5, 7, 9], depths=[1, 2, 1, 1], patch_size=patch, layer_norm_eps=1e-6
    )
    npconv.ConvNextV2ForImageClassification(config).save_pretrained(tmp_path / "o")
    decisions = export(tmp_path / "o", tmp_path / "x", to="timm").decisions
    warnings = [decision for decision in decisions if decision.level == "warning"]
    assert [f"patch_size={patch}" in str(warning) for warning in warnings] == [True] * warned


def test_an_embedded_model_of_transformers_layout(tmp_path):
    """A folder without a manifest: --to must say the dialect."""
    config = npconv.ConvNextV2Config(hidden_sizes=[3, 5, 7], depths=[1, 2, 1], num_stages=3, num_labels=4)
    npconv.ConvNextV2ForImageClassification(config).save_pretrained(tmp_path / "o")
    with pytest.raises(InputError, match="give --to"):
        export(tmp_path / "o", tmp_path / "x")
    export(tmp_path / "o", tmp_path / "x", to="timm")
    assert "stem.0.weight" in safetensors.load_file(tmp_path / "x")


def test_what_has_no_place_is_not_lost(tmp_path):
    folder = make(tmp_path, "convnextv2")
    for name in ("torchvision", "fcmae", "facebook-encoder", "microsoft", "nonsense"):
        with pytest.raises(WeightsError):
            export(folder, tmp_path / "x", to=name)
    assert sorted(os.listdir(tmp_path)) == ["o", "source"]


def test_a_file_is_not_replaced_without_force(capsys, tmp_path):
    folder = make(tmp_path, "convnext")
    (tmp_path / "x").write_text("mine")
    assert "is there already" in refusal(capsys, "export", folder, tmp_path / "x", "--to", "timm")
    assert (tmp_path / "x").read_text() == "mine"
    assert run(capsys, "export", folder, tmp_path / "x", "--to", "timm", "--force")[0] == 0
    assert_same(tmp_path / "x", in_dialect("convnext", "timm"))


def test_words_that_make_no_sense(capsys, tmp_path):
    folder = make(tmp_path, "convnext")
    assert "invalid choice" in refusal(capsys, "export", folder, tmp_path / "x", "--to", "jax")
    assert "does not exist" in refusal(capsys, "export", tmp_path / "none", tmp_path / "x", "--to", "timm")
    assert "got an empty text" in refusal(capsys, "export", folder, "", "--to", "timm")
    assert "got an empty text" in refusal(capsys, "export", "", tmp_path / "x", "--to", "timm")
    assert "cannot write" in refusal(capsys, "export", folder, tmp_path / "none" / "x", "--to", "timm")


@pytest.mark.parametrize("name", ["x.pth", "x.PT", "x.bin", "x.h5", "x.npz"])
def test_a_name_of_another_form_is_refused(capsys, tmp_path, name):
    folder = make(tmp_path, "convnext")
    line = refusal(capsys, "export", folder, tmp_path / name, "--to", "timm", "--force")
    assert "expected a name that ends in .safetensors" in line
    assert "'x.safetensors' would do" in line
    assert sorted(os.listdir(tmp_path)) == ["o", "source"]


def test_the_model_is_not_written_over(capsys, tmp_path):
    folder = make(tmp_path, "convnext")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name in ("model.safetensors", "config.json", "model-00001-of-00002.safetensors"):
        line = refusal(capsys, "export", folder, folder / ".." / "o" / name, "--to", "timm", "--force")
        assert "belongs to the model that is read" in line
    source = tmp_path / "source"
    assert "belongs to" in refusal(capsys, "export", source, source, "--to", "timm", "--force")
    assert "is a folder" in refusal(capsys, "export", folder, tmp_path, "--to", "timm", "--force")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert run(capsys, "export", folder, folder / "timm.safetensors", "--to", "timm")[0] == 0


def refusal_of_a_manifest(capsys, folder, tmp_path, content):
    (folder / "npconv_manifest.json").write_text(json.dumps(content))
    return refusal(capsys, "export", folder, tmp_path / "x")


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {"format_version": 2},
        {"format_version": 1, "source": 3},
        {"format_version": 1, "source": {"dialect": 3}},
    ],
)
def test_damaged_manifests(capsys, tmp_path, content):
    folder = make(tmp_path, "convnext")
    refusal_of_a_manifest(capsys, folder, tmp_path, content)
    assert not (tmp_path / "x").exists()


def test_what_a_manifest_says_of_spellings_is_checked(tmp_path):
    folder = make(tmp_path, "convnextv2")
    path = folder / "npconv_manifest.json"
    content = json.loads(path.read_text())
    content["source"] |= {"spellings": {"{scale}": "../x", "{other}": 3}, "layouts": [], "prefix": 7}
    path.write_text(json.dumps(content))
    export(folder, tmp_path / "x")
    assert_same(tmp_path / "x", state_of("convnextv2"))
