"""``npconv finetune --layers all``: what it says on the way, and what a signal leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.labelled_pictures import COLOURS, draw

import npconv
from npconv.cli import main

HOME = str(Path(npconv.__file__).parents[1])


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Path:
    """Six photos of each of three colours, no two alike."""
    folder = tmp_path_factory.mktemp("labelled") / "photos"
    for name, colour in COLOURS.items():
        for number in range(6):
            draw(folder / name / f"{number}.png", tuple(max(0, value - 9 * number) for value in colour), (16, 16))
    return folder


def words(labelled, model, output, *more):
    """Return a call that trains the network."""
    options = ["--model", model, "--layers", "all", "--batch-size", "5", "--no-cache", "--workers", "1", *more]
    return ["finetune", str(labelled), "-o", str(output), *map(str, options)]


def test_each_epoch_is_a_line_on_stderr(labelled, model, tmp_path, capsys):
    assert main(words(labelled, model, tmp_path / "mine", "--epochs", 3, "--rate", 0.01, "--no-flip")) == 0
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"epoch {number} of 3" for number in (1, 2, 3)]
    assert all(" of the part validation " in line and " % right, " in line for line in lines)
    assert lines[0].endswith("the best so far")
    assert "top-1" in said.out
    assert main(["classify", "--model", str(tmp_path / "mine"), str(labelled / "red" / "0.png")]) == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--layers", "5"], "from 1 to the 2 stages of the model, got 5"),
        (["--rate", "-1"], "expected rate to be at least 0, got -1.0"),
        (["--rate", "nan"], "expected rate to be at least 0, got nan"),
        (["--gradients", "jax"], "expected gradients of npconv or torch, got 'jax'"),
        (["--rate", "1e30"], "try a lower rate than 1e+30"),
    ],
)
def test_calls_that_cannot_train_end_with_one_line(labelled, model, tmp_path, capsys, more, message):
    assert main(words(labelled, model, tmp_path / "mine", "--epochs", 2, *more)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    last = said.err.splitlines()[-1]
    assert last.startswith("npconv: error: ")
    assert message in last
    assert not (tmp_path / "mine").exists()


def start(labelled, model, output, *more):
    """Start the command as a process of its own, with more epochs than it will come to."""
    command = [sys.executable, "-m", "npconv", *words(labelled, model, output, *more)]
    environment = os.environ | {"PYTHONPATH": HOME}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, process: subprocess.Popen) -> None:
    """Wait until a process has written a file."""
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


@pytest.mark.long
@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_what_was_killed_goes_on_with_resume_to_the_same_file(labelled, model, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main(words(labelled, model, whole, "--epochs", 60)) == 0
    process = start(labelled, model, parts, "--epochs", 60)
    wait_for(parts.with_name("parts.training") / "checkpoint.safetensors", process)
    process.kill()
    process.communicate()
    assert not parts.exists()
    assert main(words(labelled, model, parts, "--epochs", 60, "--resume")) == 0
    assert (whole / "model.safetensors").read_bytes() == (parts / "model.safetensors").read_bytes()


@pytest.mark.long
@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_ctrl_c_leaves_the_best_model_so_far(labelled, model, tmp_path):
    mine = tmp_path / "mine"
    process = start(labelled, model, mine, "--epochs", 100_000)
    wait_for(mine.with_name("mine.training") / "checkpoint.safetensors", process)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate()
    assert process.returncode == 0
    assert "interrupted; the model is that of epoch" in out
    assert f"{mine}.training keeps what it needs" in out
    assert (mine / "model.safetensors").exists()
    assert (mine.with_name("mine.training") / "checkpoint.safetensors").exists()
