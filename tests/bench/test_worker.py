"""The engine's own process, its orders carried out inside this one."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from npconv import AutoModelForImageClassification
from npconv.bench.runners import RUNNERS, Job
from npconv.bench.worker import Worker, answer, serve, wait_for_rest


def order(worker, do, **arguments):
    return answer(worker, json.dumps({"do": do, **arguments}))


@pytest.mark.parametrize("runner", ["explicit", "fast"])
def test_logits_are_those_of_the_model(runner, small_model):
    worker = Worker()
    assert order(worker, "load", runner=runner, job={"model": str(small_model)}) == {}
    assert order(worker, "pictures", shape=[2, 3, 21, 17]) == {}
    expected = AutoModelForImageClassification.from_pretrained(small_model)(worker._pictures).logits
    got = order(worker, "logits")
    np.testing.assert_allclose(got["logits"], expected, atol=1e-5 * np.abs(expected).max())  # float32, few layers
    assert got["seconds"] > 0


def test_a_batch_begins_with_the_pictures_of_a_smaller_one():
    small, large = Worker(), Worker()
    order(small, "pictures", shape=[1, 3, 5, 4])
    order(large, "pictures", shape=[3, 3, 5, 4])
    np.testing.assert_array_equal(small._pictures, large._pictures[:1])
    assert not np.array_equal(large._pictures[0], large._pictures[1])


def test_run_times_every_call(small_model):
    worker = Worker()
    order(worker, "load", runner="explicit", job={"model": str(small_model)})
    order(worker, "pictures", shape=[1, 3, 16, 16])
    assert len(order(worker, "run", calls=3)["seconds"]) == 3


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_picture_file_becomes_pixel_values_of_any_channels(channels, tmp_path):
    Image.new("RGB", (40, 30), (255, 0, 127)).save(tmp_path / "picture.png")
    worker = Worker()
    assert order(worker, "open", path=str(tmp_path / "picture.png"), shape=[channels, 8, 6]) == {}
    assert worker._pictures.shape == (1, channels, 8, 6)
    assert worker._pictures.dtype == np.float32
    assert (worker._pictures[0, 0] == 1).all()


def test_an_error_is_an_answer(tmp_path):
    got = order(Worker(), "load", runner="explicit", job={"model": str(tmp_path / "nothing")})
    assert got["error"].startswith("ModelNotFoundError: no model")
    assert "\n" not in got["error"]


def test_serving_answers_line_for_line_and_ends_with_the_input():
    answers = io.StringIO()
    serve(io.StringIO('{"do": "sgemm", "size": 8, "calls": 2}\n{"do": "peak_memory"}\n'), answers)
    first, second = map(json.loads, answers.getvalue().splitlines())
    assert first["seconds"] > 0
    assert second["bytes"] is None or second["bytes"] > 2**20


def test_rest_is_noticed_and_so_is_its_absence(monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr("npconv.bench.worker.time.process_time", lambda: 0.0)
    assert wait_for_rest(limit=0.05)
    monkeypatch.setattr("npconv.bench.worker.time.process_time", lambda: float(next(clock)))
    assert not wait_for_rest(limit=0.05)


def test_worker_processes_give_the_logits_of_one(small_model):
    pixel_values = np.random.default_rng(1).standard_normal((3, 3, 16, 16)).astype(np.float32)
    expected = RUNNERS["fast"](Job(str(small_model)))(pixel_values)
    shared = RUNNERS["fast_workers"](Job(str(small_model), threads=2))
    try:
        np.testing.assert_allclose(shared(pixel_values), expected, atol=1e-5 * np.abs(expected).max())
    finally:
        shared.close()
