"""The controller's hold on a process: errors, crashes, silence, and ends."""

import os

import pytest

from npconv.bench.processes import PROC
from npconv.bench.remote import EngineError, RemoteEngine

pytestmark = pytest.mark.long

LOAD = {"runner": "onnxruntime", "job": {"model": "x", "scratch": "y"}}


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_engine_answers_and_ends_when_it_is_closed():
    with RemoteEngine({"OPENBLAS_NUM_THREADS": "1"}) as remote:
        assert remote.ask("sgemm", size=16, calls=1)["seconds"] > 0
        assert remote.ask("pictures", shape=[1, 1, 2, 2]) == {}
    if PROC.is_dir():
        assert not is_alive(remote.pid)


def test_a_broken_rival_is_an_error_with_its_own_words(install):
    install("onnxruntime", "raise ImportError('libfoo.so: not found\\nand more')")
    with RemoteEngine({}) as remote, pytest.raises(EngineError, match=r"^ImportError: libfoo.so: not found$"):
        remote.ask("load", **LOAD)


def test_a_crash_is_an_error_with_the_last_words(install):
    install("onnxruntime", "import os, sys; print('illegal instruction', file=sys.stderr, flush=True); os._exit(3)")
    with RemoteEngine({}) as remote, pytest.raises(EngineError, match="ended with status 3: illegal instruction"):
        remote.ask("load", **LOAD)


def test_silence_ends_in_an_error_and_a_dead_process(install):
    install("onnxruntime", "import time; time.sleep(600)")
    with RemoteEngine({}, patience=1.0) as remote, pytest.raises(EngineError, match="no answer within 1 s"):
        remote.ask("load", **LOAD)
    if PROC.is_dir():
        assert not is_alive(remote.pid)


def test_what_a_library_prints_does_not_disturb(install):
    install("onnxruntime", "import os; print('hello'); os.write(1, b'native hello\\n')")
    with RemoteEngine({}) as remote:
        assert remote.ask("load", **LOAD) == {}
        assert remote.ask("pictures", shape=[1, 1, 2, 2]) == {}


def test_the_environment_is_set_before_anything_is_loaded(install):
    install("onnxruntime", "import os; raise ValueError(os.environ['OPENBLAS_NUM_THREADS'])")
    with RemoteEngine({"OPENBLAS_NUM_THREADS": "3"}) as remote, pytest.raises(EngineError, match="ValueError: 3"):
        remote.ask("load", **LOAD)
