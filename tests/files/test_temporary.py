"""Temporary folders: held by a process, cleared away when it is dead, and nobody else's touched."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import npconv
from npconv.errors import UnavailableError
from npconv.files import temporary
from npconv.files.temporary import PREFIX, TemporaryFolder, clear_away, temporary_folder

posix = pytest.mark.skipif(os.name != "posix", reason="folders are locked where flock is")


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def die_with_a_folder(tmp_path: Path) -> Path:
    """Return the folder of a process that was killed."""
    code = (
        "import os, signal; from npconv.files.temporary import TemporaryFolder; folder = TemporaryFolder()\n"
        "(folder.make() / 'weights').write_bytes(b'x' * 99); print(folder.path, flush=True)\n"
        f"os.kill(os.getpid(), {int(signal.SIGKILL)})"
    )
    home = str(Path(npconv.__file__).parents[1])
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": home}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return Path(done.stdout.strip())


def test_a_folder_comes_and_goes(tmp_path):
    folder = TemporaryFolder()
    assert not folder.path.exists()
    assert folder.make() == folder.make() == folder.path
    assert folder.path.parent == tmp_path
    (folder.path / "deep").mkdir()
    folder.remove()
    assert list(tmp_path.iterdir()) == []
    with temporary_folder() as path:
        assert path.is_dir()
    forgotten = TemporaryFolder()
    forgotten.make()
    del forgotten
    assert list(tmp_path.iterdir()) == []


@posix
def test_what_a_dead_process_left_goes_when_the_next_folder_is_made(tmp_path):
    left = die_with_a_folder(tmp_path)
    assert (left / "weights").exists()
    with temporary_folder() as mine:
        assert list(tmp_path.iterdir()) == [mine]


@posix
def test_what_is_alive_or_not_ours_stays(tmp_path):
    alive = TemporaryFolder()
    alive.make()
    others = ["npconv-0123456789abcdef", f"{PREFIX}0123", f"{PREFIX}0123456789abcdef.txt", "mine"]
    for name in others:
        (tmp_path / name).mkdir()
    (tmp_path / f"{PREFIX}{'0' * 16}").write_text("a file")
    (tmp_path / f"{PREFIX}{'1' * 16}").symlink_to(tmp_path / "mine")
    before = sorted(tmp_path.iterdir())
    clear_away(tmp_path)
    assert sorted(tmp_path.iterdir()) == before
    clear_away(tmp_path / "missing")


@posix
def test_folders_of_other_users_stay(tmp_path, monkeypatch):
    left = die_with_a_folder(tmp_path)
    user = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: user + 1)
    clear_away(tmp_path)
    assert left.exists()


@posix
def test_a_folder_that_is_cleared_away_before_it_is_locked_is_made_again(monkeypatch):
    folder = TemporaryFolder()
    mkdir, made = Path.mkdir, []

    def cleared_away(path, *args, **kwargs):
        mkdir(path, *args, **kwargs)
        made.append(path)
        if len(made) == 1:
            path.rmdir()

    monkeypatch.setattr(Path, "mkdir", cleared_away)
    assert folder.make().is_dir()
    assert len(made) == 2
    clear_away(folder.path.parent)
    assert folder.path.exists()


@posix
def test_the_folder_of_a_forked_child_is_its_parents(tmp_path):
    folder = TemporaryFolder()
    folder.make()
    if (child := os.fork()) == 0:
        folder.remove()
        clear_away(tmp_path)
        os._exit(0)
    os.waitpid(child, 0)
    assert folder.path.exists()


def test_without_locks_folders_are_made_and_nothing_is_cleared_away(tmp_path, monkeypatch):
    left = die_with_a_folder(tmp_path) if os.name == "posix" else tmp_path
    monkeypatch.setattr(temporary, "CAN_LOCK", False)
    with temporary_folder() as path:
        assert path.is_dir()
    assert not path.exists()
    assert left.exists()


def test_a_place_where_nothing_can_be_made(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(UnavailableError, match=r"no temporary folder can be made .*set TMPDIR to one"):
        TemporaryFolder().make()
