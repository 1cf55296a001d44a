"""How many cores there are, and that the variables which say so to libraries stand in one place."""

import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import npconv
from npconv import cores
from npconv.cores import THREAD_VARIABLES, available_cores, limit_cores


def test_the_variables_of_libraries_stand_once():
    """``VECLIB_MAXIMUM_THREADS`` is Apple's; the others end in ``_NUM_THREADS``."""
    assert set(THREAD_VARIABLES) == {
        "OPENBLAS_NUM_THREADS",
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    }
    package = Path(npconv.__file__).parent
    holders = [
        file for file in package.rglob("*.py") if "NUM_THREADS" in (text := file.read_text()) or "VECLIB" in text
    ]
    assert [file.name for file in holders] == ["cores.py"]


def test_a_share_of_the_cores(monkeypatch):
    monkeypatch.setattr(cores, "_share", math.inf)
    limit_cores(1)
    assert available_cores() == 1


def test_available_cores_are_those_of_the_affinity(monkeypatch):
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
    monkeypatch.setattr(cores, "_container_limit", lambda: math.inf)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(7)), raising=False)
    assert available_cores() == 7
    monkeypatch.setattr(cores, "_container_limit", lambda: 1.5)
    assert available_cores() == 2
    monkeypatch.setattr(cores, "_container_limit", lambda: 0.1)
    assert available_cores() == 1


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, math.inf),
        ({"cpu.max": "max 100000\n"}, math.inf),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "50000 100000\n"}, 0.5),
        ({"a/b/cpu.max": "400000 100000\n", "a/cpu.max": "200000 100000\n"}, 2),
        ({"elsewhere/cpu.max": "100000 100000\n"}, math.inf),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ({"cpu.max": "what is this"}, math.inf),
    ],
)
def test_the_limit_of_a_container(tmp_path, files, limit):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    own = tmp_path / "own"
    own.write_text("4:memory:/x\n0::/a/b\n")
    assert cores._container_limit(tmp_path, own) == limit


def test_runs_are_made_at_the_same_time(monkeypatch):
    monkeypatch.setattr(cores, "available_cores", lambda: 2)
    both = threading.Barrier(2, timeout=30)

    def run(number):
        both.wait()
        return number * number

    assert cores.at_once(run, range(6)) == [0, 1, 4, 9, 16, 25]


def test_one_core_makes_one_run_at_a_time(monkeypatch):
    monkeypatch.setattr(cores, "available_cores", lambda: 1)
    assert len(set(cores.at_once(lambda _: threading.get_ident(), range(6)))) == 1


@pytest.mark.parametrize(
    ("before", "environment", "expected"),
    [("", {}, "1"), ("import numpy", {}, "None"), ("", {"OMP_NUM_THREADS": "3"}, "None")],
)
def test_the_blas_keeps_to_one_thread_unless_it_is_loaded_or_told_otherwise(before, environment, expected):
    code = f"{before}\nimport os\nfrom npconv import cores\ncores.keep_blas_to_one_thread()\n"
    code += "print(os.environ.get('OPENBLAS_NUM_THREADS'))"
    others = {name: value for name, value in os.environ.items() if name not in cores.THREAD_VARIABLES}
    done = subprocess.run([sys.executable, "-c", code], env={**others, **environment}, capture_output=True, text=True)
    assert done.stdout.split() == [expected], done.stderr
