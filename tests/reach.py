"""Which files of tests run which lines of npconv, so that a change of a line is tried by those alone.

    find_reach(root, folder)     runs all tests once, under coverage.py, in processes that share their files

A plugin of pytest as well, which those runs use: what runs while a test does is put down to the file of that test.
What programs run that a test starts is not seen.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

#: Runs that share the files of tests.
TOGETHER = 2

_seconds: dict[str, float] = {}


@dataclass
class Reach:
    """The files of tests that run each line of a file, and the seconds that a file takes."""

    files: dict[str, dict[int, set[str]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def of(self, path: str, lines: Iterable[int] | None = None) -> list[str]:
        """Return the files whose tests run one of the lines of a file, or any, the quickest first."""
        of_lines = self.files.get(path, {})
        found = set().union(*(of_lines.get(line, ()) for line in (of_lines if lines is None else lines)))
        return sorted(found, key=lambda file: (self.seconds.get(file, 0.0), file))


def find_reach(root: Path, folder: Path) -> Reach:
    """Run all tests of a copy of the project, and return what they reach; `folder` takes the records."""
    tests = sorted(file.relative_to(root).as_posix() for file in (root / "tests").rglob("test_*.py"))
    runs = [_start(tests[part::TOGETHER], root, folder) for part in range(TOGETHER)]
    for run in runs:
        run.wait()
    reach = Reach()
    for path in folder.glob("*.seconds"):
        reach.seconds.update(json.loads(path.read_text("utf-8")))
    for path in folder.glob("reach.*"):
        _read(path, root, reach)
    return reach


def _start(tests: list[str], root: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Start a run of some files."""
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    environment.update(COVERAGE_FILE=str(folder / "reach"), NPCONV_REACH=str(folder))
    words = [sys.executable, "-m", "coverage", "run", "--parallel-mode", f"--source={root / 'npconv'}", "-m", "pytest"]
    with (folder / f"{len(list(folder.iterdir()))}.log").open("wb") as log:
        words += ["-q", "-p", "no:cacheprovider", "-p", "tests.reach", *tests]
        return subprocess.Popen(words, cwd=root, env=environment, stdout=log, stderr=log)


def _read(path: Path, root: Path, reach: Reach) -> None:
    """Add what a record of coverage.py holds."""
    from coverage import CoverageData

    data = CoverageData(str(path))
    data.read()
    for name in data.measured_files():
        lines = reach.files.setdefault(Path(name).relative_to(root).as_posix(), {})
        for line, contexts in data.contexts_by_lineno(name).items():
            lines.setdefault(line, set()).update(context for context in contexts if context)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Put down to a test's file what runs meanwhile."""
    from coverage import Coverage

    file, start = item.location[0], time.process_time()
    current = Coverage.current()
    if current is not None:
        current.switch_context(file)
    try:
        return (yield)
    finally:
        _seconds[file] = _seconds.get(file, 0.0) + time.process_time() - start


def pytest_sessionfinish() -> None:
    """Write how long each file took."""
    (Path(os.environ["NPCONV_REACH"]) / f"{os.getpid()}.seconds").write_text(json.dumps(_seconds), "utf-8")
