"""The whole measurement on a tiny model, with stand-ins for rivals: one that is wrong, one that breaks, one missing."""

import json
import math
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import pytest
from support.small_models import CONFIGS

from npconv.bench.architectures import write_random_model
from npconv.bench.contenders import RIVALS
from npconv.bench.measure import Settings, measure
from npconv.cli.bench_text import render
from npconv.cli.output import to_json
from npconv.errors import InputError, ModelNotFoundError

pytestmark = pytest.mark.long

FAKE_TORCH = """
    import contextlib
    inference_mode, float32 = contextlib.nullcontext, "float32"
    set_num_threads = int
    as_tensor = lambda array, device: array
"""

#: A rival that is wrong by 1 %: it runs npconv.
FAKE_TRANSFORMERS = """
    import types
    import npconv
    logging = types.SimpleNamespace(set_verbosity_error=lambda: None)

    class Array:
        def __init__(self, array):
            self.array = array
        def cpu(self):
            return self
        def numpy(self):
            return self.array

    class AutoModelForImageClassification:
        def __init__(self, model):
            self.model = model
        def from_pretrained(folder, dtype):
            return AutoModelForImageClassification(npconv.AutoModelForImageClassification.from_pretrained(folder))
        def eval(self):
            return self
        def to(self, device):
            return self
        def __call__(self, pixel_values):
            return types.SimpleNamespace(logits=Array(1.01 * self.model(pixel_values).logits))
"""


@pytest.fixture
def report(small_model, install, monkeypatch):
    """A report with every kind of rival."""
    install("torch", FAKE_TORCH)
    install("transformers", FAKE_TRANSFORMERS)
    monkeypatch.setitem(RIVALS, "onnxruntime", ("onnxruntime", ("surely_not_installed",)))
    against = ("torch", "torch.compile", "onnxruntime")  # the stand-in has no compiler: it breaks at the first call
    monkeypatch.chdir(small_model.parent)  # for a short name: the width of the text is looked at
    settings = Settings([small_model.name], against, batches=(2, 1), threads=1, rounds=2, size=16, quick=True)
    return measure(settings)


def test_a_report(report):
    """One test for all of it: making the report takes seconds."""
    (model,) = report["models"]
    results = {(result["batch"], result["engine"]): result for result in model["results"]}
    sound = ["explicit", "fast, 1 thread"]
    assert list(results) == [(batch, name) for batch in (2, 1) for name in [*sound, "torch"]]

    assert all(results[2, name]["agrees"] and results[2, name]["difference"] < 1e-5 for name in sound)
    assert not results[2, "torch"]["agrees"]
    assert math.isclose(results[2, "torch"]["difference"], 0.01, rel_tol=1e-3)
    assert report["base"] == "torch"
    assert results[1, "torch"]["ratio"] == 1

    assert list(model["failures"]) == ["torch.compile"]
    assert model["failures"]["torch.compile"].startswith("AttributeError: module 'torch' has no attribute")
    missing = {engine["engine"]: engine["missing"] for engine in report["engines"]}
    assert missing["onnxruntime"] == ["surely_not_installed"]
    assert missing["torch"] == []

    for result in results.values():
        assert result["quartiles"][0] <= result["seconds"] <= result["quartiles"][1]
        assert result["rounds"] == [0, 1]
        assert result["flops"] == pytest.approx(2 * model["multiply_adds"] * result["batch"] / result["seconds"])
    assert [start["engine"] for start in model["fresh"]] == [*sound, "torch"]
    for start in model["fresh"]:
        assert start["cold_start"] > 0
        assert list(start["peak_bytes"]) == ["2", "1"]
        assert all(amount is None or amount > 10e6 for amount in start["peak_bytes"].values())
    assert model["parameters"] > 1000
    assert [mean["engine"] for mean in report["means"]] == [*sound, "torch", "torch.compile"]

    assert json.loads(to_json(report))["models"][0]["results"] == model["results"]
    text = render(report)
    assert all(len(line) <= 100 for line in text.splitlines())
    assert "left out, not installed: surely_not_installed" in text
    assert "1e-02 WRONG" in text
    assert "torch.compile FAILED: AttributeError" in text
    assert "torch is WRONG" in text


FAKE_CUPY = """
    import types
    from numpy import *
    __version__ = "14.0"
    properties = lambda number: {"name": b"A GPU"}
    runtime = types.SimpleNamespace(getDeviceCount=lambda: 1, getDeviceProperties=properties)
    cuda = types.SimpleNamespace(runtime=runtime)
"""


def test_a_report_of_a_gpu(small_model, install, monkeypatch):
    """NumPy under the name of CuPy: what the engines and the text make of a device, in processes of their own."""
    install("cupy", FAKE_CUPY)
    install("torch", FAKE_TORCH)
    install("transformers", FAKE_TRANSFORMERS)
    monkeypatch.setitem(sys.modules, "cupy", ModuleType("cupy"))  # what was there comes back after the test
    del sys.modules["cupy"]
    settings = Settings([str(small_model)], ("torch",), (1,), rounds=1, size=16, quick=True, device="cuda")
    report = measure(settings)
    (model,) = report["models"]
    assert [result["engine"] for result in model["results"]] == ["explicit"]
    assert model["failures"]["torch"].startswith("AttributeError: module 'torch' has no attribute 'cuda'")
    assert report["sgemm"].keys() == {"cuda"}
    assert model["results"][0]["of_peak"] == model["results"][0]["flops"] / report["sgemm"]["cuda"]
    assert model["fresh"][0]["peak_bytes"] == {}
    text = render(report)
    assert "cuda      A GPU, CuPy 14.0; float32 without TF32\n" in text
    assert " GFLOP/s on cuda\n" in text
    assert "MB, batch" not in text


def test_nothing_is_left_behind(small_model, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    told = []
    measure(Settings([str(small_model)], batches=(1,), rounds=1, size=8, quick=True), told.append)
    assert list(Path(tmp_path).iterdir()) == []
    assert f"{small_model}, batch 1: round 1 of 1" in told


def test_an_unknown_model_or_a_huge_batch_is_refused_before_anything_is_measured(small_model):
    with pytest.raises(ModelNotFoundError):
        measure(Settings(["surely-no-model"]))
    with pytest.raises(InputError, match="expected at most 100,000,000 values in a batch, got"):
        measure(Settings([str(small_model)], batches=(10**6,)))
    with pytest.raises(InputError, match="expected rivals from"):
        measure(Settings([str(small_model)], against=["tensorflow"]))


@pytest.mark.reference
@pytest.mark.parametrize(
    ("family", "rivals"), [("convnext", ["onnxruntime"]), ("convnextv2", ["torch"]), ("cvt", ["torch", "onnxruntime"])]
)
def test_real_rivals_agree(family, rivals, tmp_path):
    """Each takes half a minute to start, so not every rival runs every family."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    write_random_model(CONFIGS[family], tmp_path / "model")
    report = measure(Settings([str(tmp_path / "model")], rivals, batches=(2,), rounds=1, size=32, quick=True))
    (model,) = report["models"]
    assert model["failures"] == {}
    assert all(result["agrees"] for result in model["results"])
    assert {*rivals} <= {result["engine"] for result in model["results"]}
