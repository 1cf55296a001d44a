"""Ratios and means of a made-up report."""

import pytest

from npconv.bench.figures import add_ratios, choose_base, means


def result(engine, batch, times):
    return {"engine": engine, "batch": batch, "seconds": times[0], "rounds": list(range(len(times))), "times": times}


def start(engine, seconds, peak):
    return {"engine": engine, "cold_start": seconds, "peak_bytes": peak}


def make_report(*models):
    engines = [{"engine": name, "missing": []} for name in ("fast", "torch")]
    engines.append({"engine": "onnxruntime", "missing": ["onnx"]})
    return {
        "settings": {"threads": 2, "batches": [1, 8], "device": "cpu"},
        "sgemm": {"1": 50e9, "2": 100e9},
        "engines": engines,
        "models": list(models),
    }


def model(fast=0.5, fast_memory=50):
    return {
        "multiply_adds": 10**9,
        "results": [result("fast", 1, [fast, fast]), result("torch", 1, [1.0, 1.0])],
        "fresh": [start("fast", 0.2, {"1": fast_memory}), start("torch", 2.0, {"1": 100})],
    }


def test_ratios_speed_and_part_of_the_peak():
    report = make_report(model())
    add_ratios(report)
    fast, torch = report["models"][0]["results"]
    assert (report["base"], fast["ratio"], torch["ratio"]) == ("torch", 0.5, 1)
    assert fast["flops"] == 4e9  # two operations a multiply-add, in half a second
    assert fast["of_peak"] == pytest.approx(0.04)  # of the peak on both threads
    assert report["models"][0]["fresh"][0]["cold_ratio"] == pytest.approx(0.1)
    assert report["models"][0]["fresh"][0]["memory_ratios"] == {"1": 0.5}


def test_means_are_geometric_and_over_all_models():
    report = make_report(model(fast=0.5, fast_memory=50), model(fast=2.0, fast_memory=200))
    add_ratios(report)
    fast, torch = means(report)
    assert fast["engine"] == "fast"
    assert fast["time"]["1"] == pytest.approx(1)
    assert fast["time"]["8"] is None
    assert fast["memory"]["1"] == pytest.approx(1)
    assert torch["time"]["1"] == pytest.approx(1)


def test_no_mean_is_flattered_by_a_missing_model():
    broken = model()
    broken["results"], broken["fresh"] = broken["results"][1:], broken["fresh"][1:]
    report = make_report(model(), broken)
    add_ratios(report)
    assert means(report)[0]["time"]["1"] is None
    assert means(report)[0]["cold_start"] is None


def test_the_base_is_what_all_models_were_measured_with():
    without_torch = model()
    without_torch["results"] = [result("explicit", 1, [3.0]), result("onnxruntime", 1, [1.0])]
    assert choose_base(make_report(model(), model())) == "torch"
    assert choose_base(make_report(without_torch, without_torch)) == "onnxruntime"
    assert choose_base(make_report(model(), without_torch)) == "explicit"


def test_memory_that_is_unknown_has_no_ratio():
    unknown = model()
    unknown["fresh"][1]["peak_bytes"] = {"1": None}
    report = make_report(unknown)
    add_ratios(report)
    assert report["models"][0]["fresh"][0]["memory_ratios"] == {"1": None}
