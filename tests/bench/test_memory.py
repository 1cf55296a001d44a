"""Memory of a process and its children: from a made-up /proc, and of real processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from npconv.bench.processes import PROC, PeakMemory, current_bytes, peak_bytes, process_tree

linux = pytest.mark.skipif(not (PROC / "self" / "smaps_rollup").is_file(), reason="needs /proc of Linux")


def add_process(proc: Path, pid: int, parent: int, *, name: str = "python", pss: int = 0, peak: int = 0) -> None:
    """Add a process to a made-up /proc; sizes in kB."""
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    (folder / "stat").write_text(f"{pid} ({name}) S {parent} 1 1 0\n")
    (folder / "smaps_rollup").write_text(f"55d0-7ffc ---p 00000000 00:00 0 [rollup]\nRss: 999 kB\nPss:     {pss} kB\n")
    (folder / "status").write_text(f"Name:\t{name}\nVmHWM:\t  {peak} kB\nVmRSS:\t 1 kB\n")


def test_the_tree_holds_all_descendants_and_nobody_else(tmp_path):
    add_process(tmp_path, 10, 1)
    add_process(tmp_path, 11, 10, name="a (strange) name) S 99")
    add_process(tmp_path, 12, 11)
    add_process(tmp_path, 13, 1)
    add_process(tmp_path, 9, 10)  # numbers start again from the bottom
    (tmp_path / "14").mkdir()  # it has just ended
    assert sorted(process_tree(10, tmp_path)) == [9, 10, 11, 12]
    assert process_tree(77, tmp_path) == [77]


def test_sizes_are_read_in_bytes(tmp_path):
    add_process(tmp_path, 10, 1, pss=2048, peak=4096)
    assert current_bytes(10, tmp_path) == 2 * 2**20
    assert peak_bytes(10, tmp_path) == 4 * 2**20


def test_without_pss_the_set_size_counts(tmp_path):
    add_process(tmp_path, 10, 1)
    (tmp_path / "10" / "smaps_rollup").unlink()
    assert current_bytes(10, tmp_path) == 1024


def test_a_process_that_is_gone_has_nothing(tmp_path):
    assert current_bytes(10, tmp_path) == peak_bytes(10, tmp_path) == 0


@linux
def test_a_peak_of_parent_and_child_together():
    """Each holds 60 MB until told to end."""
    child = "import sys; block = b'x' * 60_000_000; print('ready', flush=True); sys.stdin.read()"
    parent = (
        "import subprocess, sys; block = b'y' * 60_000_000\n"
        f"with subprocess.Popen([sys.executable, '-c', {child!r}], stdin=0): sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        with PeakMemory(process.pid) as peak:
            pass
        process.stdin.close()
        process.wait(30)
    assert 120e6 < peak.bytes < 220e6


@linux
def test_a_peak_that_has_passed_is_known():
    code = "import sys; block = b'x' * 80_000_000; del block; print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with PeakMemory(process.pid) as peak:
            pass
        process.stdin.close()
        process.wait(30)
    assert peak.bytes > 80e6
