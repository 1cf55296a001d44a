"""``python -m npconv`` as a process of its own: what only a real console shows."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from npconv.bench.processes import PROC, process_tree
from npconv.cli.features_file import LOG
from npconv.cores import THREAD_VARIABLES
from npconv.files.safetensors import read_metadata

pytestmark = pytest.mark.long

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


@pytest.mark.parametrize(("dtype", "expected"), [("float32", "1"), ("float64", "None")])
@pytest.mark.parametrize("command", ["classify", "features", "evaluate"])
def test_the_cores_are_left_to_the_fast_engine(command: str, dtype: str, expected: str, tmp_path: Path) -> None:
    """The BLAS keeps to one thread, which it takes in when NumPy is loaded; the layers as they are written need it."""
    program = (
        "import os, sys; from npconv.cli import main; main(sys.argv[1:]); "
        "print('numpy' in sys.modules, os.environ.get('OPENBLAS_NUM_THREADS'))"
    )
    home, photo = Path(__file__).parents[2], "npconv/zoo/samples/ship.png"
    more = {"classify": [photo], "features": [photo, "-o", tmp_path / "out"], "evaluate": ["cvt-cifar10", tmp_path]}
    words = [sys.executable, "-c", program, command, *more[command], "--dtype", dtype]
    environment = {name: value for name, value in os.environ.items() if name not in THREAD_VARIABLES}
    done = subprocess.run(words, cwd=home, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"True {expected}", done.stderr


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


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what a process does; fail if it never does."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@posix
def test_interrupted_features_go_on(
    console: Callable[..., subprocess.Popen], model: Path, photos: list[str], tmp_path: Path
) -> None:
    out, log = tmp_path / "out", tmp_path / "out.part" / LOG
    words = ("features", "--model", str(model), "--batch-size", "1", "-o", str(out), photos[0], "-")
    process = console(*words, stdin=subprocess.PIPE)  # nothing is sent: it waits there
    wait_until(lambda: log.exists() and log.read_bytes().count(b"\n") == 2)  # the first line, and that of a photo
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    hint = b"npconv: interrupted; the same call with --resume goes on from here\n"
    assert (process.returncode, errors) == (130, hint)
    process = console(*words, "--resume", stdin=subprocess.PIPE)
    assert process.communicate(Path(photos[3]).read_bytes(), timeout=60) == (b"", b"")
    assert json.loads(read_metadata(out)["files"]) == [photos[0], "-"]


@pytest.mark.skipif(not PROC.is_dir(), reason="looks at processes as Linux shows them")
def test_a_terminated_measurement_leaves_nothing_behind(
    console: Callable[..., subprocess.Popen], model: Path, tmp_path: Path
) -> None:
    words = ("bench", str(model), "--rounds", "1000", "--threads", "1", "--size", "16", "--against", "none")
    process = console(*words, env={"TMPDIR": str(tmp_path)})
    wait_until(lambda: len(process_tree(process.pid)) >= 3 and any(tmp_path.glob("npconv-*/model-*")))
    engines = process_tree(process.pid)[1:]
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == 143
    assert list(tmp_path.iterdir()) == []
    # One that was being started when the signal came ends by itself, because its orders do.
    wait_until(lambda: not any((PROC / str(pid)).exists() for pid in engines))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_is_one_line(console: Callable[..., subprocess.Popen]) -> None:
    with open("/dev/full", "w") as full:
        process = console("models", stdout=full)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.startswith(b"npconv: error: the output cannot be written: No space left on device; free some space")
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
