"""``npconv bench``: its arguments, its two kinds of output, its exit status. What it measures is tested in bench/."""

import json
import sys
from pathlib import Path

import pytest

from npconv.cli import main
from npconv.cli.bench_text import milliseconds, ratio

pytestmark = pytest.mark.long

Capsys = pytest.CaptureFixture[str]

QUICK = ("--quick", "--rounds", "1", "--threads", "1", "--size", "16", "--batch", "1", "--against", "none")


def test_json_holds_everything_and_stdout_nothing_else(capsys: Capsys, model: Path) -> None:
    assert main(["bench", str(model), *QUICK, "--json"]) == 0
    output = capsys.readouterr()
    report = json.loads(output.out)
    assert output.err == ""
    assert report.keys() == {"machine", "settings", "sgemm", "engines", "models", "base", "means"}
    assert report["settings"]["models"] == [str(model)]
    assert report["settings"]["batches"] == [1]
    assert report["models"][0]["size"] == [16, 16]
    assert [result["engine"] for result in report["models"][0]["results"]] == ["explicit", "fast, 1 thread"]
    parts = {"seconds", "quartiles", "times", "ratio", "flops", "of_peak", "difference", "agrees", "others"}
    assert parts <= report["models"][0]["results"][0].keys()


def _made_up_report(agrees: bool = True, failures: dict | None = None) -> dict:
    result = {
        **{"engine": "explicit", "batch": 8, "seconds": 0.01234, "quartiles": [0.012, 0.013], "best": 0.0119},
        **{
            "ratio": 1.0,
            "flops": 12e9,
            "of_peak": 0.25,
            "difference": 3e-7,
            "agrees": agrees,
            "restless": False,
            "others": 0.5,
        },
    }
    fresh = {"engine": "explicit", "cold_start": 0.5, "cold_ratio": 1.0, "peak_bytes": {"8": 2e8}}
    model = {
        **{"model": "some\nmodel", "random_weights": False, "size": [16, 24], "parameters": 5e6},
        **{"multiply_adds": 2e9, "results": [result], "fresh": [{**fresh, "memory_ratios": {"8": None}}]},
        "failures": failures or {},
    }
    machine = {"processor": "A processor", "cores": 2, "system": "Linux", "npconv": "1", "numpy": "2", "blas": "b"}
    return {
        "machine": {**machine, "python": "3"},
        "settings": {"threads": 2, "rounds": 4, "quick": False, "batches": [8], "device": "cpu"},
        "sgemm": {"1": 1e11, "2": 2e11},
        "engines": [{"engine": "torch", "rival": True, "missing": ["torch"], "versions": {}}],
        "models": [model],
        "base": "explicit",
        "means": [],
    }


@pytest.mark.parametrize(("report", "status"), [({}, 0), ({"agrees": False}, 1), ({"failures": {"torch": "x"}}, 1)])
def test_the_exit_status_says_whether_all_is_well(
    report: dict, status: int, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("npconv.bench.measure.measure", lambda settings, progress: _made_up_report(**report))
    assert main(["bench"]) == status
    assert ("WRONG" in (text := capsys.readouterr().out)) == (report.get("agrees") is False)
    assert ("FAILED" in text) == ("failures" in report)


def test_the_text_shows_what_was_measured(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npconv.bench.measure.measure", lambda settings, progress: _made_up_report())
    assert main(["bench"]) == 0
    text = capsys.readouterr().out
    assert "sgemm     100 GFLOP/s on 1, 200 GFLOP/s on 2 threads\n" in text
    assert "WARNING   other programs kept up to 0.5 cores busy" in text
    assert "torch     left out, not installed: torch\n" in text
    assert "some\\nmodel, 16 x 24: 5 M parameters, 2 G multiply-adds\n" in text
    assert [" ".join(line.split()) for line in text.splitlines() if "explicit" in line][1:3] == [
        "8 explicit 12.3 12.0 .. 13.0 11.9 1.00 25 % 3e-07",
        "engine cold start s x explicit MB, batch 8 x explicit",
    ]
    assert "explicit          0.50        1.00          200           -\n" in text


def test_the_settings_are_those_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        "npconv.bench.measure.measure", lambda settings, progress: seen.append(settings) or {"models": []}
    )
    words = ["bench", "a", "b", "a", "--against", "onnxruntime,torch", "--batch", "8,1,8", "--threads", "1", "--json"]
    assert main([*words, "--rounds", "3", "--size", "64"]) == 0
    assert main(["bench", "--quick", "--json"]) == 0
    assert main(["bench", "--device", "cuda", "--json"]) == 0
    first, second, third = seen
    assert (first.models, first.against, first.batches) == (["a", "b"], ["onnxruntime", "torch"], [8, 1])
    assert (first.threads, first.rounds, first.size, first.quick) == (1, 3, 64, False)
    assert second.models == ("convnext-tiny", "convnextv2-tiny", "convnextv2-atto", "cvt-13")
    assert (second.against, second.batches, second.rounds) == (["torch", "torch.compile", "onnxruntime"], [1, 8], 2)
    assert (first.device, third.device, third.against) == ("cpu", "cuda", ["torch"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--batch", "0"], "argument --batch: expected a whole number of at least 1, got '0'"),
        (["--batch", "1,"], "argument --batch: expected a whole number of at least 1, got ''"),
        (["--batch", "999999999"], "expected at most 100,000,000 values in a batch"),
        (["--threads", "100000"], "expected --threads of at most"),
        (["--rounds", "x"], "argument --rounds: expected"),
        (["--against", "tensorflow"], "expected rivals from torch, torch.compile, onnxruntime; got 'tensorflow'"),
        (["--device", "cuda"], "device 'cuda' needs CuPy: pip install cupy-cuda12x"),
        (["surely-no-model"], "no model 'surely-no-model'"),
    ],
)
def test_an_unusable_call_is_one_line(
    words: list[str], expected: str, capsys: Capsys, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    first = [] if words[0] == "surely-no-model" else [str(model)]
    assert main(["bench", *first, *words]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("npconv: error: ")
    assert output.err.count("\n") == 1
    assert expected in output.err


def test_numbers_have_three_digits() -> None:
    assert [milliseconds(seconds) for seconds in (0.001234, 0.01234, 0.1234, 12.34)] == ["1.23", "12.3", "123", "12340"]
    assert [ratio(value) for value in (None, 0.5)] == ["-", "0.50"]
