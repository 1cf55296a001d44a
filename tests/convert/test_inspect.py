"""``python -m weights_tools inspect``: what a file is, also one that nobody knows."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from support.conversion_files import CONFIGS, in_dialect, nested, pickled_tensors, refusal, run, state_of

from npconv.convert import inspect
from npconv.convert.inspect import licence_note
from npconv.files import safetensors
from npconv.models import convnext


def write(path, tensors):
    path.write_bytes(pickled_tensors(tensors, wrapping="model"))
    return path


def as_json(capsys, path, status=0):
    found, lines, errors = run(capsys, "inspect", path, "--format", "json")
    assert (found, errors) == (status, [])
    return json.loads("\n".join(lines))


def test_a_known_file(capsys, tmp_path):
    path = write(tmp_path / "x.pth", in_dialect("convnextv2", "facebook"))
    found = as_json(capsys, path)
    assert (found["container"], found["wrapping"]) == ("PyTorch zip", "model")
    assert (found["dialect"], found["family"], found["problems"]) == ("facebook", "convnextv2", [])
    assert found["bytes"] == path.stat().st_size
    state = state_of("convnextv2")
    assert found["parameters"] == sum(value.size for value in state.values())
    assert found["dtypes"] == {"F32": found["parameters"]}
    assert found["configuration"]["depths"] == CONFIGS["convnextv2"].depths
    assert found["configuration"]["num_labels"] == 4
    assert found["tensors"]["downsample_layers.0.0.weight"] == {"dtype": "F32", "shape": [3, 3, 4, 4]}
    kinds = {kind["name"]: kind for kind in found["kinds"]}
    kind = kinds["convnextv2.encoder.stages.*.layers.*.dwconv.weight"]
    values = np.concatenate([value.ravel() for name, value in state.items() if name.endswith("dwconv.weight")])
    assert (kind["tensors"], kind["values"]) == (4, values.size)
    assert (kind["least"], kind["most"]) == (values.min(), values.max())
    assert kind["mean_abs"] == pytest.approx(np.abs(values).mean(dtype=np.float64), rel=1e-12)
    assert sum(kind["values"] for kind in kinds.values()) == found["parameters"]
    assert os.listdir(tmp_path) == ["x.pth"]


def test_the_text(capsys, tmp_path):
    path = write(tmp_path / "x.pth", in_dialect("convnext", "timm"))
    status, lines, _ = run(capsys, "inspect", path)
    assert status == 0
    assert any(line.startswith("dialect timm: ") for line in lines)
    assert any(line.startswith("configuration: ") and 'hidden_act "gelu"' in line for line in lines)
    assert any(line.split()[:2] == ["convnext.encoder.stages.*.layers.*.pwconv1.weight", "4"] for line in lines)


def test_numbers_that_are_none(capsys, tmp_path):
    state = in_dialect("convnext", "timm")
    state["head.fc.bias"][:3] = np.nan, np.inf, -np.inf
    state["stem.0.bias"][:] = np.nan
    found = as_json(capsys, write(tmp_path / "x", state), status=1)
    assert found["not_finite"] == {"convnext.embeddings.patch_embeddings.bias": 3, "classifier.bias": 3}
    assert found["problems"] == ["6 values are NaN or infinite"]
    kinds = {kind["name"]: kind for kind in found["kinds"]}
    only = float(state["head.fc.bias"][3])
    assert (kinds["classifier.bias"]["least"], kinds["classifier.bias"]["most"]) == (only, only)
    assert kinds["convnext.embeddings.patch_embeddings.bias"]["least"] is None
    lines = run(capsys, "inspect", tmp_path / "x")[1]
    assert "NaN or infinity: 3 in classifier.bias" in lines


def test_an_unknown_file_is_described(capsys, tmp_path):
    tensors = {f"conv{index}.weight": np.full((2, 3), index, np.float16) for index in range(50)}
    safetensors.save_file(tensors, tmp_path / "x")
    found = as_json(capsys, tmp_path / "x", status=1)
    assert (found["dialect"], found["configuration"]) == ("", {})
    assert len(found["tensors"]) == 50
    assert "expected tensors named as one of" in found["problems"][0]
    status, lines, _ = run(capsys, "inspect", tmp_path / "x")
    assert status == 1
    assert "conv17.weight F16 (2, 3)" in lines
    assert "and 10 more; --format json lists all" in lines
    assert lines[-1].startswith("problem: expected tensors named as one of")


def test_a_tensor_too_many_is_named(capsys, tmp_path):
    state = in_dialect("convnext", "timm") | {"stem.9.weight": np.zeros((3, 3), np.float32)}
    found = as_json(capsys, write(tmp_path / "x", state), status=1)
    assert "no place for tensor 'stem.9.weight' of shape (3, 3)" in found["problems"][0]
    assert found["parameters"] == sum(value.size for value in state.values())


def test_open_fields_are_asked_for(capsys, tmp_path):
    path = write(tmp_path / "x", in_dialect("cvt", "microsoft"))
    status, lines, _ = run(capsys, "inspect", path)
    assert status == 1
    assert "--set 'num_heads=[1,3,6]'" in lines[-1]
    found = as_json(capsys, path, status=1)
    assert (found["dialect"], found["family"]) == ("microsoft", "cvt")


def test_what_else_is_in_the_file(capsys, tmp_path):
    first = {f"model.{key}": value for key, value in in_dialect("convnext", "facebook").items()}
    second = {f"model_ema.{key}": value for key, value in in_dialect("convnext", "facebook").items()}
    (tmp_path / "x").write_bytes(nested(first | second))
    found = as_json(capsys, tmp_path / "x")
    assert found["other_wrappings"] == {"model_ema": len(second)}
    status, lines, errors = run(capsys, "inspect", tmp_path / "x")
    assert (status, len(errors)) == (0, 1)
    assert errors[0].startswith("weights_tools: warning: the file has another model")
    assert errors[0].endswith("--wrapping model_ema takes it")
    assert not any("warning" in line for line in lines)
    state = in_dialect("convnext", "open_clip") | {"logit_scale": np.array(3.0, np.float32)}
    assert as_json(capsys, write(tmp_path / "y", state))["left_behind"] == ["logit_scale"]


def test_a_name_with_a_line_break_stays_on_its_line(capsys, tmp_path):
    safetensors.save_file({"a\nb\x1b[31m": np.zeros(3)}, tmp_path / "x")
    lines = run(capsys, "inspect", tmp_path / "x")[1]
    assert "a\\nb\\x1b[31m F64 (3,)" in lines


def test_no_file(capsys, tmp_path):
    assert "does not exist" in refusal(capsys, "inspect", tmp_path / "none")
    assert "got an empty text" in refusal(capsys, "inspect", "")


@pytest.mark.parametrize(
    ("family", "dialect", "words"),
    [
        ("convnext", "facebook", "ConvNeXt: MIT"),
        ("convnextv2", "huggingface", "CC-BY-NC"),
        ("convnextv2", "timm", "CC-BY-NC"),
        ("convnext", "timm", "several licences"),
        ("convnext", "torchvision", "BSD"),
        ("cvt", "microsoft", "CvT: MIT"),
    ],
)
def test_licences(family, dialect, words):
    assert words in licence_note(family, dialect, True)
    assert licence_note(family, dialect, False) is None


def test_the_licence_of_a_published_architecture(tmp_path):
    from npconv import ConvNextConfig

    shapes = convnext.model_shapes(ConvNextConfig(hidden_sizes=[40, 80, 160, 320], depths=[2, 2, 6, 2]))
    state = {f"convnext.{name}": np.zeros(shape, np.float16) for name, shape in shapes.items()}
    safetensors.save_file(state, tmp_path / "x.safetensors")
    assert "MIT" in inspect(tmp_path / "x.safetensors").licence
