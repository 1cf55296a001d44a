"""Every option and next step that a message of a conversion names is tried on the input that brings the message."""

from __future__ import annotations

import json
import re
import shlex

import numpy as np
import pytest
from support.container_files import call, mapping, storage, tensor, zipped
from support.conversion_files import STEPS, in_dialect, nested, pickled_tensors, run, state_of

import npconv
from npconv.convert import convert, dialects, inspect, translate
from npconv.files import safetensors

pytestmark = pytest.mark.long


def refused(capsys, *words):
    """Run a command that must fail with one line; return the line."""
    status, _, errors = run(capsys, *words)
    assert (status, len(errors)) == (2, 1)
    return errors[0]


def done(capsys, *words):
    """Run a command that must not fail; return its lines and warnings."""
    status, lines, errors = run(capsys, *words)
    assert status == 0, errors
    return lines, errors


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.save_file(in_dialect("convnext", "timm"), path)
    return path


def test_force(capsys, tmp_path, weights):
    done(capsys, "convert", weights, tmp_path / "out")
    assert "--force replaces them" in refused(capsys, "convert", weights, tmp_path / "out")
    done(capsys, "convert", weights, tmp_path / "out", "--force")
    done(capsys, "export", tmp_path / "out", tmp_path / "back.safetensors")
    assert "--force replaces it" in refused(capsys, "export", tmp_path / "out", tmp_path / "back.safetensors")
    done(capsys, "export", tmp_path / "out", tmp_path / "back.safetensors", "--force")


def test_to(capsys, tmp_path, weights):
    (tmp_path / "new").mkdir()
    assert "give --to" in refused(capsys, "export", weights, tmp_path / "new" / "x.safetensors")
    named = refused(capsys, "export", weights, tmp_path / "new" / "back.pth", "--to", "facebook")
    name = re.search(r"'([^']*)' would do", named)[1]
    done(capsys, "export", weights, tmp_path / "new" / name, "--to", "facebook")


def test_wrapping_takes_the_average_with_its_counter(capsys, tmp_path):
    """A file of torch.save with the model and an AveragedModel, which counts."""
    path = tmp_path / "checkpoint.pth"
    averaged = {f"module.{name}": tensor * 2 for name, tensor in in_dialect("convnext", "timm").items()}
    path.write_bytes(
        nested(
            {f"model.{name}": tensor for name, tensor in in_dialect("convnext", "timm").items()}
            | {f"model_ema.{name}": tensor for name, tensor in averaged.items()}
            | {"model_ema.n_averaged": np.zeros(1, np.float32)}
        )
    )
    _, warnings = done(capsys, "convert", path, tmp_path / "first")
    option = re.search(r"--wrapping \S+", warnings[0])[0]
    lines, _ = done(capsys, "convert", path, tmp_path / "second", *shlex.split(option))
    assert any("a number that training kept: 'n_averaged'" in line for line in lines)
    found = safetensors.load_file(tmp_path / "second" / "model.safetensors")["classifier.weight"]
    np.testing.assert_array_equal(found, 2 * state_of("convnext")["classifier.weight"])


def test_wrapping_takes_a_model_of_any_name_beside_the_one_that_is_taken(capsys, tmp_path):
    path, theirs = tmp_path / "checkpoint.pth", in_dialect("convnext", "timm")
    twice = {f"ema.{name}": tensor * 2 for name, tensor in theirs.items()}
    path.write_bytes(nested({f"encoder.{name}": tensor for name, tensor in theirs.items()} | twice))
    _, warnings = done(capsys, "convert", path, tmp_path / "first")
    option = re.search(r"another model.*(--wrapping encoder) takes it", warnings[0])[1]
    done(capsys, "convert", path, tmp_path / "second", *shlex.split(option))
    found = safetensors.load_file(tmp_path / "second" / "model.safetensors")["classifier.weight"]
    np.testing.assert_array_equal(found, state_of("convnext")["classifier.weight"])


def test_a_sparse_weight_is_named_as_the_one_that_is_not_read(capsys, tmp_path):
    theirs = in_dialect("convnext", "timm")
    stored = {name: value.ravel() for name, value in theirs.items()}
    parts = {
        name: tensor(storage(name, value.size), value.shape, np.cumprod([1, *value.shape[:0:-1]])[::-1].tolist())
        for name, value in theirs.items()
    }
    parts["head.fc.weight"] = call("torch._utils", "_rebuild_sparse_tensor", b"N")
    (tmp_path / "x.pth").write_bytes(zipped(mapping(**parts), stored))
    assert "sparse or the like: 'head.fc.weight'" in refused(capsys, "convert", tmp_path / "x.pth", tmp_path / "out")


def test_weights_in_8_bits_without_scales_are_named(capsys, tmp_path):
    state = {n: t.astype(np.int8) if t.ndim > 1 else t for n, t in state_of("convnext").items()}
    safetensors.save_file(state, tmp_path / "x.safetensors")
    assert "quantised weights" in refused(capsys, "convert", tmp_path / "x.safetensors", tmp_path / "out")


def test_model_type(capsys, tmp_path):
    state = {name: tensor for name, tensor in state_of("convnext").items() if not name.startswith("classifier")}
    safetensors.save_file(
        translate.from_hugging_face(state, dialects.dialect("timm", state)), tmp_path / "x.safetensors"
    )
    lines, _ = done(capsys, "convert", tmp_path / "x.safetensors", tmp_path / "out")
    option = re.search(r"--set model_type=\S+", "\n".join(lines))[0]
    done(capsys, "convert", tmp_path / "x.safetensors", tmp_path / "other", *shlex.split(option))
    assert json.loads((tmp_path / "other" / "config.json").read_text())["model_type"] == "dinov3_convnext"


def test_open_fields(capsys, tmp_path):
    safetensors.save_file(in_dialect("cvt", "microsoft"), tmp_path / "x.safetensors")
    message = refused(capsys, "convert", tmp_path / "x.safetensors", tmp_path / "out")
    examples = re.findall(r"--set '(\w+)=", message)
    assert sorted(examples) == sorted(STEPS)
    words = [word for name in examples for word in ("--set", f"{name}={json.dumps(STEPS[name])}")]
    done(capsys, "convert", tmp_path / "x.safetensors", tmp_path / "out", *words)


def test_hidden_act(capsys, tmp_path, weights):
    lines, _ = done(capsys, "convert", weights, tmp_path / "out")
    names = [name for name in ("hidden_act", "norm_eps") if any(f"--set {name}=..." in line for line in lines)]
    assert names == ["hidden_act", "norm_eps"]
    done(capsys, "convert", weights, tmp_path / "two", "--set", "hidden_act=silu", "--set", "norm_eps=1e-5")
    config = json.loads((tmp_path / "two" / "config.json").read_text())
    assert (config["hidden_act"], config["norm_eps"], config["layer_norm_eps"]) == ("silu", 1e-5, 1e-5)


def test_labels(capsys, tmp_path, weights):
    (tmp_path / "names").write_text("cat\ndog\nemu\nfox\n")
    lines, _ = done(capsys, "convert", weights, tmp_path / "out")
    assert any("--labels takes them" in line for line in lines)
    done(capsys, "convert", weights, tmp_path / "named", "--labels", tmp_path / "names")
    assert npconv.AutoConfig.from_pretrained(tmp_path / "named").id2label[1] == "dog"
    bare = {n: t for n, t in state_of("convnext").items() if not n.startswith("classifier")}
    safetensors.save_file(bare, tmp_path / "bare.safetensors")
    words = ("convert", tmp_path / "bare.safetensors", tmp_path / "bare")
    assert "leave --labels out" in refused(capsys, *words, "--labels", tmp_path / "names")
    done(capsys, *words)


def test_preprocessing(capsys, tmp_path, weights):
    lines, _ = done(capsys, "convert", weights, tmp_path / "out")
    named = re.findall(r"--[a-z-]+", next(line for line in lines if line.startswith("preprocessing")))
    given = {"--image-size": "96", "--crop-pct": "0.9", "--mean": "0.1,0.2,0.3", "--std": "1,2,3", "--resample": "box"}
    assert sorted(named) == sorted(given)
    words = [word for option in named for word in (option, given[option])]
    done(capsys, "convert", weights, tmp_path / "told", *words)
    settings = json.loads((tmp_path / "told" / "preprocessor_config.json").read_text())
    assert settings["size"] == {"shortest_edge": 96}
    assert (settings["crop_pct"], settings["image_mean"], settings["image_std"]) == (0.9, [0.1, 0.2, 0.3], [1, 2, 3])


def test_mean_and_deviation_in_the_file(capsys, tmp_path):
    pictures = {"pixel_mean": np.full((3, 1, 1), 120.0), "pixel_std": np.full((3, 1, 1), 58.0)}
    safetensors.save_file(in_dialect("convnext", "timm", prefix="model.") | pictures, tmp_path / "x.safetensors")
    _, warnings = done(capsys, "convert", tmp_path / "x.safetensors", tmp_path / "out")
    assert "--mean and --std: 'pixel_mean', 'pixel_std'" in warnings[0]
    words = ("--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25")
    done(capsys, "convert", tmp_path / "x.safetensors", tmp_path / "told", *words)


def test_contradictions(capsys, tmp_path, weights):
    message = refused(capsys, "convert", weights, tmp_path / "out", "--set", "depths=[1,1,1]")
    assert "--set contradicts the shapes" in message
    assert "leave these fields out" in message
    done(capsys, "convert", weights, tmp_path / "out")


def test_a_wider_dtype(capsys, tmp_path):
    tensors = in_dialect("convnext", "timm")
    safetensors.save_file(tensors | {"head.fc.bias": np.full(4, 1e5, np.float32)}, tmp_path / "x.safetensors")
    words = ("convert", tmp_path / "x.safetensors", tmp_path / "out", "--dtype")
    assert "choose a wider dtype" in refused(capsys, *words, "float16")
    done(capsys, *words, "bfloat16")


def test_the_folder_and_the_file(capsys, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text('{"a": 1}')
    safetensors.save_file(in_dialect("convnext", "timm"), folder / "model.safetensors")
    assert "give the path of the weights" in refused(capsys, "convert", folder, tmp_path / "out")
    lines, _ = done(capsys, "convert", folder / "model.safetensors", tmp_path / "out")
    assert any("is not used: give the folder for that" in line for line in lines)
    done(capsys, "convert", tmp_path / "out", tmp_path / "again")


def test_inspect_shows_a_model_of_another_architecture(capsys, tmp_path):
    strange = in_dialect("convnext", "timm") | {"stages.0.blocks.0.attn.qkv.weight": np.zeros((3, 4))}
    safetensors.save_file(strange, tmp_path / "x.safetensors")
    assert "npconv inspect shows the whole of it" in refused(
        capsys, "convert", tmp_path / "x.safetensors", tmp_path / "o"
    )
    assert "stages.0.blocks.0.attn.qkv.weight" in inspect(tmp_path / "x.safetensors").tensors
    status, lines, _ = run(capsys, "inspect", tmp_path / "x.safetensors")
    assert status in (0, 1)
    assert lines


def test_prefixes_and_patterns_that_are_not_there(capsys, tmp_path):
    safetensors.save_file(in_dialect("convnext", "timm", prefix="model."), tmp_path / "x.safetensors")
    words = ("convert", tmp_path / "x.safetensors", tmp_path / "out")
    message = refused(capsys, *words, "--prefix", "net.")
    prefix = re.search(r"there are (\S+)", message)[1]
    assert "expected --leave to be a pattern of names" in refused(capsys, *words, "--leave", "fc.*")
    assert "'*' takes all tensors away" in refused(capsys, *words, "--leave", "*")
    done(capsys, *words, "--prefix", prefix)


@pytest.mark.parametrize("options", [[], ["--prefix", "student."], ["--leave", "teacher.*"]])
def test_inspect_takes_the_same_options(capsys, tmp_path, options):
    two = in_dialect("convnext", "timm", prefix="student.")
    other = {name.replace("student", "teacher"): tensor + 1 for name, tensor in two.items()}
    path = tmp_path / "x.pth"
    path.write_bytes(pickled_tensors(two | other))
    status, lines, errors = run(capsys, "inspect", path, *options)
    assert any("2 models" in line for line in [*lines, *errors]) != bool(options)
    assert status == (0 if options else 1)


def test_the_names_of_the_source_come_back_with_a_head_of_several_modules(tmp_path):
    theirs = {name.replace("head.fc.", "head.fc.2."): t for name, t in in_dialect("convnext", "timm").items()}
    safetensors.save_file(theirs, tmp_path / "x.safetensors")
    convert(tmp_path / "x.safetensors", tmp_path / "out")
    npconv.convert.export(tmp_path / "out", tmp_path / "back.safetensors")
    assert safetensors.load_file(tmp_path / "back.safetensors").keys() == theirs.keys()
