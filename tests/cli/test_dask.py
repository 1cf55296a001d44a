"""``npconv classify`` and ``npconv features`` with ``--scheduler`` on a real cluster of several processes."""

import json
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from support.cli_samples import PHOTOS, classify
from support.labelled_pictures import colour_model, draw_colours

from npconv.cli import main
from npconv.cli.features_file import LOG
from npconv.files.safetensors import load_file, read_metadata

distributed = pytest.importorskip("distributed")

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them"),
    pytest.mark.filterwarnings("ignore"),  # those of Dask and its event loop are not ours
]

#: Photos in a call during which a process is killed, and how many of them are done by then.
MANY, DONE = 1500, 100


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


@contextmanager
def killing_a_worker(cluster, done: Callable[[], int]) -> Iterator[None]:
    """Kill a process that is at work as soon as `DONE` photos are done; fail if none was."""
    killed, over = [], threading.Event()
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        processes = client.run(os.getpid)

        def kill_in_the_middle() -> None:
            while not killed and not over.wait(0.005):
                busy = [address for address, tasks in client.processing().items() if tasks]
                if busy and done() >= DONE:
                    os.kill(processes[busy[0]], signal.SIGKILL)
                    killed.append(done())

        killer = threading.Thread(target=kill_in_the_middle)
        killer.start()
        try:
            yield
        finally:
            over.set()
            killer.join()
    assert len(killed) == 1
    assert killed[0] < MANY  # it was not too late


def lines_in(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0


@pytest.fixture
def many(photos) -> list[str]:
    """Many good photos."""
    good = [photo for photo in photos if PHOTOS[os.path.basename(photo)] is None]
    return [good[i % len(good)] for i in range(MANY)]


def test_a_cluster_writes_the_same(capsys, model, photos, cluster) -> None:
    words = (*photos, "--format", "csv", "--batch-size", "2", "--top-k", "1")
    status, out, errors = classify(capsys, model, *words, "--scheduler", cluster.scheduler_address)
    alone = classify(capsys, model, *words)
    assert status == 1
    assert errors == alone[2]
    assert [line.split(",")[:2] for line in out.splitlines()] == [line.split(",")[:2] for line in alone[1].splitlines()]


def test_classify_with_a_killed_process_loses_and_doubles_nothing(capsys, model, many, cluster, tmp_path) -> None:
    out = tmp_path / "out.csv"
    words = ("--format", "csv", "--batch-size", "4", "--top-k", "1", "--output", str(out))
    with killing_a_worker(cluster, lambda: lines_in(out)):
        status, _, errors = classify(capsys, model, *many, *words, "--scheduler", cluster.scheduler_address)
    assert (status, errors) == (0, [])
    rows = [line.split(",")[:2] for line in out.read_text().splitlines()[1:]]
    assert [file for file, _ in rows] == many
    labels = dict(rows)
    assert all(label == labels[file] for file, label in rows)


def test_features_with_a_killed_process_lose_and_double_nothing(capsys, model, many, cluster, tmp_path) -> None:
    out, alone = tmp_path / "out.safetensors", tmp_path / "alone.safetensors"
    words = ("features", "--model", str(model), "--stages", "stage2", "--pooled", "--batch-size", "4")
    log = tmp_path / "out.safetensors.part" / LOG
    with killing_a_worker(cluster, lambda: lines_in(log)):
        status = main([*words, *many, "-o", str(out), "--scheduler", cluster.scheduler_address])
    assert status == 0
    kinds = list(dict.fromkeys(many))
    assert main([*words, *kinds, "-o", str(alone)]) == 0
    assert capsys.readouterr() == ("", "")
    assert json.loads(read_metadata(out)["files"]) == many
    expected = load_file(alone)
    for name, rows in load_file(out).items():
        # float32, in batches of other photos; the values are of some units
        np.testing.assert_allclose(rows, expected[name][[kinds.index(file) for file in many]], atol=1e-5)


def test_evaluation_on_a_cluster_is_that_of_this_machine(capsys, cluster, tmp_path, monkeypatch) -> None:
    model, folder = colour_model(tmp_path / "model"), draw_colours(tmp_path / "photos")
    (folder / "test/red/0.png").write_bytes(b"not a picture, but sixteen bytes")
    monkeypatch.chdir(tmp_path)
    found = []
    for words in ((), ("--scheduler", cluster.scheduler_address)):
        assert main(["evaluate", str(model), "photos", "--batch-size", "3", "--format", "json", *words]) == 1
        said = capsys.readouterr()
        assert said.err.count("\n") == 1
        found.append(said.out.replace(f"{tmp_path}{os.sep}", ""))  # on a cluster, photos have paths from the root
    assert json.loads(found[0])["photos"] == 11
    assert found[0].replace(str(model), "model") == found[1]


def test_an_address_where_nobody_answers(capsys, model, photos, monkeypatch) -> None:
    monkeypatch.setattr("npconv.workers.cluster.PATIENCE", 0.5)
    status, _, errors = classify(capsys, model, photos[0], "--scheduler", "tcp://127.0.0.1:1")
    assert status == 2
    assert len(errors) == 1
    assert errors[0].startswith("npconv: error: no Dask scheduler answers at 'tcp://127.0.0.1:1'")
    status, _, errors = classify(capsys, model, photos[0], "--scheduler", "nonsense://")
    assert status == 2
    assert len(errors) == 1
