"""The folder that shows a divergence by itself: its script runs and prints both errors."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.compare_samples import BLOCK, SUM, TANH, P, golden, make_trace, port

import npconv
from npconv.errors import GoldenError
from npconv.golden.compare import compare
from npconv.golden.repro import save_repro

pytestmark = pytest.mark.long


def run_script(script: Path) -> dict[str, float]:
    """The errors that a script prints, run far from this folder."""
    path = os.pathsep.join([str(Path(npconv.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", str(script.resolve())]
    done = subprocess.run(command, env=environment, cwd=script.parent.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {whose: float(error) for whose, error in re.findall(r"^(\w+): (\S+) from", done.stdout, re.MULTILINE)}


@pytest.mark.parametrize("only", [None, {f"{P}embeddings.layernorm", "classifier"}])
def test_the_script_prints_both_errors(tmp_path, only):
    comparison = compare(golden(), port(mistake=TANH, only=only))
    assert comparison.first is not None
    script = save_repro(comparison, tmp_path / "new" / "repro")
    assert len(script.read_text().splitlines()) <= 13
    errors = run_script(script)
    assert errors["reference"] < comparison.first.tolerance < errors["mine"]
    assert errors["mine"] == pytest.approx(comparison.first.max_abs, rel=0.05)


def test_what_is_in_the_folder(tmp_path):
    comparison = compare(golden(), port(mistake=SUM))
    assert comparison.first is not None
    save_repro(comparison, tmp_path)
    save_repro(comparison, tmp_path)  # a second time over the first
    about = json.loads((tmp_path / "repro.json").read_text())
    [name] = about["inputs"]
    assert name == comparison.first.name.replace("relative", "strength")
    np.testing.assert_array_equal(np.load(tmp_path / about["inputs"][name]), port(mistake=SUM)[name])
    np.testing.assert_array_equal(np.load(tmp_path / "reference.npy"), golden()[comparison.first.name])
    np.testing.assert_array_equal(np.load(tmp_path / "mine.npy"), port(mistake=SUM)[comparison.first.name])
    assert about["plan"]["steps"][0]["operation"] == "grn_relative"


def test_other_shapes_are_an_infinite_error(tmp_path):
    name = f"{BLOCK}.pwconv1"
    comparison = compare(golden(), make_trace({**port(), name: port()[name][..., 1:]}))
    assert run_script(save_repro(comparison, tmp_path / "repro"))["mine"] == np.inf


def test_weights_are_saved(tmp_path):
    name = f"{BLOCK}.pwconv1"
    comparison = compare(golden(), make_trace({**port(), name: port()[name] + np.float32(1)}), strict=True)
    script = save_repro(comparison, tmp_path / "repro")
    about = json.loads((script.parent / "repro.json").read_text())
    assert set(about["weights"]) == {f"{name}.weight", f"{name}.bias"}
    assert run_script(script)["mine"] == pytest.approx(1, rel=1e-3)


def test_without_steps_the_script_compares_the_outputs(tmp_path):
    comparison = compare({"a/b": np.ones(3)}, {"a/b": np.float32([1, 1, 3])})
    assert run_script(save_repro(comparison, tmp_path / "repro")) == {"mine": 2.0}


def test_nothing_to_reproduce(tmp_path):
    with pytest.raises(GoldenError, match="nothing diverges"):
        save_repro(compare(golden(), port()), tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(GoldenError, match="check --save-repro"):
        save_repro(compare(golden(), port(mistake=TANH)), tmp_path / "file" / "repro")
