"""Programs that start workers, however they are run: workers do not run them again, or say in one line why not."""

import os
import subprocess
import sys
import zipapp
from pathlib import Path

import pytest

import npconv
from npconv.errors import UnavailableError
from npconv.workers import program
from npconv.workers.pool import WorkerPool

pytestmark = pytest.mark.long

HOMES = [str(Path(npconv.__file__).parents[1]), str(Path(__file__).parents[1])]

#: Without a guard, and with a word on each run of it.
UNGUARDED = """\
import sys
print("run", flush=True)
from support import worker_tasks
from npconv.workers.pool import WorkerPool
with WorkerPool(2) as pool:
    print([future.result() for future in [pool.submit(worker_tasks.double, n) for n in range(3)]])
"""

#: What is sent is defined in the program itself.
OWN = """\
import sys
from npconv.workers.pool import WorkerPool
class Pair:
    def __init__(self, one): self.one = one
def double(x):
    return Pair(2 * x)
def work():
    with WorkerPool(1) as pool:
        found = pool.submit(double, 4).result()
        print(type(found) is Pair, found.one)
"""
GUARDED = OWN + "if __name__ == '__main__': work()\n"
CAUGHT = """\
try:
    work()
except Exception as error:
    print(type(error).__name__, error, sep=": ")
"""


def run(*words: str, program: str | None = None, folder: Path | None = None) -> list[str]:
    """Run Python and return the lines that it prints; a word on stderr is an error."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(HOMES), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words],
        input=program or "",
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr.strip("> \n") == ""  # the first prompt
    return done.stdout.splitlines()


def ways(tmp_path: Path, content: str) -> dict[str, list[str]]:
    """Return the words after ``python`` that run a program, by what it is then; one is read from standard input."""
    folder = tmp_path / "made"
    (folder / "package").mkdir(parents=True)
    for name in ("script.py", "module.py", "__main__.py", "package/__main__.py"):
        (folder / name).write_text(content)
    (folder / "package" / "__init__.py").touch()
    archived = tmp_path / "archived"
    archived.mkdir()
    (archived / "__main__.py").write_text(content)
    zipapp.create_archive(archived, tmp_path / "app.pyz")
    return {
        "script": ["script.py"],
        "module": ["-m", "module"],
        "package": ["-m", "package"],
        "folder": [str(folder)],
        "archive": [str(tmp_path / "app.pyz")],
        "words": ["-c", content],
        "standard input": ["-"],
    }


@pytest.mark.parametrize("way", ["script", "module", "package", "folder", "archive", "words", "standard input"])
def test_a_program_without_a_guard_is_not_run_again(tmp_path, way):
    words = ways(tmp_path, UNGUARDED)[way]
    assert run(*words, program=UNGUARDED, folder=tmp_path / "made") == ["run", "[0, 2, 4]"]


@pytest.mark.parametrize("way", ["script", "module"])
def test_what_a_program_defines_itself_is_sent_and_comes_back(tmp_path, way):
    assert run(*ways(tmp_path, GUARDED)[way], folder=tmp_path / "made") == ["True 8"]


@pytest.mark.parametrize("way", ["package", "folder", "archive", "words", "standard input"])
def test_what_cannot_be_imported_is_named_in_one_line(tmp_path, way):
    (line,) = run(*ways(tmp_path, OWN + CAUGHT)[way], program=OWN + CAUGHT, folder=tmp_path / "made")
    assert line.startswith("InputError: double is defined in a program that workers cannot import (standard input, ")
    assert line.endswith("define it in a file and import it, or use workers=1")


@pytest.mark.parametrize("again", ["work()", "sys.exit()"])
def test_a_script_that_sends_its_own_and_has_no_guard_is_told_how(tmp_path, again):
    """It is run again for what it defines, and would go on to start workers, or end."""
    (tmp_path / "script.py").write_text(OWN + f"if __name__ != '__main__': {again}\n" + CAUGHT)
    (line,) = run("script.py", folder=tmp_path)
    assert line == (
        "UnavailableError: a program of which something was sent to a worker is run again there: keep its work under "
        'if __name__ == "__main__":'
    )


def test_at_a_prompt(tmp_path):
    lines = run("-i", "-q", program=f"import sys; sys.ps1 = sys.ps2 = ''\n{UNGUARDED}\n", folder=tmp_path)
    assert lines == ["run", "[0, 2, 4]"]


def test_the_advice_on_a_program_that_brings_its_own_python(monkeypatch):
    """A frozen program would start itself again and again."""
    from multiprocessing import spawn

    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(UnavailableError, match="cannot be started as a worker; use workers=1, or name another by"):
        WorkerPool(1)
    other = os.path.join(os.path.dirname(sys.executable), ".", os.path.basename(sys.executable))
    monkeypatch.setattr(spawn, "_python_exe", os.fsencode(other))
    with WorkerPool(1) as pool:
        assert pool.submit(abs, -3).result() == 3
    monkeypatch.setattr(spawn, "_python_exe", None)
    with pytest.raises(UnavailableError, match="use workers=1"):
        program.interpreter()


def test_what_a_task_prints_does_not_get_between_the_answers():
    with WorkerPool(1) as pool:
        code = "import os, sys; print('words'); os.write(1, b'more'); assert sys.stdin.read() == ''"
        assert [pool.submit(exec, code).result(), pool.submit(abs, -1).result()] == [None, 1]
