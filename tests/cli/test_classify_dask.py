"""``npconv classify --scheduler`` and ``pipeline(workers=executor)`` on a real cluster of several processes."""

import os
import signal
import threading
import time
import warnings
from pathlib import Path

import pytest
from cli_samples import PHOTOS, classify

distributed = pytest.importorskip("distributed")

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them"),
    pytest.mark.filterwarnings("ignore"),  # those of Dask and its event loop are not ours
]


@pytest.fixture(scope="module")
def cluster():
    """Three processes of one thread each; one that is killed is replaced."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
        os.environ["PYTHONPATH"], before = path, os.environ.get("PYTHONPATH")
        options = {"n_workers": 3, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
        with distributed.LocalCluster(**options, silence_logs=50) as local:
            yield local
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def names_in(out: str) -> list[str]:
    return [line.split(",")[0] for line in out.splitlines()[1:]]


def test_a_cluster_writes_the_same(capsys, model, photos, cluster) -> None:
    words = (*photos, "--format", "csv", "--batch-size", "2", "--top-k", "1")
    status, out, errors = classify(capsys, model, *words, "--scheduler", cluster.scheduler_address)
    alone = classify(capsys, model, *words)
    assert status == 1
    assert errors == alone[2]
    assert [line.split(",")[:2] for line in out.splitlines()] == [line.split(",")[:2] for line in alone[1].splitlines()]


def test_a_killed_process_loses_and_doubles_nothing(capsys, model, photos, cluster) -> None:
    good = [photo for photo in photos if PHOTOS[os.path.basename(photo)] is None]
    names = [good[i % len(good)] for i in range(1500)]
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        victims = client.run(os.getpid)
        victim = next(iter(victims.values()))
        killed = []

        def kill_in_the_middle() -> None:
            end = time.monotonic() + 60
            while not any(client.processing().values()) and time.monotonic() < end:
                time.sleep(0.01)
            time.sleep(0.3)  # some batches are done, and some are not
            was_busy = any(client.processing().values())
            os.kill(victim, signal.SIGKILL)
            killed.append((victim, was_busy))

        killer = threading.Thread(target=kill_in_the_middle)
        killer.start()
        words = ("--format", "csv", "--batch-size", "4", "--top-k", "1", "--scheduler", cluster.scheduler_address)
        status, out, errors = classify(capsys, model, *names, *words)
        killer.join(60)
    assert killed == [(victim, True)]
    assert (status, errors) == (0, [])
    assert names_in(out) == names
    labels = {line.split(",")[0]: line.split(",")[1] for line in out.splitlines()[1:]}
    assert all(line.split(",")[1] == labels[line.split(",")[0]] for line in out.splitlines()[1:])


def test_an_address_where_nobody_answers(capsys, model, photos, monkeypatch) -> None:
    monkeypatch.setattr("npconv.cli.sharing.PATIENCE", 0.5)
    status, _, errors = classify(capsys, model, photos[0], "--scheduler", "tcp://127.0.0.1:1")
    assert status == 2
    assert len(errors) == 1
    assert errors[0].startswith("npconv: error: no Dask scheduler answers at 'tcp://127.0.0.1:1'")
    status, _, errors = classify(capsys, model, photos[0], "--scheduler", "nonsense://")
    assert status == 2
    assert len(errors) == 1
