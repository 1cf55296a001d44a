"""The engine's own process, its orders carried out inside this one."""

import io
import json
import os
import sys
import tempfile
import types
from contextlib import nullcontext
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from npconv import AutoModelForImageClassification
from npconv.bench.orders import Orders, answer, serve, wait_for_rest
from npconv.bench.runners import RUNNERS, Job

pytestmark = pytest.mark.long


def order(worker, do, **arguments):
    return answer(worker, json.dumps({"do": do, **arguments}))


@pytest.mark.parametrize("runner", ["explicit", "fast"])
def test_logits_are_those_of_the_model(runner, small_model):
    worker = Orders()
    assert order(worker, "load", runner=runner, job={"model": str(small_model)}) == {}
    assert order(worker, "pictures", shape=[2, 3, 21, 17]) == {}
    expected = AutoModelForImageClassification.from_pretrained(small_model)(worker._pictures).logits
    got = order(worker, "logits")
    np.testing.assert_allclose(got["logits"], expected, atol=1e-5 * np.abs(expected).max())  # float32, few layers
    assert got["seconds"] > 0


def test_on_a_device_the_pictures_go_there_and_the_logits_come_back(device_stub, small_model):
    """On a strict stand-in for CuPy, which refuses every other crossing."""
    pixel_values = np.random.default_rng(1).standard_normal((2, 3, 21, 17)).astype(np.float32)
    expected = RUNNERS["explicit"](Job(str(small_model)))(pixel_values)
    compute = RUNNERS["explicit"](Job(str(small_model), device="stub"))
    device_stub.ledger.clear()
    got = compute(pixel_values)
    assert isinstance(got, np.ndarray)
    np.testing.assert_array_equal(got, expected)
    assert (device_stub.ledger.to_device, device_stub.ledger.to_host) == (1, 1)
    assert order(Orders(), "sgemm", size=8, calls=2, device="stub")["seconds"] > 0
    assert (device_stub.ledger.to_device, device_stub.ledger.to_host) == (3, 3)  # two matrices, and a look at each call


def make_torch(monkeypatch, available):
    """A stand-in for PyTorch and transformers, and the model that it loads."""
    switch = types.SimpleNamespace
    model = Mock()
    model.eval.return_value = model.to.return_value = model
    backends = switch(cuda=switch(matmul=switch(allow_tf32=True)), cudnn=switch(allow_tf32=True))
    framework = Mock(backends=backends, inference_mode=nullcontext, __version__="9.9+cpu")
    framework.cuda.is_available.return_value = available
    transformers = Mock()
    transformers.AutoModelForImageClassification.from_pretrained.return_value = model
    monkeypatch.setitem(sys.modules, "torch", framework)
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    return framework, model


def test_pytorch_on_a_gpu_is_of_full_float32(monkeypatch, tmp_path):
    framework, model = make_torch(monkeypatch, available=True)
    pixel_values = np.zeros((1, 3, 4, 5), np.float32)
    logits = RUNNERS["torch"](Job(str(tmp_path), device="cuda"))(pixel_values)
    model.to.assert_called_once_with("cuda")
    framework.as_tensor.assert_called_once_with(pixel_values, device="cuda")
    assert logits is model.return_value.logits.cpu.return_value.numpy.return_value
    assert not framework.backends.cuda.matmul.allow_tf32
    assert not framework.backends.cudnn.allow_tf32


def test_a_pytorch_without_cuda_is_named(monkeypatch, tmp_path):
    make_torch(monkeypatch, available=False)
    got = order(Orders(), "load", runner="torch", job={"model": str(tmp_path), "device": "cuda"})
    assert got["error"] == "UnavailableError: expected a PyTorch that finds a CUDA device, got version 9.9+cpu"


def test_what_pytorch_compiles_goes_into_the_scratch_folder(monkeypatch, tmp_path):
    make_torch(monkeypatch, available=False)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "elsewhere")
    monkeypatch.setattr(tempfile, "tempdir", None)
    RUNNERS["torch_compile"](Job("model", scratch=str(tmp_path)))
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ
    assert tempfile.gettempdir() == str(tmp_path)


def test_a_batch_begins_with_the_pictures_of_a_smaller_one():
    small, large = Orders(), Orders()
    order(small, "pictures", shape=[1, 3, 5, 4])
    order(large, "pictures", shape=[3, 3, 5, 4])
    np.testing.assert_array_equal(small._pictures, large._pictures[:1])
    assert not np.array_equal(large._pictures[0], large._pictures[1])


def test_run_times_every_call(small_model):
    worker = Orders()
    order(worker, "load", runner="explicit", job={"model": str(small_model)})
    order(worker, "pictures", shape=[1, 3, 16, 16])
    assert len(order(worker, "run", calls=3)["seconds"]) == 3


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_picture_file_becomes_pixel_values_of_any_channels(channels, tmp_path):
    Image.new("RGB", (40, 30), (255, 0, 127)).save(tmp_path / "picture.png")
    worker = Orders()
    assert order(worker, "open", path=str(tmp_path / "picture.png"), shape=[channels, 8, 6]) == {}
    assert worker._pictures.shape == (1, channels, 8, 6)
    assert worker._pictures.dtype == np.float32
    assert (worker._pictures[0, 0] == 1).all()


def test_an_error_is_an_answer(tmp_path):
    got = order(Orders(), "load", runner="explicit", job={"model": str(tmp_path / "nothing")})
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
    monkeypatch.setattr("npconv.bench.orders.time.process_time", lambda: 0.0)
    assert wait_for_rest(limit=0.05)
    monkeypatch.setattr("npconv.bench.orders.time.process_time", lambda: float(next(clock)))
    assert not wait_for_rest(limit=0.05)


def test_worker_processes_give_the_logits_of_one(small_model):
    pixel_values = np.random.default_rng(1).standard_normal((3, 3, 16, 16)).astype(np.float32)
    expected = RUNNERS["fast"](Job(str(small_model)))(pixel_values)
    shared = RUNNERS["fast_workers"](Job(str(small_model), threads=2))
    try:
        np.testing.assert_allclose(shared(pixel_values), expected, atol=1e-5 * np.abs(expected).max())
    finally:
        shared.close()
