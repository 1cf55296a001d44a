"""``npconv diff``: exit statuses, broken and hostile traces, and its other forms of output."""

import json
import os
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from npconv import ConvNextV2Config, ConvNextV2ForImageClassification
from npconv.cli import main
from npconv.golden.trace_file import Trace, load_trace
from npconv.golden.tracing import trace

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the trace of a small model in float64, the same in float32, and one that leaves it."""
    folder = tmp_path_factory.mktemp("traces")
    config = ConvNextV2Config(num_stages=2, hidden_sizes=[6, 10], depths=[1, 1], initializer_range=0.5)
    pixels = np.random.default_rng(0).normal(size=(1, 3, 32, 40)).astype(np.float32)
    weights = ConvNextV2ForImageClassification(config, seed=1).state_dict()
    for dtype in ("float64", "float32"):
        model = ConvNextV2ForImageClassification(config, weights, dtype=dtype)
        with trace() as recorded:
            model(pixels)
        recorded.params.update(weights if dtype == "float64" else {})
        recorded.save(folder / f"{dtype}.safetensors")
    change(folder, "wrong", "classifier", lambda x: x + np.float32(0.5))
    return folder


def change(folder: Path, name: str, tensor: str, how) -> None:
    """Save the trace in float32 with a tensor changed."""
    recorded = load_trace(folder / "float32.safetensors")
    altered = Trace(recorded.about)
    for key, array in recorded.items():
        altered.add(key, how(array) if key == tensor else array)
    altered.save(folder / f"{name}.safetensors")


def diff(capsys: Capsys, *words: object) -> tuple[int, str, list[str]]:
    """Exit status, standard output, and the lines of standard error."""
    status = main(["diff", *map(str, words)])
    out, errors = capsys.readouterr()
    return status, out, errors.splitlines()


def test_the_same(capsys: Capsys, traces: Path) -> None:
    status, out, errors = diff(capsys, traces / "float64.safetensors", traces / "float32.safetensors")
    assert (status, errors) == (0, [])
    assert out.startswith("no divergence in ")
    assert "input: the same" in out
    assert f"reference  {traces / 'float64.safetensors'}: " in out
    assert f"mine       {traces / 'float32.safetensors'}: " in out


def test_a_divergence(capsys: Capsys, traces: Path) -> None:
    status, out, errors = diff(capsys, traces / "float64.safetensors", traces / "wrong.safetensors")
    assert (status, errors) == (1, [])
    assert out.startswith("first divergence: classifier (")
    assert "born here: the step classifier" in out


def test_json_junit_and_repro(capsys: Capsys, traces: Path, tmp_path: Path) -> None:
    words = ["--json", "--junit", tmp_path / "diff.xml", "--save-repro", tmp_path / "repro"]
    status, out, _ = diff(capsys, traces / "float64.safetensors", traces / "wrong.safetensors", *words)
    values = json.loads(out)
    assert (status, values["first"], values["diverges"]) == (1, "classifier", True)
    assert values["repro"] == str(tmp_path / "repro" / "run.py")
    assert (tmp_path / "repro" / "run.py").exists()
    failure = ET.parse(tmp_path / "diff.xml").find(".//failure")
    assert failure is not None
    assert str(failure.text).startswith("first divergence: classifier")


def test_json_and_repro_of_what_is_the_same(capsys: Capsys, traces: Path, tmp_path: Path) -> None:
    words = ["--json", "--junit", tmp_path / "diff.xml", "--save-repro", tmp_path / "repro"]
    status, out, _ = diff(capsys, traces / "float64.safetensors", traces / "float32.safetensors", *words)
    assert (status, json.loads(out)["repro"]) == (0, None)
    assert not (tmp_path / "repro").exists()
    assert ET.parse(tmp_path / "diff.xml").find(".//failure") is None


def test_infinity_in_json_is_text(capsys: Capsys, traces: Path) -> None:
    change(traces, "nan", "classifier", lambda x: np.full_like(x, np.nan))
    status, out, _ = diff(capsys, traces / "float64.safetensors", traces / "nan.safetensors", "--json")
    assert (status, json.loads(out)["tensors"][-1]["max_abs"]) == (1, "Infinity")


def test_options(capsys: Capsys, traces: Path, tmp_path: Path) -> None:
    right, wrong = traces / "float64.safetensors", traces / "wrong.safetensors"
    assert diff(capsys, right, wrong, "--atol", "1")[0] == 0
    assert diff(capsys, right, wrong, "--rtol", "1e-9")[0] == 1
    arrays = dict(load_trace(traces / "float32.safetensors"))
    np.savez(tmp_path / "mine.npz", head=arrays["classifier"])
    (tmp_path / "names.json").write_text('{"head": "classifier"}')
    status, out, _ = diff(capsys, right, tmp_path / "mine.npz", "--names", tmp_path / "names.json")
    assert (status, out.splitlines()[0]) == (0, "no divergence in 1 tensor")
    (tmp_path / "maps").mkdir()
    for name, array in arrays.items():
        np.save(tmp_path / "maps" / f"{name}.npy", array.transpose(0, 2, 3, 1) if array.ndim == 4 else array)
    assert diff(capsys, right, tmp_path / "maps")[0] == 0
    assert diff(capsys, right, tmp_path / "maps", "--layout", "strict")[0] == 2


def test_a_port_in_half_precision(capsys: Capsys, traces: Path, tmp_path: Path) -> None:
    for name, array in load_trace(traces / "float32.safetensors").items():
        np.save(tmp_path / f"{name}.npy", array.astype(np.float16) if name == "classifier" else array)
    right = traces / "float64.safetensors"
    assert diff(capsys, right, tmp_path, "--unit", "float16")[0] == 0
    assert diff(capsys, right, tmp_path, "--rtol", "1e-5")[0] == 1


def broken(folder: Path) -> dict[str, tuple[Path, str]]:
    """Files that cannot be compared, and what is said of them."""
    content = (folder / "float32.safetensors").read_bytes()
    files = {
        "truncated.safetensors": (content[: len(content) // 2], "InvalidOffset"),
        "empty.safetensors": (b"", "HeaderTooSmall"),
        "text.npz": (b"no zip", "text.npz"),
        "list.json": (b"[1]", "tensors"),
        "pickle.pt": (b"\x80\x02}", "pickle.pt"),
    }
    for name, (data, _) in files.items():
        (folder / name).write_bytes(data)
    np.savez(folder / "names.npz", nothing=np.ones(2), common=np.ones(2))
    np.savez(folder / "pixels.npz", pixel_values=np.ones((1, 3, 32, 40)), classifier=np.ones((1, 2)))
    np.savez(folder / "hollow.npz")
    return {
        **{name: (folder / name, said) for name, (_, said) in files.items()},
        "absent": (folder / "absent.npz", "absent.npz"),
        "no common names": (folder / "names.npz", "no name of MINE is in REFERENCE"),
        "other pixels": (folder / "pixels.npz", "different inputs"),
        "no tensors": (folder / "hollow.npz", "0 in MINE"),
    }


BROKEN = ["truncated.safetensors", "empty.safetensors", "text.npz", "list.json", "pickle.pt", "absent"]


@pytest.mark.parametrize("name", [*BROKEN, "no common names", "other pixels", "no tensors"])
def test_what_cannot_be_compared_is_one_line(capsys: Capsys, traces: Path, name: str) -> None:
    path, said = broken(traces)[name]
    status, out, errors = diff(capsys, traces / "float64.safetensors", path)
    assert (status, out, len(errors)) == (2, "", 1)
    assert errors[0].startswith("npconv: error: ")
    assert said in errors[0]
    assert "unexpected" not in errors[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--unit", "float8"], "invalid choice"),
        (["--rtol", "-1"], "at least 0"),
        (["--atol", "nan"], "at least 0"),
        (["--names", "absent.json"], "absent.json"),
        (["--junit", "absent/folder.xml"], "check --junit"),
    ],
)
def test_wrong_calls(capsys: Capsys, traces: Path, words: list[str], said: str) -> None:
    status, _, errors = diff(capsys, traces / "float64.safetensors", traces / "wrong.safetensors", *words)
    assert (status, len(errors)) == (2, 1)
    assert said in errors[0]


@pytest.mark.parametrize("text", ["[]", "{", '{"a": 1}', "[" * 10**5, '{"head": "nowhere"}'])
def test_a_broken_map_of_names(capsys: Capsys, traces: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "names.json").write_text(text)
    words = [traces / "float64.safetensors", traces / "float32.safetensors", "--names", tmp_path / "names.json"]
    status, out, errors = diff(capsys, *words)
    assert (status, out, len(errors)) == (2, "", 1)
    assert "unexpected" not in errors[0]


def test_wrong_shapes_are_a_divergence(capsys: Capsys, traces: Path) -> None:
    change(traces, "shapes", "classifier", lambda x: x[:, :-1])
    status, out, errors = diff(capsys, traces / "float64.safetensors", traces / "shapes.safetensors")
    assert (status, errors) == (1, [])
    assert "the shapes do not fit" in out


def test_a_hostile_name_stays_on_its_line(capsys: Capsys, tmp_path: Path) -> None:
    for file, value in (("a", 0.0), ("b", 1.0)):
        recorded = Trace()
        recorded.add("x\x1b[2J\n", np.full((2, 2), value))
        recorded.save(tmp_path / f"{file}.safetensors")
    status, out, _ = diff(capsys, tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert status == 1
    assert "\x1b" not in out
    assert out.startswith("first divergence: x\\x1b[2J\\n (1 of 1)\n")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_map_of_names_that_is_a_pipe_is_not_waited_for(capsys: Capsys, traces: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    words = [traces / "float64.safetensors", traces / "float32.safetensors", "--names", tmp_path / "pipe"]
    status, out, errors = diff(capsys, *words)
    assert (status, out, len(errors)) == (2, "", 1)
    assert "not a regular file" in errors[0]


def test_a_map_of_names_of_any_size_is_not_read(capsys: Capsys, traces: Path, tmp_path: Path) -> None:
    with (tmp_path / "names.json").open("wb") as file:
        file.truncate(1 << 34)  # takes no room on the disk
    words = [traces / "float64.safetensors", traces / "float32.safetensors", "--names", tmp_path / "names.json"]
    status, _, errors = diff(capsys, *words)
    assert (status, len(errors)) == (2, 1)
    assert "expected at most" in errors[0]


def test_pixel_values_alone_are_nothing_to_compare(capsys: Capsys, traces: Path, tmp_path: Path) -> None:
    pixels = load_trace(traces / "float32.safetensors")["pixel_values"]
    np.savez(tmp_path / "mine.npz", pixel_values=pixels, head=np.ones(2))
    status, out, errors = diff(capsys, traces / "float64.safetensors", tmp_path / "mine.npz")
    assert (status, out, len(errors)) == (2, "", 1)
    assert "no name of MINE is in REFERENCE: 'head'" in errors[0]
