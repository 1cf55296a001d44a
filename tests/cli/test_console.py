"""``python -m npconv`` as a process of its own: what only a real console shows."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

posix = pytest.mark.skipif(os.name != "posix", reason="pipes and signals as POSIX has them")


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys, npconv; before = set(sys.modules); from npconv.cli import main; main(['--help']); "
        "heavy = {name.partition('.')[0] for name in set(sys.modules) - before} & {'numpy', 'scipy', 'PIL'}; "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    home = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: npconv ")


@posix
def test_a_closed_pipe_ends_quietly(console: Callable[..., subprocess.Popen], model: Path, photos: list[str]) -> None:
    process = console("classify", "--model", str(model), "--batch-size", "1", *[photos[0]] * 2000)
    assert process.stdout.readline().startswith(photos[0].encode())
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 141


@posix
def test_an_interruption(console: Callable[..., subprocess.Popen], model: Path, photos: list[str]) -> None:
    words = ("classify", "--model", str(model), "--batch-size", "1", "--format", "csv", photos[0], "-")
    process = console(*words, stdin=subprocess.PIPE)  # nothing is ever sent: it waits there
    lines = [process.stdout.readline(), process.stdout.readline()]
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert lines[0].startswith(b"file,label_1")
    assert lines[1].startswith(photos[0].encode())
    assert (process.returncode, rest, errors) == (130, b"", b"npconv: interrupted\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_is_one_line(console: Callable[..., subprocess.Popen]) -> None:
    with open("/dev/full", "w") as full:
        process = console("models", stdout=full)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.startswith(b"npconv: error: unexpected OSError: ")
    assert errors.count(b"\n") == 1


@posix
def test_odd_names_on_a_terminal_of_ascii(
    console: Callable[..., subprocess.Popen], model: Path, photos: list[str], tmp_path: Path
) -> None:
    name = os.fsencode(tmp_path) + "/caf\u00e9 \n.png".encode()
    with open(photos[3], "rb") as source, open(name, "wb") as target:
        target.write(source.read())
    words = ("classify", "--model", str(model), "--top-k", "6", os.fsdecode(name), "missing \u00e9")
    out, errors = console(*words, env={"PYTHONIOENCODING": "ascii"}).communicate(timeout=60)
    assert out.startswith(os.fsencode(tmp_path) + rb"/caf\xe9 \n.png: ")
    assert out.count(b"\n") == 1
    assert rb"caf\xe9 " in out.partition(b": ")[2]  # the label
    assert errors.startswith(rb"npconv classify: missing \xe9: cannot be opened")
