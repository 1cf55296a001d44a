"""What can be measured, and what is missing for it."""

import pytest

from npconv.bench.contenders import RIVALS, npconv_engines, rivals
from npconv.bench.runners import RUNNERS
from npconv.errors import InputError


def test_every_engine_has_a_runner_and_a_name_of_its_own():
    engines = [*npconv_engines(2), *rivals(list(RIVALS), 2)]
    assert all(engine.runner in RUNNERS for engine in engines)
    assert len({engine.name for engine in engines}) == len(engines)
    assert [engine.name for engine in engines if engine.rival] == list(RIVALS)


def test_one_core_has_one_way_to_use_it():
    assert [engine.name for engine in npconv_engines(1)] == ["explicit", "fast, 1 thread"]


def test_no_engine_may_use_more_cores_than_asked_for():
    """Threads of the engine times threads of the BLAS, where both are at work."""
    for engine in npconv_engines(3):
        assert max(engine.threads, engine.blas_threads) <= 3
        assert engine.runner == "explicit" or min(engine.threads, engine.blas_threads) == 1


def test_the_environment_limits_every_library():
    environment = rivals(["torch"], 5)[0].environment
    assert {environment[name] for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")} == {"5"}


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(RIVALS, "onnxruntime", ("onnxruntime", ("numpy", "surely_not_installed")))
    (engine,) = rivals(["onnxruntime"], 1)
    assert engine.missing == ["surely_not_installed"]
    assert list(engine.versions) == ["numpy"]


def test_a_gpu_has_one_engine_and_one_rival_without_tf32():
    engines = [*npconv_engines(2, "cuda"), *rivals(["torch"], 2, "cuda")]
    assert [engine.runner for engine in engines] == ["explicit", "torch"]
    assert all(engine.environment["NVIDIA_TF32_OVERRIDE"] == "0" for engine in engines)
    with pytest.raises(InputError, match="expected rivals on cuda from torch; got 'onnxruntime'"):
        rivals(["torch", "onnxruntime"], 2, "cuda")


def test_an_unknown_rival_is_refused():
    with pytest.raises(InputError, match=r"expected rivals from torch, torch.compile, onnxruntime; got 'tensorflow'"):
        rivals(["torch", "tensorflow"], 1)
