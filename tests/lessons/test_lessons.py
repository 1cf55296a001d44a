"""Each lesson runs to its end with nothing but numpy, scipy and pillow, and without a network."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tutorials"
LESSONS = sorted(path for path in FOLDER.glob("*.py") if path.name[:2].isdecimal())
PROCESS = Path(__file__).parents[1] / "support" / "lesson_process.py"


def run_process(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a lesson in a process of its own, in an empty folder."""
    command = [sys.executable, str(PROCESS), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=folder, check=False)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_runs_with_the_run_time_dependencies_alone(path, tmp_path):
    done = run_process(path, folder=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    assert "Exercise 1: waiting for your answer." in done.stdout


def test_the_restriction_restricts(tmp_path):
    for line, message in (
        ("import pytest", "pytest is not installed for a lesson"),
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "a lesson opens no socket"),
    ):
        lesson = tmp_path / "lesson.py"
        lesson.write_text(f"import sys\nsys.path.insert(0, {str(FOLDER)!r})\n{line}\n")
        (tmp_path / "showing.py").write_text("from contextlib import nullcontext as show_on\n")
        done = run_process(lesson, folder=tmp_path)
        assert done.returncode == 1
        assert message in done.stderr


def test_the_lessons_are_numbered_without_a_gap():
    assert [path.name[:2] for path in LESSONS] == [f"{number:02}" for number in range(len(LESSONS))]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_is_short_and_says_what_it_needs(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 190
    assert text.startswith("# %% [markdown]\n# # " + path.name[:2] + " · ")
    assert "lambda" not in text
    assert len(re.findall(r"^ *assert ", text, re.MULTILINE)) >= 3
    assert f"({path.name})" in (FOLDER / "README.md").read_text(encoding="utf-8")
