"""One writer at a time, and what the dead leave is cleared away."""

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import npconv
from npconv.errors import InputError, NpconvWarning, WeightsError
from npconv.files import locks
from npconv.files.disk import write_file
from npconv.files.locks import claimed, open_locked, publish, release, staged, sweep, unlink_locked

pytestmark = pytest.mark.long

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs signals and forks")

#: Does what comes before it, says so and waits to be killed.
WAITS = "\nprint('ready', flush=True)\nimport time\ntime.sleep(600)"


def killed_after(code: str, folder: Path) -> None:
    """Run code in a process that is killed when it has done it."""
    environment = {**os.environ, "PYTHONPATH": str(Path(npconv.__file__).parents[1])}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)


def test_a_file_has_one_writer(tmp_path):
    path = tmp_path / "a"
    path.write_text("content")
    first = open_locked(path)
    with pytest.raises(InputError, match=r"'.*a' is being written by another process; wait until it is done"):
        open_locked(path)
    assert path.read_text() == "content"
    release(first)
    release(open_locked(path))


@posix
def test_a_lock_dies_with_its_process(tmp_path):
    killed_after(f"from npconv.files.locks import open_locked\nfile = open_locked('a'){WAITS}", tmp_path)
    release(open_locked(tmp_path / "a"))


@posix
def test_a_fork_does_not_keep_a_lock(tmp_path):
    file = open_locked(tmp_path / "a")
    end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(end[1])
        os.read(end[0], 1)  # until this process closes its end
        os._exit(0)
    os.close(end[0])
    try:
        release(file)
        release(open_locked(tmp_path / "a"))
    finally:
        os.close(end[1])
        os.waitpid(child, 0)


def test_who_waits_for_a_removed_file_locks_the_new_one(tmp_path):
    path = tmp_path / "a"
    first = open_locked(path)
    found = []
    thread = threading.Thread(target=lambda: found.append(open_locked(path, wait=True)))
    thread.start()
    unlink_locked(first, path)
    thread.join(60)
    [second] = found
    assert os.path.samestat(os.fstat(second.fileno()), os.stat(path))
    path.unlink()
    path.write_text("of someone else")
    unlink_locked(second, path)
    assert path.read_text() == "of someone else"


@pytest.mark.parametrize("name", ["link", "folder/../out", "out"])
def test_a_claim_holds_for_every_name(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("out")
    with claimed(tmp_path / "out"):
        with pytest.raises(InputError, match="is being written by another process"), claimed(tmp_path / name):
            pass
        with claimed(tmp_path / "another"):
            pass
    assert sorted(os.listdir(tmp_path)) == ["folder", "link"]
    with claimed(tmp_path / name):
        pass


@pytest.mark.parametrize("wait", [True, False])
def test_a_claim_waits_if_it_is_to(tmp_path, monkeypatch, wait):
    waited, opened = [], locks.open_locked
    monkeypatch.setattr(locks, "open_locked", lambda path, wait=False: waited.append(wait) or opened(path, wait=wait))
    with claimed(tmp_path / "out", wait=wait), staged(tmp_path / "other", wait=wait):
        assert waited == [wait, wait]


@posix
@pytest.mark.parametrize("is_there", [True, False])
def test_what_a_dead_process_staged_is_cleared_away(tmp_path, is_there):
    if is_there:
        (tmp_path / "out").mkdir()
    place = tmp_path / "out" if is_there else tmp_path
    code = (
        "from npconv.files.locks import staged\nfrom pathlib import Path\nclaim = staged('out')\n"
        f"(claim.__enter__() / 'half').write_text('x'){WAITS}"
    )
    killed_after(code, tmp_path)
    assert len([name for name in os.listdir(place) if name.startswith(".npconv-")]) == 2
    sweep(place)
    assert os.listdir(place) == []
    killed_after(code, tmp_path)
    with staged(tmp_path / "out") as staging:
        assert os.listdir(staging) == []
    assert os.listdir(place) == []


@posix
def test_a_file_half_written_by_a_dead_process_is_cleared_away(tmp_path):
    chunks = "def chunks():\n    yield b'half'\n    print('ready', flush=True)\n    import time; time.sleep(600)\n"
    killed_after(f"{chunks}from npconv.files.disk import write_file\nwrite_file('a', chunks())", tmp_path)
    [left] = os.listdir(tmp_path)
    assert left.startswith(".npconv-")
    write_file(tmp_path / "b", [b"content"])
    assert os.listdir(tmp_path) == ["b"]


def test_only_the_dead_are_cleared_away(tmp_path):
    stem = ".npconv-0123456789abcdef"
    others = [f"{stem}.txt", ".npconv-short.tmp", f"x{stem}.tmp", "0123456789abcdef.tmp"]
    for name in others:
        (tmp_path / name).write_text("mine")
    (tmp_path / f"{stem}.tmp").mkdir()  # a folder goes with its claim, and there is none
    content: list[list[str]] = []

    def chunks():
        yield b"content"
        content.append(os.listdir(tmp_path))
        sweep(tmp_path)
        content.append(os.listdir(tmp_path))

    with claimed(tmp_path / "out"):
        write_file(tmp_path / "b", chunks())
    assert sorted(content[0]) == sorted(content[1])
    assert len(content[0]) == len(others) + 3  # the folder, the claim and the file that is being written
    assert sorted(os.listdir(tmp_path)) == sorted([*others, f"{stem}.tmp", "b"])


@posix
def test_a_disk_without_locks_is_told_once(tmp_path, monkeypatch):
    import fcntl

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(NpconvWarning, match=r"this disk has no locks; let no two calls write the same file"):
        release(open_locked(tmp_path / "a"))
    write_file(tmp_path / "b", [b"content"])
    assert (tmp_path / "b").read_bytes() == b"content"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENAMETOOLONG])
def test_what_cannot_be_written_gets_a_sentence_and_leaves_nothing(tmp_path, monkeypatch, number):
    (tmp_path / "a").write_text("older")

    def refuse(*_):
        raise OSError(number, os.strerror(number), "a hidden name")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(WeightsError) as failure:
        write_file(tmp_path / "a", [b"content"])
    said = str(failure.value)
    assert said.startswith(f"cannot write {str(tmp_path / 'a')!r}: {os.strerror(number)}; ")
    assert said.rpartition("; ")[2].startswith(("free some space", "give a folder", "give a shorter name"))
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "older"


@posix
def test_a_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WeightsError, match="it is a device or a pipe"):
        write_file(tmp_path / "pipe", [b"content"])
    assert os.listdir(tmp_path) == ["pipe"]
    assert not (tmp_path / "pipe").is_file()


@pytest.mark.parametrize("place", ["file/x", "file/x/y"])
def test_a_file_is_no_folder_to_claim_in(tmp_path, place):
    (tmp_path / "file").write_text("mine")
    with (
        pytest.raises(WeightsError, match=r"cannot write .*: Not a directory; make the folder first"),
        claimed(tmp_path / place),
    ):
        pass
    assert os.listdir(tmp_path) == ["file"]


def test_what_speaks_of_the_others_comes_last(tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    for name in ("index", "other"):
        (out / name).write_text("older")
    moves = []
    replace = os.replace
    monkeypatch.setattr(
        os, "replace", lambda a, b: (moves.append((Path(b).name, (out / "index").exists())), replace(a, b))
    )
    with staged(out) as staging:
        (staging / "deep").mkdir()
        for name in ("index", "a", "z", "deep/b"):
            (staging / name).write_text("new")
        publish(staging, out, "index")
    assert [name for name, _ in moves][-1] == "index"
    assert not any(is_there for _, is_there in moves)
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()) == [
        *("a", "deep/b", "index", "other", "z")
    ]
    assert locks.is_left(".npconv-0123456789abcdef.tmp")
