"""``npconv trace``: what is in the file, what is said of it, and what is refused."""

import hashlib
import io
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.cli_samples import rewrite

from npconv import AutoConfig, AutoImageProcessor, AutoModelForImageClassification
from npconv.cli import main
from npconv.golden.made import draw_labels
from npconv.golden.preprocessing import DECODED
from npconv.golden.trace_file import load_trace
from npconv.images import open_image

pytestmark = pytest.mark.long

PREPROCESSING = [
    DECODED,
    *(f"preprocessing.{name}" for name in ("resized", "cropped", "rescaled", "normalized")),
    "pixel_values",
]

#: What is said of any photo: it is one, and square once it is cropped.
OF_A_PHOTO = (
    "hidden: one picture, square pictures may hide a mistake; npconv trace --make MODEL draws what hides none\n"
)


@pytest.fixture
def photo(photos) -> str:
    return next(photo for photo in photos if os.path.basename(photo) == "upright.jpg")


def run(capsys, *words: object) -> tuple[int, str, str]:
    """Run the command; return its status, stdout and stderr."""
    status = main(["trace", *map(str, words)])
    output = capsys.readouterr()
    return status, output.out, output.err


def test_the_trace_of_a_photo(capsys, model, photo, tmp_path) -> None:
    out = tmp_path / "out.safetensors"
    status, said, errors = run(capsys, model, photo, "-o", out)
    trace = load_trace(out)
    assert (status, errors) == (0, "")
    size = out.stat().st_size
    first, rest = said.split("\n", 1)
    assert first == f"{len(trace)} tensors and {len(trace.params)} weights, {size} bytes, {out}"
    assert rest.startswith("hidden: GRN of weight 0 (4 of 4), norms of")
    assert rest.endswith(OF_A_PHOTO.removeprefix("hidden: "))
    assert list(trace) == [*PREPROCESSING, *(step.name for step in trace.plan)]
    picture = open_image(photo)
    np.testing.assert_array_equal(trace[DECODED], np.asarray(picture), strict=True)
    pixel_values = AutoImageProcessor.from_pretrained(model)(picture)["pixel_values"]
    np.testing.assert_array_equal(trace["pixel_values"], pixel_values, strict=True)
    exact = AutoModelForImageClassification.from_pretrained(model, dtype="float64")
    np.testing.assert_array_equal(trace["classifier"], exact(pixel_values).logits, strict=True)
    assert trace.about["photo"] == hashlib.sha256(Path(photo).read_bytes()).hexdigest()
    assert trace.about["preprocessing"]["settings"]["size"] == {"shortest_edge": 16}
    assert trace.about["layouts"][DECODED] == "HWC"
    assert trace.about["noise"]["classifier"]["fast"] > 0
    again = tmp_path / "again.safetensors"
    assert run(capsys, model, photo, "-o", again)[0] == 0
    assert again.read_bytes() == out.read_bytes()


@pytest.mark.parametrize("form", ["t.npz", "t", "t.json"])
def test_other_forms(capsys, model, photo, tmp_path, form) -> None:
    status, said, _ = run(capsys, model, photo, "-o", tmp_path / form, "--no-noise", "--no-weights")
    trace = load_trace(tmp_path / form)
    files = [*tmp_path.rglob("*")]
    size = sum(file.stat().st_size for file in files if file.is_file())
    assert (status, said) == (0, f"{len(trace)} tensors, {size} bytes, {tmp_path / form}\n{OF_A_PHOTO}")
    assert list(trace.params) == []
    assert "noise" not in trace.about


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_pixel_values_from_a_file(capsys, model, photo, tmp_path, suffix) -> None:
    assert run(capsys, model, photo, "-o", tmp_path / "first.safetensors")[0] == 0
    first = load_trace(tmp_path / "first.safetensors")
    source = tmp_path / f"first{suffix}"
    if suffix == ".npy":
        np.save(source, first["pixel_values"])
    assert run(capsys, model, source, "-o", tmp_path / "second.safetensors")[0] == 0
    second = load_trace(tmp_path / "second.safetensors")
    assert list(second) == ["pixel_values", *(step.name for step in second.plan)]
    for name, array in second.items():
        np.testing.assert_array_equal(array, first[name], strict=True)
    assert second.about["input"] == first.about["input"]
    assert second.about.get("photo") is None


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["preprocessing.*"], [*PREPROCESSING]),
        (["preprocessing.resized", "classifier"], ["preprocessing.resized", "pixel_values", "classifier"]),
        (["pixel_values"], ["pixel_values"]),
        (["*ed"], [*(name for name in PREPROCESSING if name.endswith("ed")), "pixel_values", "convnextv2.pooled"]),
        (["stages.0.layers.0.grn.*"], None),
        (["encoder.stages.0.layers.0.grn.*"], [
            "pixel_values",
            *(f"convnextv2.encoder.stages.0.layers.0.grn.{part}" for part in ("strength", "relative")),
        ]),
    ],
)  # fmt: skip
def test_patterns(capsys, model, photo, tmp_path, patterns, names) -> None:
    words = [word for pattern in patterns for word in ("--only", pattern)]
    out = tmp_path / "out.npz"
    status, _, errors = run(capsys, model, photo, "-o", out, *words)
    if names is None:
        assert status == 2
        assert "fits none" in errors
        return
    trace = load_trace(out)
    assert (status, list(trace)) == (0, names)
    used = {name for step in trace.plan if step.name in trace for name in step.params.values()}
    assert set(trace.params) == used


def test_float32(capsys, model, photo, tmp_path) -> None:
    out = tmp_path / "out.safetensors"
    assert run(capsys, model, photo, "-o", out, "--dtype", "float32")[0] == 0
    trace = load_trace(out)
    assert {array.dtype for name, array in trace.items() if name not in PREPROCESSING} == {np.dtype("float32")}
    assert trace.about["dtype"] == "float32"
    logits = AutoModelForImageClassification.from_pretrained(model)(trace["pixel_values"]).logits
    np.testing.assert_array_equal(trace["classifier"], logits, strict=True)


def test_a_photo_on_standard_input(capsys, model, photo, tmp_path, monkeypatch) -> None:
    content = Path(photo).read_bytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    assert run(capsys, model, "-", "-o", tmp_path / "a.safetensors")[0] == 0
    assert run(capsys, model, photo, "-o", tmp_path / "b.safetensors")[0] == 0
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    monkeypatch.setattr(sys, "stdin", None)
    status, _, errors = run(capsys, model, "-", "-o", tmp_path / "c.safetensors")
    assert (status, "standard input is closed" in errors) == (2, True)


@pytest.mark.parametrize(
    ("source", "out", "message"),
    [
        ("gone.png", "t.npz", "gone.png: cannot be opened"),
        ("text.png", "t.npz", "not a picture"),
        (".", "t.npz", "expected one picture, found 2 in this folder; give one of them"),
        ("gone.npy", "t.npz", "does not exist"),
        ("text.npy", "t.npz", "does not begin as a .npy file does"),
        ("flat.npy", "t.npz", "expected pixel_values as numbers of shape (N, C, H, W)"),
        ("small.npy", "t.npz", "expected pixel_values of shape (N, 3, H, W)"),
        ("text.safetensors", "t.npz", "HeaderTooLarge"),
        ("good.png", "t.pt", "expected a .safetensors, .npz or .json file or a folder without suffix"),
        ("good.png", "gone/t.npz", "there is no folder"),
        ("good.png", ".", "new or empty folder"),
    ],
)
def test_what_is_refused(capsys, model, photo, tmp_path, monkeypatch, source, out, message) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("text.png", "text.npy", "text.safetensors"):
        Path(name).write_text("no picture, no array, no tensors")
    np.save("flat.npy", np.zeros((3, 16, 16)))
    np.save("small.npy", np.zeros((1, 2, 16, 16)))
    open_image(photo).save("good.png")
    status, said, errors = run(capsys, model, source, "-o", out)
    assert (status, said) == (2, "")
    assert message in errors
    assert errors.startswith("npconv: error: ")
    assert errors.count("\n") == 1
    assert not Path("t.npz").exists()


def test_models_that_are_refused(capsys, own_model, photo, tmp_path) -> None:
    status, _, errors = run(capsys, "gone", photo, "-o", tmp_path / "t.npz")
    assert (status, "no model 'gone'" in errors) == (2, True)
    rewrite(own_model / "config.json", hidden_act="nonsense")
    status, _, errors = run(capsys, own_model, photo, "-o", tmp_path / "t.npz")
    assert (status, errors.count("\n")) == (2, 1)


def test_a_file_without_pixel_values(capsys, model, tmp_path) -> None:
    weights = model / "model.safetensors"
    status, _, errors = run(capsys, model, weights, "-o", tmp_path / "b.safetensors")
    assert status == 2
    assert "expected a tensor 'pixel_values'" in errors


def test_the_noise_of_a_recorded_run(photo, tmp_path, capsys) -> None:
    run, golden = str(tmp_path / "run.npz"), tmp_path / "golden.safetensors"
    assert main(["trace", "convnextv2-cifar10", photo, "-o", run, "--dtype", "float32", "--no-weights"]) == 0
    assert main(["trace", "convnextv2-cifar10", photo, "-o", str(golden), "--noise-of", run]) == 0
    assert "recorded" in load_trace(golden).about["noise"]["classifier"]
    assert main(["trace", "convnextv2-cifar10", photo, "-o", str(golden), "--noise-of", photo]) == 2
    assert "npconv: error: " in capsys.readouterr().err


def test_a_folder_with_one_picture(capsys, model, photo, tmp_path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    shutil.copy(photo, folder)
    (folder / "notes.txt").write_text("notes")
    for source, name in ((photo, "file.npz"), (str(folder), "folder.npz")):
        status, _, errors = run(capsys, model, source, "-o", str(tmp_path / name), "--only", "preprocessing.*")
        assert status == 0
    assert errors == f"npconv trace: {folder}: 1 picture; 1 file left out, not pictures\n"
    expected, found = np.load(tmp_path / "file.npz"), np.load(tmp_path / "folder.npz")
    np.testing.assert_array_equal(found["pixel_values"], expected["pixel_values"])


def test_gradients(capsys, model, photo, tmp_path) -> None:
    out, mine = tmp_path / "out.safetensors", tmp_path / "mine.npz"
    status, said, errors = run(capsys, model, photo, "-o", out, "--gradients", "--label", "1")
    assert (status, errors) == (0, "")
    found = load_trace(out)
    assert said.startswith(f"{len(found)} tensors and ")
    assert found["labels"].tolist() == [1]
    assert {"loss", "loss.grad", "pixel_values.grad", "classifier.weight.grad"} <= set(found)
    assert run(capsys, model, photo, "-o", mine, "--gradients", "--label", "1", "--dtype", "float32")[0] == 0
    assert main(["diff", str(out), str(mine)]) == 0
    assert run(capsys, model, photo, "-o", mine, "--gradients", "--label", "0", "--dtype", "float32")[0] == 0
    assert main(["diff", str(out), str(mine)]) == 2
    assert "different labels: [1] and [0]" in capsys.readouterr().err


def test_gradients_of_a_model_that_is_made_have_labels_that_are_drawn(capsys, model, tmp_path) -> None:
    out = tmp_path / "out.npz"
    status, _, _ = run(
        capsys, "--make", model, "-o", out, "--gradients", "--training", "--seed", "2", "--size", "32x40"
    )
    assert status == 0
    config = AutoConfig.from_pretrained(model)
    assert (
        load_trace(out)["labels"].tolist() == draw_labels(config, 2, 2).tolist() != draw_labels(config, 2, 0).tolist()
    )
    status, _, _ = run(capsys, "--make", model, "-o", out, "--gradients", "--label", "0,1", "--size", "32x40")
    assert status == 0
    assert load_trace(out)["labels"].tolist() == [0, 1]


def test_patterns_of_gradients(capsys, model, photo, tmp_path) -> None:
    out = tmp_path / "out.npz"
    words = ("--gradients", "--label", "1", "--only", "classifier*.grad")
    assert run(capsys, model, photo, "-o", out, *words)[0] == 0
    assert {name for name in load_trace(out) if name.startswith("classifier")} == {
        *("classifier.grad", "classifier.weight.grad", "classifier.bias.grad")
    }


def test_the_list_has_gradients(capsys, model) -> None:
    status, said, _ = run(capsys, model, "--list", "--gradients", "--names", "timm")
    names = [line.split()[0] for line in said.splitlines()]
    assert status == 0
    assert {"head.fc.grad", "stages.0.blocks.0.mlp.fc1.weight.grad", "loss"} <= set(names)
    assert not any(".grad." in name for name in names)
    assert ".grad" not in run(capsys, model, "--list")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--gradients"], "expected labels for the gradients of a classifier"),
        (["--gradients", "--label", "1,2"], "expected 1 integer labels, got shape (2,)"),
        (["--gradients", "--label", "1000"], "expected labels from 0 to"),
        (["--gradients", "--label", "cat"], "expected numbers, such as 3 or 3,5, got 'cat'"),
        (["--label", "1"], "expected --gradients beside --label"),
        (["--seed", "1"], "expected --make beside --seed"),
    ],
)
def test_labels_that_are_refused(capsys, model, photo, tmp_path, words, message) -> None:
    status, said, errors = run(capsys, model, photo, "-o", tmp_path / "out.npz", *words)
    assert (status, said) == (2, "")
    assert message in errors
    assert not (tmp_path / "out.npz").exists()
