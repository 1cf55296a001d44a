"""``python -m weights_tools convert``: what it writes, what it says, and that a refusal leaves nothing behind."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.container_files import call, mapping, name, storage, tensor, text, zip_bytes, zipped
from support.conversion_files import CONFIGS, STEPS, in_dialect, pickled_tensors, refusal, run, state_of

import npconv
from npconv.cli.weights import field
from npconv.convert import convert, dialects, labels
from npconv.convert.preprocessing import crop_share
from npconv.errors import ConfigError, InputError, NpconvError, WeightsError
from npconv.files import safetensors
from npconv.files.checkpoint import load_checkpoint
from npconv.models import convnext
from npconv.models.convnext.published import ARCHITECTURES
from npconv.models.decisions import lines
from weights_tools.__main__ import main

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
FILES = ["config.json", "model.safetensors", "npconv_manifest.json", "preprocessor_config.json"]


@pytest.fixture
def source(tmp_path):
    """A ConvNeXt V2 in Facebook's names, as torch.save writes it."""
    path = tmp_path / "source.pth"
    path.write_bytes(pickled_tensors(in_dialect("convnextv2", "facebook"), wrapping="model"))
    return path


@pytest.fixture
def folder(tmp_path):
    """A ConvNeXt as transformers saves it, small files included."""
    path = tmp_path / "source"
    path.mkdir()
    safetensors.save_file(state_of("convnext"), path / "model.safetensors")
    config = npconv.ConvNextConfig.from_dict(CONFIGS["convnext"].to_dict() | {"drop_path_rate": 0.25, "extra": [1]})
    config.id2label = dict(enumerate(["cat", "dog", "emu", "fox"]))
    config.save_pretrained(path)
    npconv.ConvNextImageProcessor(size=64, crop_pct=0.75, image_mean=0.25).save_pretrained(path)
    return path


def logits(directory, seed=0):
    model = npconv.AutoModelForImageClassification.from_pretrained(directory, dtype="float64")
    return model(np.random.default_rng(seed).standard_normal((2, 3, 33, 37))).logits


def test_what_is_written_and_said(capsys, tmp_path, source):
    status, lines, errors = run(capsys, "convert", source, tmp_path / "made" / "out")
    assert (status, errors) == (0, [])
    directory = tmp_path / "made" / "out"
    assert sorted(os.listdir(directory)) == FILES
    assert sorted(os.listdir(tmp_path)) == ["made", "source.pth"]
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


def test_a_folder_says_more_than_the_tables(tmp_path, folder):
    done = convert(folder, tmp_path / "o")
    config = npconv.AutoConfig.from_pretrained(tmp_path / "o")
    assert config.id2label == {0: "cat", 1: "dog", 2: "emu", 3: "fox"}
    assert (config.drop_path_rate, config.extra, config.dtype) == (0.25, [1], "float32")
    processor = npconv.AutoImageProcessor.from_pretrained(tmp_path / "o")
    assert (processor.size, processor.crop_pct, processor.image_mean) == ({"shortest_edge": 64}, 0.75, 0.25)
    assert "drop_path_rate 0.25: config.json says so" in lines(done.decisions)
    assert "labels: 4 names, from config.json" in lines(done.decisions)
    np.testing.assert_array_equal(logits(tmp_path / "o"), logits(folder))


def test_the_caller_says_more_than_the_folder(capsys, tmp_path, folder):
    (tmp_path / "names").write_text('["a", "b", "c", "d"]')
    options = ["--labels", tmp_path / "names", "--set", "hidden_act=silu", "--image-size", "96", "--crop-pct", "0.5"]
    options += ["--mean", "0.1,0.2,0.3", "--std", "1,2,3", "--resample", "bilinear", "--set", "drop_path_rate=0"]
    status, lines, _ = run(capsys, "convert", folder, tmp_path / "o", *options)
    assert status == 0
    config = npconv.AutoConfig.from_pretrained(tmp_path / "o")
    assert (list(config.id2label.values()), config.label2id["c"]) == (["a", "b", "c", "d"], 2)
    assert (config.hidden_act, config.image_size, config.drop_path_rate) == ("silu", 96, 0)
    processor = npconv.AutoImageProcessor.from_pretrained(tmp_path / "o")
    assert (processor.size, processor.crop_pct, processor.resample) == ({"shortest_edge": 96}, 0.5, 2)
    assert (processor.image_mean, processor.image_std) == ((0.1, 0.2, 0.3), (1, 2, 3))
    assert "hidden_act silu: given" in lines


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"depths": [1, 1, 1]},
            r"config.json contradicts the shapes .*depths \[1, 1, 1\] \(the tensors: \[1, 2, 1\]\)",
        ),
        ({"hidden_sizes": [3, 5, 8]}, r"hidden_sizes \[3, 5, 8\]"),
        ({"patch_size": 2}, r"patch_size 2 \(the tensors: 4\)"),
        ({"layer_scale_init_value": 0}, "layer_scale_init_value 0"),
        ({"model_type": "convnextv2"}, 'says model_type "convnextv2", but the tensors are those of convnext'),
        ({"id2label": {"0": "a", "1": "b", "2": "c"}}, "has 3 classes, but the classifier has 4"),
        ({"model_type": None}, "no model_type"),
        ({"drop_path_rate": "much"}, "drop_path_rate"),
    ],
)
def test_a_config_that_contradicts_the_tensors(capsys, tmp_path, folder, change, message):
    fields = json.loads((folder / "config.json").read_text()) | change
    fields = {key: value for key, value in fields.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(fields))
    with pytest.raises(ConfigError, match=message):
        convert(folder, tmp_path / "o")
    refusal(capsys, "convert", folder, tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_fields_of_the_same_meaning_do_not_contradict(tmp_path, folder):
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(fields | {"patch_size": [4, 4], "layer_scale_init_value": 0.5}))
    config = convert(folder, tmp_path / "o").config
    assert (config.patch_size, config.layer_scale_init_value) == ([4, 4], 0.5)


@pytest.mark.parametrize("eps", [1e-5, 1e-6])
def test_fields_that_transformers_lacks(tmp_path, folder, eps):
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(fields | {"norm_eps": eps}))
    done = convert(folder, tmp_path / "o")
    assert npconv.AutoConfig.from_pretrained(tmp_path / "o").norm_eps == eps
    warned = any(line.startswith("warning: transformers does not know norm_eps: ") for line in lines(done.decisions))
    assert warned == (eps != 1e-6)
    again = convert(folder, tmp_path / "p", norm_eps=1e-4).config
    assert again.norm_eps == 1e-4


def test_timm_says_how_to_prepare_pictures(tmp_path):
    folder = tmp_path / "timm"
    folder.mkdir()
    safetensors.save_file(in_dialect("convnext", "timm"), folder / "model.safetensors")
    rule = {"tag": "in1k", "input_size": [3, 288, 288], "crop_pct": 0.95, "interpolation": "bilinear", "std": [1, 2, 4]}
    (folder / "config.json").write_text(json.dumps({"architecture": "convnext_nix", "pretrained_cfg": rule}))
    assert convert(folder, tmp_path / "o").name == "timm/convnext_nix.in1k"
    processor = npconv.AutoImageProcessor.from_pretrained(tmp_path / "o")
    assert (processor.size, processor.crop_pct, processor.resample) == ({"shortest_edge": 288}, 0.95, 2)
    assert (processor.image_mean, processor.image_std) == ((0.485, 0.456, 0.406), (1, 2, 4))
    (folder / "config.json").write_text(json.dumps({"architecture": "x", "pretrained_cfg": {"input_size": [3, 2, 5]}}))
    with pytest.raises(ConfigError, match="square input_size"):
        convert(folder, tmp_path / "p")


def test_the_share_of_torchvision_gives_its_edges():
    edges = [a.resized["torchvision"] for a in ARCHITECTURES if "torchvision" in a.resized]
    assert len(edges) == 4
    for edge in edges:
        assert int(224 / crop_share(224, edge)) == edge
    assert all(int(224 / crop_share(224, edge)) == edge for edge in range(224, 512))


def test_open_fields_are_asked_for_by_their_option(capsys, tmp_path):
    (tmp_path / "x").write_bytes(pickled_tensors(in_dialect("cvt", "microsoft")))
    message = refusal(capsys, "convert", tmp_path / "x", tmp_path / "o")
    assert "num_heads" in message
    assert "--set 'num_heads=[1,3,6]'" in message
    assert "--set 'stride_kv=[2,2,2]'" in message
    with pytest.raises(WeightsError, match=r"give num_heads=\[1, 3, 6\]"):
        convert(tmp_path / "x", tmp_path / "o")
    done = convert(tmp_path / "x", tmp_path / "o", **STEPS)
    assert done.config.hidden_act == "quick_gelu"
    assert any(line.startswith("warning: transformers computes every CvT with gelu") for line in lines(done.decisions))


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("depths=[1,2,2]", "--set contradicts the shapes of the tensors: depths"),
        ("depht=3", "did you mean depths?"),
        ("num_labels=7", "follows from the tensors"),
        ("layer_norm_eps=small", "layer_norm_eps"),
        ("hidden_act=tanhh", "hidden_act"),
        ("image_size=[1", "expected JSON after image_size="),
        ("=3", "expected a field and a value"),
        ("image_size", "expected a field and a value"),
        ("dtype=float16", "which has its own option"),
        ("fields=1", "got 'fields'"),
        ("tensors=1", "got 'tensors'"),
        (f"image_size={'9' * 5000}", "image_size"),
        (f"image_size={'[' * 5000}", "expected JSON after image_size="),
    ],
)
def test_fields_that_make_no_sense(capsys, tmp_path, source, field, message):
    assert message in refusal(capsys, "convert", source, tmp_path / "o", "--set", field)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dtype", "int8"], "invalid choice"),
        (["--max-shard-size", "many"], "max_shard_size"),
        (["--mean", "1,2"], "expected image_mean to have 3 numbers"),
        (["--std", "0,1,1"], "without zeros"),
        (["--mean", "red"], "expected numbers such as"),
        (["--crop-pct", "0"], "crop_pct"),
        (["--crop-pct", "nan"], "crop_pct"),
        (["--crop-pct", "1.01"], "expected crop_pct above 0 and at most 1"),
        (["--image-size", "96", "--set", "image_size=97"], "contradict each other"),
        (["--image-size", "0"], "image_size"),
        (["--image-size", "9999999"], "image_size"),
        (["--resample", "best"], "resampling filter"),
        (["--wrapping", "ema"], "'ema'"),
        (["--labels", "nowhere"], "nowhere"),
        (["--no-such-option"], "unrecognized"),
    ],
)
def test_options_that_make_no_sense(capsys, tmp_path, source, options, message):
    assert message in refusal(capsys, "convert", source, tmp_path / "o", *options)
    assert sorted(os.listdir(tmp_path)) == ["source.pth"]


LABELS = {
    "one a line": "cat\ndog\nemu\nfox\n",
    "windows": "\ufeffcat\r\ndog\r\nemu\r\nfox",
    "a list": '["cat", "dog", "emu", "fox"]',
    "a dict turned round": '{"dog": 1, "cat": 0, "fox": 3, "emu": 2}',
    "a dict": '{"1": "dog", "0": "cat", "3": "fox", "2": "emu"}',
}


@pytest.mark.parametrize("content", LABELS.values(), ids=LABELS)
def test_labels(tmp_path, source, content):
    (tmp_path / "names").write_bytes(content.encode())
    config = convert(source, tmp_path / "o", labels=tmp_path / "names").config
    assert list(config.id2label.items()) == [(0, "cat"), (1, "dog"), (2, "emu"), (3, "fox")]


WRONG_LABELS = {
    "too few": ("cat\ndog\nemu", "expected 4 names of classes"),
    "too many": ('["a","b","c","d","e"]', "has 5"),
    "an empty line": ("cat\n\nemu\nfox", "line 2 is empty"),
    "a gap": ('{"0": "cat", "2": "dog", "3": "emu", "4": "fox"}', "without a gap"),
    "no numbers": ('{"cat": "0"}', "without a gap"),
    "a number twice": ('{"cat": 0, "dog": 1, "emu": 1, "fox": 2}', "without a gap"),
    "no names": ("[1, 2, 3, 4]", "a list of names"),
    "no JSON": ('["cat",', "begins as JSON"),
    "nothing": ("", "a list of names"),
    "deep": ("[" * 100_000, "begins as JSON"),
    "no text": (b"\xff\xfe\x00", "UTF-8"),
}


@pytest.mark.parametrize(("content", "message"), WRONG_LABELS.values(), ids=WRONG_LABELS)
def test_labels_that_do_not_fit(capsys, tmp_path, source, content, message):
    (tmp_path / "names").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert message in refusal(capsys, "convert", source, tmp_path / "o", "--labels", tmp_path / "names")


def test_too_large_a_file_of_labels(capsys, tmp_path, source, monkeypatch):
    (tmp_path / "names").write_text("cat\ndog\nemu\nfox\n")
    monkeypatch.setattr(labels, "MAX_BYTES", 15)
    line = refusal(capsys, "convert", source, tmp_path / "o", "--labels", tmp_path / "names")
    assert "expected at most 15 bytes of names of classes" in line
    monkeypatch.setattr(labels, "MAX_BYTES", 16)
    assert run(capsys, "convert", source, tmp_path / "o", "--labels", tmp_path / "names")[0] == 0


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


@pytest.mark.parametrize(("dtype", "stored"), [("float64", "F64"), ("float16", "F16"), ("bfloat16", "BF16")])
def test_dtypes(tmp_path, source, dtype, stored):
    done = convert(source, tmp_path / "o", dtype=dtype)
    entries = safetensors.read_header(tmp_path / "o" / "model.safetensors").entries
    assert {entry.dtype for entry in entries.values()} == {stored}
    assert (done.dtype, done.config.dtype) == (dtype, dtype)
    expected = {"F64": np.float64, "F16": np.float16}.get(stored)
    for key, value in load_checkpoint(tmp_path / "o").items():
        exact = state_of("convnextv2")[key]
        if expected is None:  # the nearest of the numbers with 8 bits of mantissa
            assert np.abs(value - exact).max() <= 2.0**-8 * np.abs(exact).max()
            assert not (value.view(np.uint32) & 0xFFFF).any()
        else:
            np.testing.assert_array_equal(value, exact.astype(expected), strict=True)


def save_with(path, value, dtype=np.float32):
    tensors = {name: tensor.astype(dtype) for name, tensor in state_of("convnext").items()}
    tensors["convnext.layernorm.bias"][2] = value
    safetensors.save_file(tensors, path)


@pytest.mark.parametrize(
    ("value", "source_dtype", "dtype", "fits"),
    [
        (65519.0, np.float32, "float16", True),
        (65520.0, np.float32, "float16", False),
        (-1e6, np.float32, "float16", False),
        (1e6, np.float32, "bfloat16", True),
        (3.39e38, np.float32, "bfloat16", True),
        (3.4e38, np.float32, "bfloat16", False),
        (1e39, np.float64, "float32", False),
        (3.4028235e38, np.float64, "float32", True),
        (1e300, np.float64, "bfloat16", False),
        (6e4, np.float16, "float32", True),
    ],
)
def test_overflow_is_refused(capsys, tmp_path, value, source_dtype, dtype, fits):
    save_with(tmp_path / "x.safetensors", value, source_dtype)
    words = ["convert", tmp_path / "x.safetensors", tmp_path / "o", "--dtype", dtype]
    if fits:
        assert run(capsys, *words)[0] == 0
        assert np.isfinite(load_checkpoint(tmp_path / "o")["convnext.layernorm.bias"]).all()
    else:
        message = refusal(capsys, *words)
        assert "'convnext.layernorm.bias' has numbers" in message
        assert f"which {dtype} cannot hold" in message
        assert os.listdir(tmp_path) == ["x.safetensors"]


def test_what_becomes_zero_or_is_not_finite_is_said(tmp_path):
    save_with(tmp_path / "x.safetensors", 1e-8)
    said = lines(convert(tmp_path / "x.safetensors", tmp_path / "o", dtype="float16").decisions)
    assert "warning: 1 numbers too small for float16 became 0, most in convnext.layernorm.bias" in said
    save_with(tmp_path / "x.safetensors", np.nan)
    said = lines(convert(tmp_path / "x.safetensors", tmp_path / "p", dtype="float16").decisions)
    assert any("NaN or infinity: 1 in convnext.layernorm.bias" in line for line in said)
    assert np.isnan(load_checkpoint(tmp_path / "p")["convnext.layernorm.bias"][2])


def test_weights_with_nan_are_written_and_reported(capsys, tmp_path):
    save_with(tmp_path / "x.safetensors", np.inf)
    status, lines, errors = run(capsys, "convert", tmp_path / "x.safetensors", tmp_path / "o")
    assert status == 1
    assert errors[-1].startswith("weights_tools: warning: the weights hold NaN or infinity: 1 in convnext.layernorm")
    assert lines[-1].startswith("wrote ")
    assert not any(line.startswith("warning: ") for line in lines)
    assert sorted(os.listdir(tmp_path / "o")) == FILES


@pytest.mark.parametrize("code", ["F8_E4M3", "F8_E5M2"])
def test_8_bit_floats_become_float32(tmp_path, code):
    state = {key: np.round(value) for key, value in state_of("convnext").items()}  # of -5 to 5: held by both
    kept = {key for key in state if "layernorm" in key}
    path = tmp_path / "x.safetensors"
    safetensors.save_file(state, path, dtypes={key: code for key in state if key not in kept})
    done = convert(path, tmp_path / "o")
    assert done.dtype == done.config.dtype == "float32"
    assert any(line.startswith("dtype float32: the 8-bit floats of the source") for line in lines(done.decisions))
    stored = load_checkpoint(tmp_path / "o")
    for key, value in state.items():
        np.testing.assert_array_equal(stored[key], value, strict=True)
    assert convert(path, tmp_path / "p", dtype="bfloat16").dtype == "bfloat16"


def test_integers_are_no_weights(tmp_path):
    tensors = state_of("convnext") | {"classifier.bias": np.arange(4)}
    safetensors.save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match=r"'classifier.bias' is stored as I64, expected floating-point"):
        convert(tmp_path / "x.safetensors", tmp_path / "o")


def test_bfloat16_keeps_its_bits(tmp_path):
    state = in_dialect("convnextv2", "timm")
    safetensors.save_file(state, tmp_path / "x.safetensors", dtypes=dict.fromkeys(state, "BF16"))
    assert convert(tmp_path / "x.safetensors", tmp_path / "o").dtype == "bfloat16"
    entries = safetensors.read_header(tmp_path / "o" / "model.safetensors").entries
    assert {entry.dtype for entry in entries.values()} == {"BF16"}
    before = safetensors.load_file(tmp_path / "x.safetensors")
    after = load_checkpoint(tmp_path / "o")
    for key, value in dialects.to_hugging_face(before, dialects.detect(before)).items():
        np.testing.assert_array_equal(after[key], value)


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


def nested(tensors):
    """Return a file of torch.save with the tensors in two dicts."""
    stored, groups = {}, {}
    for index, (key, value) in enumerate(tensors.items()):
        place, _, rest = key.partition(".")
        strides = np.cumprod([1, *value.shape[:0:-1]])[::-1].tolist()
        made = tensor(storage(str(index), value.size), value.shape, strides)
        groups.setdefault(place, {})[rest] = made
        stored[str(index)] = np.ascontiguousarray(value).reshape(-1)
    return zipped(mapping(**{place: mapping(**group) for place, group in groups.items()}), stored)


RUN = text("touch canary")
STORED = storage("0", 24)
HOSTILE = {
    "os.system": (zipped(mapping(a=call("os", "system", RUN))), "os.system"),
    "builtins.eval": (zipped(mapping(a=call("builtins", "eval", text("open('canary', 'w')")))), "builtins.eval"),
    "nested": (zipped(mapping(a=call("collections", "OrderedDict", b"](" + call("os", "system", RUN) + b"e"))), "os.s"),
    "getattr": (zipped(mapping(a=call("builtins", "getattr", name("os", "path"), text("os")))), "builtins.getattr"),
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


def test_other_models_are_refused(capsys, tmp_path):
    safetensors.save_file({"conv1.weight": np.zeros((3, 3))}, tmp_path / "x.safetensors")
    assert "expected tensors named as" in refusal(capsys, "convert", tmp_path / "x.safetensors", tmp_path / "o")
    state = state_of("convnext") | {"convnext.layernorm.extra": np.zeros(3, np.float32)}
    safetensors.save_file(state, tmp_path / "x.safetensors")
    message = refusal(capsys, "convert", tmp_path / "x.safetensors", tmp_path / "o")
    assert "no place for tensor 'convnext.layernorm.extra'" in message
    del state["convnext.layernorm.extra"], state["convnext.layernorm.bias"]
    safetensors.save_file(state, tmp_path / "x.safetensors")
    assert "lacks convnext.layernorm.bias" in refusal(capsys, "convert", tmp_path / "x.safetensors", tmp_path / "o")
    assert os.listdir(tmp_path) == ["x.safetensors"]


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
    assert (status, errors) == (0, [])
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


@pytest.mark.parametrize("dtype", [None, "float16", "bfloat16", "float64"])
def test_tensors_are_in_memory_one_at_a_time(tmp_path, dtype):
    """The file is mapped; beside it there are copies of the largest tensor, not of the model."""
    config = npconv.ConvNextConfig(hidden_sizes=[96] * 4, depths=[20, 20, 20, 20], num_labels=0)
    rng = np.random.default_rng(0)
    shapes = {f"convnext.{name}": shape for name, shape in convnext.model_shapes(config).items()}
    state = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    (tmp_path / "x").write_bytes(pickled_tensors(state))
    largest = max(value.nbytes for value in state.values())
    total = (tmp_path / "x").stat().st_size
    assert total > 100 * largest
    del state
    tracemalloc.start()
    try:
        convert(tmp_path / "x", tmp_path / "o", dtype=dtype)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Eight bytes a number in place of four, two tensors on their way, and what rounding to bfloat16 takes. The rest is
    # names, the header, the reading buffer and imports.
    assert peak < 20 * largest + 6_000_000
    assert peak < total / 2


def test_debug_shows_where(capsys, tmp_path):
    assert main(["convert", str(tmp_path / "none"), str(tmp_path / "o"), "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_help_and_nothing_at_all(capsys):
    assert main([]) == 2
    assert "convert" in capsys.readouterr().out
    for words in (["--help"], ["convert", "--help"], ["train", "--help"], ["evaluate", "--help"]):
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


@given(st.text(max_size=30))
def test_any_text_as_afield(text):
    """Either a field, or the error that argparse shows as one line."""
    import argparse

    try:
        name, _ = field(text)
    except argparse.ArgumentTypeError:
        return
    assert text.startswith(f"{name}=")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
FIELDS = st.dictionaries(st.sampled_from(sorted(CONFIGS["convnext"].to_dict())), VALUES, max_size=3)


@given(fields=FIELDS)
def test_any_config_beside_the_weights(tmp_path_factory, fields):
    """A model whose parameters are the tensors, or an error of the project; never a model that does not load."""
    folder = tmp_path_factory.mktemp("any")
    safetensors.save_file(state_of("convnext"), folder / "model.safetensors")
    content = {"model_type": "convnext", **CONFIGS["convnext"].to_dict(), **fields}
    (folder / "config.json").write_text(json.dumps(content))
    message = ""
    try:
        convert(folder, folder / "o")
    except NpconvError as error:
        message = str(error)
    assert "\n" not in message
    if message:
        assert not (folder / "o").exists()
    else:
        npconv.ConvNextForImageClassification.from_pretrained(folder / "o")


@given(fields=FIELDS)
def test_any_field_from_the_caller(tmp_path_factory, fields):
    folder = tmp_path_factory.mktemp("any")
    safetensors.save_file(state_of("convnext"), folder / "x.safetensors")
    message = ""
    try:
        convert(folder / "x.safetensors", folder / "o", **fields)
    except NpconvError as error:
        message = str(error)
    assert "\n" not in message
    if message:
        assert not (folder / "o").exists()
    else:
        npconv.ConvNextForImageClassification.from_pretrained(folder / "o")


def test_settings_that_are_none(tmp_path, source):
    with pytest.raises(InputError, match="settings of the preprocessing"):
        convert(source, tmp_path / "o", preprocessing={"sizes": 3})
