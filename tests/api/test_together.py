"""One picture at a time by all workers of a pool together."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from unittest import mock

import numpy as np
import pytest
from support.builders import pictures
from support.fast_models import CLASSIFIERS, small

import npconv
from npconv.api import together
from npconv.api.pictures import WORTH_WORKERS
from npconv.api.shared import SharedClassifier
from npconv.fast.team import Table
from npconv.workers.pool import WorkerPool

FAMILIES = sorted(CLASSIFIERS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder with a model of each family."""
    places = {family: tmp_path_factory.mktemp(family) for family in FAMILIES}
    for family, folder in places.items():
        model = small(family, engine="explicit")
        model.config.id2label = dict(enumerate("abcde"))
        model.save_pretrained(folder)
        npconv.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=1.0).save_pretrained(folder)
    return places


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Small models on a busy machine wait for each other most of the time."""
    monkeypatch.setattr(together, "MOST_WAITING", 2.0)


@pytest.fixture
def taken(monkeypatch):
    """The seats that workers are asked to take."""
    seats, take_part = [], together._take_part

    def submit(pool, function, *args):
        if function is take_part:
            seats.append(args[-1])
        return submitted(pool, function, *args)

    submitted = WorkerPool.submit
    monkeypatch.setattr(WorkerPool, "submit", submit)
    return seats


def assert_right(classifier, folder, size=32, seed=0):
    """Assert that logits of a picture are those of the explicit engine, up to the rounding of float32."""
    x = pictures(1, height=size, width=size, seed=seed)
    expected = npconv.AutoModelForImageClassification.from_pretrained(folder)(x).logits
    np.testing.assert_allclose(classifier(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_one_picture_is_the_work_of_all(folders, family, taken):
    """One after another; one that has another size than the last and the first is not worth new arrays."""
    with SharedClassifier(folders[family], workers=2) as classifier:
        for seed, (size, turns) in enumerate([(32, 1), (32, 2), (40, 2), (32, 3), (40, 3), (40, 4), (32, 4), (40, 5)]):
            assert_right(classifier, folders[family], size, seed)
            assert taken == [0, 1] * turns


def test_pipelines_have_their_workers_do_it(folders, taken):
    photo = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    expected = npconv.pipeline("image-classification", str(folders["convnextv2"]), engine="explicit")(photo)

    def assert_expected(found):
        assert [score["label"] for score in found] == [score["label"] for score in expected]
        np.testing.assert_allclose([s["score"] for s in found], [s["score"] for s in expected], atol=1e-5)

    with npconv.pipeline("image-classification", str(folders["convnextv2"]), workers=2) as pipe:
        for _ in range(WORTH_WORKERS):  # to start processes for a few would take longer
            assert_expected(pipe(photo))
        assert taken == []
        for _ in range(2):
            assert_expected(pipe(photo))
        assert taken == [0, 1, 0, 1]
        for found in pipe([photo, photo]):  # more than one at a time: each worker has some
            assert_expected(found)
        assert taken == [0, 1, 0, 1]
        pipe.close()
        assert_expected(pipe(photo))  # the workers start anew
        assert taken == [0, 1] * 3
    with npconv.pipeline("image-classification", str(folders["convnextv2"]), workers=np.int64(2)) as pipe:
        list(pipe([photo, photo]))
        assert_expected(pipe(photo))  # as there are workers
        assert taken == [0, 1] * 4
    with npconv.pipeline("image-feature-extraction", str(folders["cvt"]), workers=2) as pipe:
        features = npconv.pipeline("image-feature-extraction", str(folders["cvt"]), engine="explicit")(photo)
        for _ in range(WORTH_WORKERS + 1):
            np.testing.assert_allclose(pipe(photo), features, rtol=1e-4, atol=1e-4)
    assert taken == [0, 1] * 5


class Doubling(npconv.ImageClassificationPipeline):
    """A pipeline of a user's."""

    def forward(self, model_inputs):
        return super().forward({"pixel_values": 2 * model_inputs["pixel_values"]})


def test_what_a_users_class_does_is_done_once(folders, taken):
    photo = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    arguments = {"model": str(folders["convnextv2"]), "pipeline_class": Doubling}
    expected = npconv.pipeline("image-classification", **arguments)(photo)
    with npconv.pipeline("image-classification", workers=2, **arguments) as pipe:
        for _ in range(WORTH_WORKERS + 1):
            assert pipe(photo) == expected
    assert taken == []


def test_pipelines_refuse_the_same_when_their_workers_do_it(folders):
    """Numbers that are not normalized; a picture whose result is no number, without warnings of NumPy's."""
    model = small("convnext", engine="explicit")
    model.config.id2label = dict(enumerate("abcde"))
    model.params["classifier"]["weight"][...] = 3e38
    folder = folders["convnext"] / "overflows"
    model.save_pretrained(folder)
    npconv.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=1.0).save_pretrained(folder)
    with npconv.pipeline("image-classification", str(folder), workers=2) as pipe:
        for _ in range(WORTH_WORKERS + 1):
            with pytest.raises(npconv.InputError, match="numbers overflowed inside the model"):
                pipe(np.zeros((32, 32, 3), np.uint8))
        with pytest.raises(npconv.InputError, match="expected normalized floating-point pixel_values, got uint8"):
            pipe.forward({"pixel_values": np.zeros((1, 3, 32, 32), np.uint8)})


def test_threads_that_begin_at_once_have_one_team(folders, monkeypatch):
    """Two teams of the same workers would wait for each other."""
    made = []

    class Slow(together.Together):
        def __init__(self, *args):
            made.append(self)
            time.sleep(0.1)
            super().__init__(*args)

        def run(self, _, pixel_values):
            return pipe._forward({"pixel_values": pixel_values})

    monkeypatch.setattr(together, "Together", Slow)
    with npconv.pipeline("image-classification", str(folders["convnext"]), workers=2) as pipe:
        photo = np.zeros((32, 32, 3), np.uint8)
        for _ in range(WORTH_WORKERS):
            pipe(photo)
        with ThreadPoolExecutor(4) as executor:
            list(executor.map(pipe, [photo] * 4))
    assert len(made) == 1


@pytest.mark.parametrize("options", [{"engine": "explicit"}, {"workers": 1}, {"machine": "arm64"}])
def test_where_workers_cannot_meet_one_does_it(folders, taken, monkeypatch, options):
    if options == {"machine": "arm64"}:  # its processors show writes of others in any order
        monkeypatch.setattr(together, "CAN_MEET", False)
        options = {}
    arguments = {"workers": 2, **options}
    with SharedClassifier(folders["convnext"], **arguments) as classifier:
        assert_right(classifier, folders["convnext"])
    with npconv.pipeline("image-classification", str(folders["convnext"]), **arguments) as pipe:
        list(pipe([np.zeros((32, 32, 3), np.uint8)] * 2))
        pipe(np.zeros((32, 32, 3), np.uint8))
    assert taken == []


def test_executors_of_others_may_have_other_work(folders, taken):
    with ThreadPoolExecutor(1) as executor, SharedClassifier(folders["convnext"], workers=executor) as classifier:
        assert_right(classifier, folders["convnext"])
    with WorkerPool(2) as executor:
        with SharedClassifier(folders["convnext"], workers=executor) as classifier:
            assert_right(classifier, folders["convnext"])
        with npconv.pipeline("image-classification", str(folders["convnext"]), workers=executor) as pipe:
            list(pipe([np.zeros((32, 32, 3), np.uint8)] * 2))
            pipe(np.zeros((32, 32, 3), np.uint8))
    assert taken == []


def test_a_worker_that_dies_costs_one_picture_some_time(folders, taken):
    """The others are given up at once, the picture is done by one worker, and so are some after it."""
    with SharedClassifier(folders["convnextv2"], workers=2) as classifier:
        assert_right(classifier, folders["convnextv2"])
        os.kill(classifier._executor.process_ids()[0], signal.SIGKILL)
        for seed in range(together.REST + 2):
            assert_right(classifier, folders["convnextv2"], seed=seed)
        assert taken == [0, 1] * 3
        assert len(os.listdir(classifier._executor.folder)) == 2  # the folded model, and the table of this team


def test_other_pictures_go_on_after_one_that_cannot_be_done(folders):
    with SharedClassifier(folders["convnext"], workers=2) as classifier:
        for _ in range(2):
            with pytest.raises(npconv.InputError, match="expected pixel_values of shape"):
                classifier(pictures(1, channels=5, height=32, width=32))
            assert_right(classifier, folders["convnext"])


class Interrupted(SimpleQueue):
    """Ctrl-C comes while it is waited."""

    def get(self):
        raise KeyboardInterrupt


def test_ctrl_c_ends_the_turn(folders, taken):
    with SharedClassifier(folders["convnext"], workers=2) as classifier:
        assert_right(classifier, folders["convnext"])
        with mock.patch.object(together, "SimpleQueue", Interrupted), pytest.raises(KeyboardInterrupt):
            classifier(pictures(1, height=32, width=32))
        assert_right(classifier, folders["convnext"])
    assert taken == [0, 1] * 3


def test_who_is_alone_at_the_table_goes_on(folders, taken, monkeypatch):
    """Ctrl-C comes when one worker has been asked, and the other has not."""
    with SharedClassifier(folders["convnext"], workers=2) as classifier:
        assert_right(classifier, folders["convnext"])
        submit, seats = WorkerPool.submit, []

        def interrupted(pool, *args):
            seats.append(args[-1])
            if len(seats) == 2:
                raise KeyboardInterrupt
            return submit(pool, *args)

        with mock.patch.object(WorkerPool, "submit", interrupted), pytest.raises(KeyboardInterrupt):
            classifier(pictures(1, height=32, width=32))
        for _ in range(2):  # the second time: the first may end the team that was left
            assert_right(classifier, folders["convnext"])
    assert taken == [0, 1, 0, 0, 1, 0, 1]


def test_workers_that_wait_for_each_other_do_one_picture_each(folders, taken, monkeypatch):
    """Where other programs have the cores, one worker alone is quicker; it is tried again after some pictures."""
    monkeypatch.setattr(together, "MOST_WAITING", -1.0)
    with SharedClassifier(folders["convnext"], workers=2) as classifier:
        for _ in range(2 + together.REST + 1):  # the first turn, in which models are loaded, does not count
            assert_right(classifier, folders["convnext"])
    assert taken == [0, 1] * 3


@pytest.mark.parametrize("error", [OSError(28, "no space left"), MemoryError()])
def test_no_room_for_what_is_shared_is_no_error(folders, taken, monkeypatch, error):
    monkeypatch.setattr(Table, "lay", mock.Mock(side_effect=error))
    with SharedClassifier(folders["convnext"], workers=2) as classifier:
        assert_right(classifier, folders["convnext"])
    assert taken == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no forks")
def test_a_forked_child_has_a_team_of_its_own(folders):
    with SharedClassifier(folders["convnext"], workers=2) as classifier:
        assert_right(classifier, folders["convnext"])
        table = classifier._together._table.path
        child = os.fork()
        if child == 0:
            status = 1
            try:
                assert_right(classifier, folders["convnext"], seed=1)
                status = 0 if classifier._together._table.path != table else 2
                classifier.close()
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert table.exists()
        assert_right(classifier, folders["convnext"], seed=2)
