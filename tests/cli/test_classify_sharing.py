"""``npconv classify`` with worker processes: the same results, and what happens when something is killed."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.cli_samples import classify, picture

from npconv.cli import sharing

pytestmark = pytest.mark.long

Console = Callable[..., subprocess.Popen]
linux = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc")


def workers_of(process: subprocess.Popen) -> list[int]:
    """The ids of the worker processes of a process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == process.pid and b"npconv.workers.process" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def are_gone(process_ids: list[int], seconds: float = 20) -> bool:
    """Whether none of the processes is left, after a while."""
    end = time.monotonic() + seconds
    while any(os.path.exists(f"/proc/{process_id}") for process_id in process_ids):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("form", ["json", "csv"])
def test_workers_write_the_same(capsys, model, photos, tmp_path, form) -> None:
    names = [*photos, str(tmp_path), "missing.png", photos[0]]
    words = ("--format", form, "--batch-size", "2", "--top-k", "1")
    status, out, errors = classify(capsys, model, *names, *words, "--workers", "2")
    alone = classify(capsys, model, *names, *words, "--workers", "1")
    assert (status, errors) == (1, alone[2])
    assert [line.split(",")[:2] for line in out.splitlines()] == [line.split(",")[:2] for line in alone[1].splitlines()]


def test_standard_input_is_read_for_a_worker(capsys, model, photos, monkeypatch) -> None:
    stream = io.BytesIO()
    picture(0).save(stream, "PNG")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stream.getvalue())))
    words = (photos[3], "-", "--batch-size", "1", "--workers", "2", "--top-k", "1")
    status, out, _ = classify(capsys, model, *words)
    assert status == 0
    first, second = out.splitlines()
    assert second.startswith("-:")
    assert first.partition(": ")[2].split() == second.partition(": ")[2].split()  # the same picture


def test_a_model_that_workers_cannot_load_is_one_error(capsys, own_model, photos) -> None:
    (own_model / "model.safetensors").write_bytes(b"broken")
    status, out, errors = classify(capsys, own_model, *[photos[0]] * 4, "--batch-size", "1", "--workers", "2")
    assert (status, out) == (2, "")
    assert len(errors) == 1
    assert errors[0].startswith("npconv: error: ")
    assert "model.safetensors" in errors[0]


def test_few_photos_start_no_processes(capsys, model, photos, monkeypatch) -> None:
    monkeypatch.setattr("npconv.workers.pool.WorkerPool", None)
    assert classify(capsys, model, *[photos[0]] * (sharing.MANY - 1))[0] == 0
    assert classify(capsys, model, *[photos[0]] * 8, "--workers", "2")[0] == 0  # one batch


def test_how_many_workers_are_chosen(capsys, model, photos, monkeypatch) -> None:
    chosen = []
    original = sharing.choose_workers
    monkeypatch.setattr(sharing, "choose_workers", lambda *args: chosen.append(original(*args)) or 1)
    monkeypatch.setattr("npconv.cores.available_cores", lambda: 5)
    for count, words in [
        (64, ()),
        (63, ()),
        (9, ("--workers", "4")),
        (25, ("--workers", "3")),
        (64, ("--workers", "1")),
    ]:
        classify(capsys, model, *[photos[0]] * count, *words)
    assert chosen == [5, 1, 2, 3, 1]


def start_and_wait_in_the_middle(console: Console, model: Path, photos: list[str], **options) -> subprocess.Popen:
    """Start a run of 2 workers that has written its first line, and waits for a photo on standard input."""
    words = ("--batch-size", "1", "--workers", "2", "--format", "csv")
    names = [photos[0]] * 6 + ["-"] + [photos[3]] * 6
    # Without a buffer: `communicate` would not see what `readline` has read ahead into it.
    options = {"stdin": subprocess.PIPE, "bufsize": 0, **options}
    process = console("classify", "--model", str(model), *words, *names, **options)
    assert process.stdout.readline().startswith(b"file,label_1")
    assert process.stdout.readline().startswith(photos[0].encode())
    return process


@linux
def test_killed_workers_lose_and_double_nothing(console, model, photos) -> None:
    process = start_and_wait_in_the_middle(console, model, photos)
    workers = workers_of(process)
    assert 1 <= len(workers) <= 2
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    rest, errors = process.communicate(Path(photos[0]).read_bytes(), timeout=60)
    assert (process.returncode, errors) == (0, b"")
    names = [line.split(",")[0] for line in rest.decode().splitlines()]
    assert names == [photos[0]] * 5 + ["-"] + [photos[3]] * 6


@linux
def test_an_interruption_keeps_what_is_done_and_ends_the_workers(console, model, photos) -> None:
    process = start_and_wait_in_the_middle(console, model, photos, start_new_session=True)
    workers = workers_of(process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers as well
    rest, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, b"npconv: interrupted\n")
    assert all(line.startswith(photos[0].encode()) for line in rest.splitlines())
    assert are_gone(workers)


@linux
def test_workers_end_when_the_command_is_killed(console, model, photos) -> None:
    process = start_and_wait_in_the_middle(console, model, photos)
    workers = workers_of(process)
    process.kill()
    process.communicate(timeout=60)
    assert are_gone(workers)


def test_workers_and_a_cluster_exclude_each_other(capsys, model, photos) -> None:
    status, _, errors = classify(capsys, model, photos[0], "--workers", "2", "--scheduler", "tcp://nowhere:1")
    assert status == 2
    assert errors == ["npconv: error: expected --workers or --scheduler, got both; a cluster has workers of its own"]


def test_a_cluster_needs_its_extra(capsys, model, photos, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    status, _, errors = classify(capsys, model, photos[0], "--scheduler", "tcp://nowhere:1")
    assert status == 2
    assert errors == ["npconv: error: --scheduler needs dask.distributed: pip install distributed"]
