"""How much of the machine others use: from a made-up /proc, where a tick is what the system says."""

import os

import pytest

from npconv.bench import processes as others
from npconv.bench.processes import OtherPrograms

pytestmark = pytest.mark.skipif(not hasattr(os, "sysconf"), reason="needs a POSIX system")


def write(proc, *, user, idle, steal=0, own=0, child=0):
    """Write the state of a machine with this process and one child, in seconds."""
    tick = os.sysconf("SC_CLK_TCK")
    (proc / "stat").write_text(f"cpu  {user * tick} 0 0 {idle * tick} 0 0 0 {steal * tick} 0 0\ncpu0 1 1 1\n")
    for pid, parent, seconds in ((os.getpid(), 1, own), (10**7, os.getpid(), child)):
        (proc / str(pid)).mkdir(exist_ok=True)
        (proc / str(pid) / "stat").write_text(f"{pid} (a b) S {parent} {'0 ' * 9}{seconds * tick} 0 0 0\n")


@pytest.fixture
def clock(monkeypatch):
    """The time that the module sees, to be set."""
    now = [0.0]
    monkeypatch.setattr(others.time, "monotonic", lambda: now[0])
    return now


def test_our_own_work_is_not_that_of_others(tmp_path, clock):
    write(tmp_path, user=100, idle=100)
    watch = OtherPrograms(tmp_path)
    clock[0] = 10.0
    write(tmp_path, user=116, idle=104, own=4, child=12)
    assert watch.cores() == 0


def test_others_and_the_host_are(tmp_path, clock):
    write(tmp_path, user=100, idle=100)
    watch = OtherPrograms(tmp_path)
    clock[0] = 10.0
    write(tmp_path, user=113, idle=104, steal=3, own=4, child=4)
    assert watch.cores() == pytest.approx(0.8)  # 5 s of others and 3 s stolen, in 10 s


def test_without_proc_it_is_unknown(tmp_path):
    assert OtherPrograms(tmp_path).cores() is None
