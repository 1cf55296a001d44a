"""``npconv classify`` with models that are broken in every way: one line, exit status 2."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.cli_samples import classify, rewrite

from npconv.files import safetensors

Capsys = pytest.CaptureFixture[str]


def drop_tensor(folder: Path) -> None:
    """Remove a tensor from the weights."""
    tensors = dict(safetensors.load_file(folder / "model.safetensors"))
    del tensors["classifier.bias"]
    safetensors.save_file(tensors, folder / "model.safetensors")


BROKEN_MODELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), "no such file"),
    "config is no JSON": (lambda f: (f / "config.json").write_text("{"), "expected JSON"),
    "config is no text": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"), "expected JSON"),
    "config is a list": (lambda f: (f / "config.json").write_text("[]"), "expected a JSON object"),
    "config is nested without end": (lambda f: (f / "config.json").write_text("[" * 10**5), "expected JSON"),
    "config is a folder": (lambda f: [(f / "config.json").unlink(), (f / "config.json").mkdir()], "cannot be read"),
    "another family": (lambda f: rewrite(f / "config.json", model_type="vit"), "expected model_type to be one of"),
    "no family": (lambda f: rewrite(f / "config.json", model_type=None), "expected model_type to be one of"),
    "a list of families": (
        lambda f: rewrite(f / "config.json", model_type=["vit"]),
        "expected model_type to be one of",
    ),
    "a negative width": (lambda f: rewrite(f / "config.json", hidden_sizes=[-6, 10]), "hidden_sizes[0]"),
    "another number of stages": (lambda f: rewrite(f / "config.json", num_stages=3), "num_stages"),
    "unknown activation": (lambda f: rewrite(f / "config.json", hidden_act="tan"), "hidden_act"),
    "no classes": (lambda f: rewrite(f / "config.json", id2label={}), ""),
    "other widths": (lambda f: rewrite(f / "config.json", hidden_sizes=[7, 10]), "has shape"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no model.safetensors"),
    "empty weights": (lambda f: (f / "model.safetensors").write_bytes(b""), "HeaderTooSmall"),
    "truncated weights": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-1]),
        "InvalidOffset",
    ),
    "weights that are text": (lambda f: (f / "model.safetensors").write_text("version https://"), "HeaderTooLarge"),
    "a tensor is missing": (drop_tensor, "lacks 'classifier.bias'"),
    "index that leads outside": (
        lambda f: [
            (f / "model.safetensors").rename(f.parent / "outside.safetensors"),
            (f / "model.safetensors.index.json").write_text('{"weight_map": {"x": "../outside.safetensors"}}'),
        ],
        "'../outside.safetensors'",
    ),
    "no preprocessing": (lambda f: (f / "preprocessor_config.json").unlink(), "preprocessor_config.json"),
    "preprocessing is no JSON": (lambda f: (f / "preprocessor_config.json").write_text("size: 16"), "JSON"),
    "another preprocessing": (
        lambda f: rewrite(f / "preprocessor_config.json", image_processor_type="CLIPImageProcessor"),
        "CLIPImageProcessor",
    ),
    "impossible preprocessing": (lambda f: rewrite(f / "preprocessor_config.json", size=-3), "size"),
}


@pytest.mark.parametrize("name", BROKEN_MODELS)
def test_a_broken_model_is_one_line(capsys: Capsys, own_model: Path, photos: list[str], name: str) -> None:
    break_it, reason = BROKEN_MODELS[name]
    break_it(own_model)
    status, out, errors = classify(capsys, own_model, photos[0], "--format", "json")
    assert (status, out, len(errors)) == (2, "", 1)
    assert errors[0].startswith("npconv: error: ")
    assert reason in errors[0]
    assert "unexpected" not in errors[0]


def test_a_model_that_is_not_there(capsys: Capsys, own_model: Path, photos: list[str]) -> None:
    shutil.rmtree(own_model)
    status, out, errors = classify(capsys, own_model, photos[0])
    assert (status, out, len(errors)) == (2, "", 1)
    assert f"no model '{own_model}'" in errors[0]
