"""``--names`` of ``npconv diff`` and ``npconv trace``, and the list of names."""

import json
import os

import numpy as np
import pytest

from npconv.cli import main
from npconv.convert.modules import module_dialects
from npconv.golden.listing import list_tensors
from npconv.golden.trace_file import load_trace

pytestmark = pytest.mark.long

SMALL = ("--no-noise", "--no-weights")


def run(capsys, *words: object) -> tuple[int, str, str]:
    """Run a command; return its status, stdout and stderr."""
    status = main([*map(str, words)])
    output = capsys.readouterr()
    return status, output.out, output.err


@pytest.fixture(scope="module")
def traces(tmp_path_factory, model):
    """A folder with pixel values, their golden trace, and one in float32 in the names of timm, without metadata."""
    folder = tmp_path_factory.mktemp("named")
    np.save(folder / "x.npy", np.random.default_rng(0).normal(size=(1, 3, 16, 16)).astype(np.float32))
    words = [str(model), str(folder / "x.npy")]
    assert main(["trace", *words, "-o", str(folder / "golden.safetensors")]) == 0
    assert main(["trace", *words, "-o", str(folder / "t.npz"), "--names", "timm", "--dtype", "float32", *SMALL]) == 0
    np.savez(folder / "mine.npz", **{name: array for name, array in load_trace(folder / "t.npz").items()})
    return folder


def test_names_of_a_library(capsys, traces):
    words = [traces / "golden.safetensors", traces / "mine.npz"]
    status, out, errors = run(capsys, "diff", *words, "--names", "timm", "--json")
    values = json.loads(out)
    assert (status, errors, values["extra"], values["missing"]) == (0, "", [], [])
    assert values["names"]["dialect"] == "timm"
    assert values["names"]["paired"] == values["names"]["total"] == len(load_trace(words[1])) - 1
    assert "names: those in MINE are taken for those of timm; --names timm says so" in run(capsys, "diff", *words)[1]
    status, _, errors = run(capsys, "diff", *words, "--names", "torchvision")
    assert (status, "libraries that have ConvNeXt V2: timm, facebook, open_clip, mmpretrain" in errors) == (2, True)


def test_a_file_that_is_called_like_a_library(capsys, traces, monkeypatch):
    monkeypatch.chdir(traces)
    np.savez("head.npz", pixel_values=np.load("x.npy"), scores=load_trace("mine.npz")["head.fc"])
    (traces / "timm").write_text(json.dumps({"scores": "classifier"}))
    assert run(capsys, "diff", "golden.safetensors", "head.npz", "--names", "./timm")[0] == 0
    status, _, errors = run(capsys, "diff", "golden.safetensors", "head.npz", "--names", "timm")
    assert (status, "no name of MINE is in REFERENCE: 'scores'" in errors) == (2, True)
    status, _, errors = run(capsys, "diff", "golden.safetensors", "head.npz", "--names", "tim")
    assert (status, "give --names a JSON file or one of timm, facebook" in errors) == (2, True)


def test_the_help_tells_the_libraries(capsys):
    for command in ("diff", "trace"):
        said = " ".join(run(capsys, command, "--help")[1].split())
        assert all(name in said for name in module_dialects())


def test_a_trace_in_the_names_of_a_port(capsys, traces, model):
    (traces / "names.json").write_text(json.dumps({"head": "classifier", "first": "embeddings"}))
    words = ["trace", model, "-o", traces / "port.safetensors", "--names", traces / "names.json", traces / "x.npy"]
    status, _, errors = run(capsys, *words)
    assert (status, "'embeddings' (for 'first'), which the trace lacks; did you mean" in errors) == (2, True)
    (traces / "names.json").write_text(json.dumps({"head": "classifier", "first": "convnextv2.embeddings"}))
    assert run(capsys, *words)[0] == 0
    assert {"head", "first"} <= set(load_trace(traces / "port.safetensors"))
    assert run(capsys, "diff", traces / "golden.safetensors", traces / "port.safetensors")[0] == 0
    np.savez(
        traces / "two.npz", pixel_values=np.load(traces / "x.npy"), head=load_trace(traces / "mine.npz")["head.fc"]
    )
    assert run(capsys, "diff", traces / "port.safetensors", traces / "two.npz")[0] == 0


def test_the_list(capsys, model):
    status, out, errors = run(capsys, "trace", model, "--list")
    found = list_tensors(model, size=(16, 16))
    assert (status, errors, len(out.splitlines())) == (0, "", len(found) + 1)
    assert out.splitlines()[1].split() == ["pixel_values", "1x3x16x16", "NCHW"]
    first = "convnextv2.embeddings.layernorm"
    assert f"{first} 1x6x4x4 NCHW convnextv2.embeddings" in " ".join(out.split())
    _, out, _ = run(capsys, "trace", model, "--list", "--json", "--names", "timm", "--only", "embeddings.*")
    values = json.loads(out)
    assert [value["name"] for value in values] == ["pixel_values", "stem.0", "stem.1"]
    assert values[2]["shape"] == [1, 6, 4, 4]
    assert values[2]["aliases"][-2:] == [first, "convnextv2.embeddings"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: PHOTO, -o/--output"),
        (["x.png"], "the following arguments are required: -o/--output"),
        (["--list", "x.png"], "--list is of the model alone, got a PHOTO too"),
        (["--list", "-o", "x.npz"], "--list is of the model alone, got --output too"),
        (["x.png", "-o", "x.npz", "--json"], "--json is for --list; a trace is written as JSON by --output FILE.json"),
        (["--list", "--names", "tim"], "give --names a JSON file or one of timm"),
        (["--list", "--only", "x"], "expected names or patterns of names, got 'x', which fits none"),
    ],
)
def test_calls_that_are_refused(capsys, model, words, said):
    status, out, errors = run(capsys, "trace", model, *words)
    assert (status, out, said in errors, len(errors.splitlines())) == (2, "", True, 1)
    assert not os.path.exists("x.npz")
