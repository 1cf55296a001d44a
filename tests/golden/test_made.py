"""Models that are made hide nothing, and models as they begin hide most: both are said of a trace."""

from __future__ import annotations

import json

import numpy as np
import pytest

import npconv
from npconv.cli import main
from npconv.errors import NpconvError
from npconv.golden.compare import compare
from npconv.golden.hidden import hidden, says
from npconv.golden.listing import list_tensors
from npconv.golden.made import config_of, make, usual_size
from npconv.golden.mistakes import MISTAKES, apply
from npconv.golden.report import to_text
from npconv.golden.trace_file import PIXELS, Trace, load_trace
from npconv.golden.tracing import hash_array, hash_parameters
from npconv.golden.truth import record
from npconv.golden.values import to_values
from npconv.hub.catalogue import catalogue
from npconv.plan.run import run_plan

STAGED = {"num_stages": 2, "hidden_sizes": [6, 10], "depths": [1, 1], "num_labels": 5, "image_size": 64}
CVT = {"embed_dim": [6, 8], "num_heads": [1, 2], "depth": [1, 1], "cls_token": [False, True], "image_size": 64}
CONFIGS = {
    "convnext": npconv.ConvNextConfig(**STAGED),
    "convnextv2": npconv.ConvNextV2Config(**STAGED),
    "cvt": npconv.CvtConfig(**CVT, **{name: [value] * 2 for name, value in {
        "patch_sizes": 3, "patch_stride": 2, "patch_padding": 1, "mlp_ratio": 2.0, "attention_drop_rate": 0.0,
        "drop_rate": 0.0, "drop_path_rate": 0.0, "qkv_bias": True, "qkv_projection_method": "dw_bn", "kernel_qkv": 3,
        "padding_kv": 1, "stride_kv": 2, "padding_q": 1, "stride_q": 1}.items()}),
    "dinov3_convnext": npconv.DINOv3ConvNextConfig(hidden_sizes=[4, 6, 8, 10], depths=[1, 1, 1, 1], image_size=64),
}  # fmt: skip


def file_of(tmp_path, family):
    """A ``config.json`` and no more."""
    CONFIGS[family].to_json_file(tmp_path / "config.json")
    return tmp_path / "config.json"


@pytest.mark.parametrize("family", CONFIGS)
def test_what_is_made_hides_nothing(tmp_path, family):
    model, pixel_values = make(file_of(tmp_path, family))
    golden = record(model, pixel_values)
    assert pixel_values.shape == (2, 3, 64, 95)
    assert hidden(golden) == []
    for name, array in model.state_dict().items():
        if array.size > 1:
            assert np.ptp(array) > 0, name
            assert not np.isin(array, (0, 1)).any(), name
    # Noise stays small, so that mistakes are seen to the end.
    last = golden[golden.plan.outputs[0]]
    assert max(golden.about["noise"][golden.plan.outputs[0]].values()) < 1e-5 * np.abs(last).max()


@pytest.mark.parametrize("family", CONFIGS)
def test_a_model_as_it_begins_hides_most(tmp_path, family):
    model, pixel_values = make(file_of(tmp_path, family))
    fresh = type(model)(model.config, seed=0)
    found = {one.kind: one for one in hidden(record(fresh, pixel_values, noise=False))}
    own = {"convnext": {"layer scale"}, "convnextv2": {"grn"}, "dinov3_convnext": {"layer scale"}}.get(family, set())
    assert set(found) == {"norm", "bias", *own}
    assert all(one.count == one.total for one in found.values())


def test_a_mistake_that_first_values_hide_is_seen_in_what_is_made(tmp_path):
    """GRN's strength over the batch: nothing of it is left where GRN's weight is 0."""
    model, pixel_values = make(file_of(tmp_path, "convnextv2"))
    [mistake] = [mistake for mistake in MISTAKES if mistake.name == "grn-sum"]
    seen = []
    for one in (model, type(model)(model.config, seed=0)):
        golden = record(one, pixel_values)
        wrong, function_of = apply(mistake, golden.plan)
        steps = run_plan(wrong, {PIXELS: pixel_values}, golden.params, function_of)
        logits = {step.name: array for step, array in steps if step.name == "classifier"}
        comparison = compare(golden, {PIXELS: pixel_values, **logits})
        seen.append((comparison.first is not None, [one.kind for one in comparison.hidden]))
    assert seen == [(True, []), (False, ["grn", "norm", "bias"])]


def test_the_report_says_what_may_hide_a_mistake(tmp_path):
    model, pixel_values = make(file_of(tmp_path, "convnextv2"))
    golden = record(type(model)(model.config, seed=0), pixel_values, noise=False)
    comparison = compare(golden, {name: array.astype(np.float32) for name, array in golden.items()})
    assert (
        "\nhidden: GRN of weight 0 (2 of 2), norms of weight 1 and bias 0 (5 of 5), biases of 0 (9 of 9) may hide a "
        "mistake; npconv trace --make MODEL draws what hides none\n"
    ) in to_text(comparison)
    first = to_values(comparison)["hidden"][0]
    assert first == {"kind": "grn", "count": 2, "total": 2, "first": "convnextv2.encoder.stages.0.layers.0.grn"}


PICTURES = np.random.default_rng(0).standard_normal((2, 3, 8, 9)).astype(np.float32)
SQUARE = PICTURES[..., :8]


@pytest.mark.parametrize(
    ("pixel_values", "kinds"),
    [
        (PICTURES, []),
        (PICTURES[:1], ["one"]),
        (SQUARE, ["square"]),
        (np.ones_like(PICTURES), ["constant", "alike"]),
        (PICTURES * 0 + np.float32([1, 2, 3])[:, None, None], ["constant", "alike"]),
        (PICTURES * np.float32([1, 0, 1])[:, None, None], ["channel"]),
        (PICTURES[:, :1].repeat(3, axis=1), ["grey"]),
        (PICTURES[:, :1] * np.float32([1, 2, 3])[:, None, None] + np.float32([4, 5, 6])[:, None, None], ["grey"]),
        (PICTURES[:, :1], []),
        (PICTURES[:1].repeat(2, axis=0), ["alike"]),
        (PICTURES + PICTURES[:, :, ::-1], ["mirrored"]),
        (PICTURES + PICTURES[:, :, :, ::-1], ["mirrored"]),
        (SQUARE + SQUARE.transpose(0, 1, 3, 2), ["mirrored", "square"]),
        (np.full((1, 3, 8, 8), np.nan, np.float32), []),
        (np.float32([3e38, -3e38, 1]) * np.ones((2, 3, 2, 3), np.float32), ["grey", "alike", "mirrored"]),
        (np.full((1, 3, 8, 9), np.inf, np.float32), []),
        (PICTURES[:0], []),
        (PICTURES[0], []),
        (np.zeros((1, 3, 8, 8), np.uint8), []),
    ],
)
def test_pictures_that_hide_mistakes(pixel_values, kinds):
    trace = Trace()
    trace.add(PIXELS, pixel_values)
    assert [one.kind for one in hidden(trace)] == kinds
    assert says(hidden(trace)).endswith("draws what hides none" if kinds else "")


def test_a_comparison_says_nothing_of_what_every_photo_has():
    arrays = {PIXELS: SQUARE[:1], "logits": np.float32([[1, 2]])}
    assert compare(arrays, arrays).hidden == []
    assert [one.kind for one in hidden(arrays)] == ["one", "square"]


@pytest.mark.parametrize("name", ["convnext-cifar10", "convnextv2-cifar10", "cvt-cifar10"])
def test_a_trained_model_hides_nothing_of_note(name):
    """One norm of the included CvT has kept its first values."""
    golden = record(name, np.random.default_rng(0).normal(size=(1, 3, 32, 32)), noise=False)
    assert all(one.is_usual for one in hidden(golden))
    assert compare(golden, {name: array.astype(np.float32) for name, array in golden.items()}).hidden == []


def test_the_same_numbers_for_a_seed():
    first, again, other = (make("convnextv2-cifar10", seed=seed) for seed in (0, 0, 1))
    hashes = [(hash_parameters(model.state_dict()), hash_array(pictures)) for model, pictures in (first, again, other)]
    assert hashes[0] == hashes[1]
    assert not set(hashes[0]) & set(hashes[2])
    # The same on every machine: the stream of PCG64, and products that are rounded to float32.
    assert first[1].flat[0] == np.float32(1.125551)


def test_published_models_are_made_without_the_hub(no_network):
    for published in catalogue():
        config = config_of(published.name)
        assert (config.model_type, config.image_size) == (published.family, published.input)
        assert not published.classes or config.num_labels == published.classes
        height, width = usual_size(config)
        assert (height, width % 32) == (published.input, 31)


def test_pictures_are_of_the_size_of_the_preprocessing():
    """The configuration of CvT holds none, so the default of 224 would do for it: 10 GB of attention in this one."""
    name = "cvt-cifar10"
    assert make(name)[1].shape == (2, 3, 32, 63)
    assert list_tensors(name)[0].shape == (1, 3, 32, 32)


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("something was downloaded")

    monkeypatch.setattr("socket.socket.connect", refuse)


@pytest.mark.parametrize("arguments", [{"seed": -1}, {"pictures": 0}, {"size": (0, 9)}, {"size": (10**6, 10**6)}])
def test_numbers_that_are_refused(arguments):
    with pytest.raises(NpconvError, match="expected a seed of at least 0 and pictures of at least 1"):
        make("convnextv2-cifar10", **arguments)


def test_from_nothing_to_a_verdict(tmp_path, capsys):
    """A porter without a checkpoint: a trace, and the folder that the port loads."""
    source, golden, folder = file_of(tmp_path, "cvt"), tmp_path / "golden.safetensors", tmp_path / "model"
    words = ["trace", "--make", str(source), "-o", str(golden), "--checkpoint", str(folder), "--size", "40x57"]
    assert main([*words, "--pictures", "3", "--seed", "7"]) == 0
    said = capsys.readouterr().out
    assert "hidden" not in said
    trace = load_trace(golden)
    assert trace[PIXELS].shape == (3, 3, 40, 57)
    assert trace.about["model"] == "config.json made of seed 7"
    model = npconv.AutoModelForImageClassification.from_pretrained(folder)
    assert hash_parameters(model.state_dict()) == trace.about["checkpoint"]
    mine = tmp_path / "mine.npz"
    np.savez(mine, logits=model(trace[PIXELS]).logits)
    assert main(["diff", str(golden), str(mine)]) == 0
    assert "no divergence" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["MODEL"], "required: PHOTO"),
        (["MODEL", "a.png", "--make"], "expected no PHOTO beside --make"),
        (["MODEL", "a.png", "--seed", "1"], "expected --make beside --seed"),
        (["MODEL", "a.png", "--checkpoint", "new"], "expected --make beside --checkpoint"),
        (["MODEL", "--make", "--checkpoint", "full"], "expected a new or empty folder for --checkpoint, or --force"),
        (["MODEL", "--make", "--size", "8x"], "expected pixels, such as 224 or 224x256"),
        (["MODEL", "--make", "--size", "8x9x7"], "expected pixels, such as 224 or 224x256"),
        (["gone", "--make"], "no model 'gone'"),
        (["full", "--make"], "no such file; a model needs its config.json"),
    ],
)
def test_calls_that_are_refused(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("notes")
    words = ["convnextv2-cifar10" if word == "MODEL" else word for word in words]
    try:
        status = main(["trace", *words, "-o", "t.npz"])
    except SystemExit as end:
        status = end.code
    said = capsys.readouterr()
    assert (status, said.out) == (2, "")
    assert message in said.err
    assert not (tmp_path / "t.npz").exists()


@pytest.mark.parametrize("output", ["model", "model/model.safetensors", "model/config.json"])
def test_a_trace_is_not_written_over_its_checkpoint(tmp_path, monkeypatch, capsys, output):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    assert main(["trace", "--make", "convnextv2-cifar10", "-o", output, "--checkpoint", "model"]) == 2
    assert "that is written by --checkpoint; give the trace another --output" in capsys.readouterr().err
    assert not list((tmp_path / "model").iterdir())


def test_force_lets_the_checkpoint_be_written_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["trace", "--make", "convnextv2-cifar10", "-o", "t.npz", "--checkpoint", "model", "--no-noise", "--force"]
    assert main([*words, "--size", "32"]) == main([*words, "--seed", "1", "--size", "32"]) == 0
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["architectures"] == ["ConvNextV2ForImageClassification"]
    assert load_trace("t.npz").about["checkpoint"] == hash_parameters(
        npconv.AutoModelForImageClassification.from_pretrained("model").state_dict()
    )
