"""What decides the configuration, the preprocessing and the names of the classes of a converted model."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.conversion_files import (
    CONFIGS,
    STEPS,
    in_dialect,
    logits,
    pickled_tensors,
    refusal,
    run,
    state_of,
)

import npconv
from npconv.cli.weights import field
from npconv.convert import configuring, convert
from npconv.convert.preprocessing import crop_share
from npconv.errors import ConfigError, InputError, NpconvError, WeightsError
from npconv.files import safetensors
from npconv.models.convnext.published import ARCHITECTURES
from npconv.models.naming import lines

pytestmark = pytest.mark.long


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
    (folder / "config.json").write_text(json.dumps({"architecture": "x", "pretrained_cfg": {"input_size": [3, 2]}}))
    with pytest.raises(ConfigError, match="expected input_size"):
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
    "infinite": ("[1e999, 2, 3, 4]", "begins as JSON"),
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
    monkeypatch.setattr(configuring, "LARGEST_LABELS", 15)
    line = refusal(capsys, "convert", source, tmp_path / "o", "--labels", tmp_path / "names")
    assert "expected at most 15 bytes of names of classes" in line
    monkeypatch.setattr(configuring, "LARGEST_LABELS", 16)
    assert run(capsys, "convert", source, tmp_path / "o", "--labels", tmp_path / "names")[0] == 0


@given(st.text(max_size=30))
def test_any_text_as_a_field(text):
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
