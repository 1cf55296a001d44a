"""Signals that end a command: at any moment one line and a status, and what was begun is cleared away."""

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import npconv
from npconv.bench.processes import PROC, process_tree
from npconv.cli.program import make_parser
from npconv.cli.signals import ending_on_signals

pytestmark = [pytest.mark.long, pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")]

HOME = str(Path(npconv.__file__).parents[1])


@pytest.fixture(autouse=True)
def hung_up():
    """Heed SIGHUP, also where these tests run under nohup, which has processes ignore it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def send(number: int) -> None:
    """Send a signal to this thread: one to the process may arrive in another thread, and so later."""
    signal.raise_signal(number)


def run(work) -> None:
    """Do some work as commands do."""
    with ending_on_signals():
        work()


@pytest.mark.parametrize(
    ("number", "error", "status"),
    [(signal.SIGINT, KeyboardInterrupt, None), (signal.SIGTERM, SystemExit, 143), (signal.SIGHUP, SystemExit, 129)],
)
def test_a_signal_is_an_exception_and_the_next_one_does_not_end_the_cleaning_up(number, error, status):
    before = {other: signal.getsignal(other) for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    cleaned = []

    def work():
        try:
            send(number)
        finally:
            send(signal.SIGINT)
            send(signal.SIGTERM)
            cleaned.append(True)

    with pytest.raises(error) as caught:
        run(work)
    assert getattr(caught.value, "code", None) == status
    assert cleaned
    assert {other: signal.getsignal(other) for other in before} == before


def test_an_import_is_not_cut_in_two(tmp_path, monkeypatch):
    (tmp_path / "module_that_is_interrupted.py").write_text(
        "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n    whole = True\n"
        "except KeyboardInterrupt:\n    raise ImportError('failed to import')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def work(seconds):
        assert importlib.import_module("module_that_is_interrupted").whole
        time.sleep(seconds)  # is not slept through

    with pytest.raises(KeyboardInterrupt):
        run(lambda: work(60))
    del sys.modules["module_that_is_interrupted"]
    with pytest.raises(KeyboardInterrupt):  # and if there is nothing to do after it
        run(lambda: work(0))


def test_an_interruption_that_python_swallows_comes_again():
    class Last:
        def __del__(self):
            send(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(lambda: (Last() and None, time.sleep(60)))


def test_what_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup has it
    try:
        with ending_on_signals():
            send(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("way", ["module", "script", "library"])
def test_ctrl_c_while_the_command_line_is_loaded(tmp_path, way):
    """In the middle of an import; here that of a module which stands for one that it needs."""
    fake = tmp_path / "paths"
    fake.mkdir()
    (fake / "argparse.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)\n")
    name = tmp_path / ("npconv" if way == "script" else "other.py")
    name.write_text("import sys\nfrom npconv.cli import main\nsys.exit(main())\n")
    words = ["-m", "npconv"] if way == "module" else [str(name)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(fake), HOME])}
    done = subprocess.run([sys.executable, *words, "models"], env=environment, capture_output=True, check=False)
    if way == "library":  # a program of somebody else decides for itself
        assert b"KeyboardInterrupt" in done.stderr
    else:
        assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"npconv: interrupted\n")


@pytest.mark.skipif(not PROC.is_dir(), reason="looks at processes as Linux shows them")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_what_a_checked_program_started_ends_with_the_check(console, tmp_path, number, status):
    (tmp_path / "program.sh").write_text("sleep 600 &\nsleep 600\n")
    words = ("golden", "check", "residual", "--command", f"sh {tmp_path / 'program.sh'} {{input}} {{output}}")
    process = console(*words, env={"TMPDIR": str(tmp_path)})
    end = time.monotonic() + 60
    while len(process_tree(process.pid)) < 4:
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.01)
    started = process_tree(process.pid)[1:]
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (status, b"npconv: interrupted\n" if number == signal.SIGINT else b"")
    while any(is_running(pid) for pid in started):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert [path.name for path in tmp_path.iterdir()] == ["program.sh"]


def is_running(pid: int) -> bool:
    """Whether a process is there, and no zombie that nobody has asked for."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_photos_of_a_batch():
    for command in ("classify", "features"):
        words = [command, "photo.png"] + (["-o", "out"] if command == "features" else [])
        assert make_parser(command).parse_args(words).batch_size == 8
