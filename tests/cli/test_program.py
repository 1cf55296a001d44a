"""The frame of all commands: help, exit status, and every error in one line."""

import argparse
import inspect
import io
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import npconv
from npconv.cli import main
from npconv.cli.program import COMMANDS, make_parser
from npconv.errors import InputError, NpconvWarning
from npconv.training import evaluate
from npconv.training.features import work_out_features


def test_version(capsys: pytest.CaptureFixture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"npconv {npconv.__version__}\n"


def test_without_a_command_the_help_is_printed(capsys: pytest.CaptureFixture) -> None:
    assert main([]) == 2
    without = capsys.readouterr()
    assert main(["--help"]) == 0
    assert without.out == capsys.readouterr().out
    assert without.err == ""


def test_the_help_names_the_commands_that_are_there(capsys: pytest.CaptureFixture) -> None:
    main(["--help"])
    text = capsys.readouterr().out
    weights = ["convert", "export", "inspect", "verify"]
    others = ["bench", "diff", "evaluate", "features", "finetune", "golden", "info", "look", "models", "trace"]
    assert sorted(COMMANDS) == sorted(["classify", *others, *weights])
    assert all(f"\n    {name} " in text for name in COMMANDS)


@pytest.mark.parametrize("columns", ["80", "120"])
@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS)])
def test_helps_fit_the_terminal(
    words: list[str], columns: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert main([*words, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: {' '.join(['npconv', *words])} [-h]")
    assert "Exit status: 0 done; 1 done, but" in text or words
    assert all(len(line) < int(columns) for line in text.splitlines())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["clasify"], "invalid choice: 'clasify'"),
        (["classify"], "required: PHOTO; see npconv classify --help"),
        (["classify", "a.png", "--top-k", "0"], "argument --top-k: expected a whole number of at least 1, got '0'"),
        (["classify", "a.png", "--top-k", "-3"], "argument --top-k: expected"),
        (["classify", "a.png", "--top-k", "5.0"], "argument --top-k: expected a whole number of at least 1, got '5.0'"),
        (["classify", "a.png", "--batch-size", "0"], "argument --batch-size: expected"),
        (["classify", "a.png", "--batch-size", "9" * 5000], "argument --batch-size: expected"),
        (["classify", "a.png", "--format", "xml"], "argument --format: invalid choice: 'xml'"),
        (["classify", "a.png", "--dtype", "int8"], "argument --dtype: invalid choice: 'int8'"),
        (["classify", "a.png", "--top", "3"], "unrecognized arguments: --top; see npconv"),
        (["classify", "a.png", "--device", "tpu"], "argument --device: invalid choice: 'tpu'"),
        (["info", "one", "two"], "unrecognized arguments: two"),
        (["info", "--size", "0"], "argument --size: expected pixels such as 224"),
        (["info", "--size", "224x"], "argument --size: expected pixels such as 224"),
        (["models", "--all"], "unrecognized arguments: --all"),
        (["--debug", "models", "--all"], "unrecognized arguments: --all"),
        (["classify", "a.png", "--model", "no/such\nmodel"], r"no model 'no/such\nmodel'"),
        (["info", "surely-no-model"], "no model 'surely-no-model'"),
        (["info", ""], "no model ''"),
        (["info", "../.."], "no such file; a model needs its config.json"),
        (["info", "\0"], r"no model '\x00'"),
    ],
)
def test_an_unusable_call_is_one_line(words: list[str], expected: str, capsys: pytest.CaptureFixture) -> None:
    assert main(words) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert output.err.startswith("npconv: error: ")
    assert expected in output.err
    assert "unexpected" not in output.err


@pytest.mark.parametrize("words", [["--debug", "info", "surely-no-model"], ["info", "surely-no-model", "--debug"]])
def test_debug_shows_where_an_error_comes_from(words: list[str], capsys: pytest.CaptureFixture) -> None:
    assert main(words) == 2
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first == "Traceback (most recent call last):"
    assert last.startswith("npconv: error: no model 'surely-no-model'")


def test_an_unexpected_error_is_named(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npconv.cli.models.run", lambda args: 1 / 0)
    assert main(["models"]) == 2
    expected = "npconv: error: unexpected ZeroDivisionError: division by zero"
    assert capsys.readouterr().err == f"{expected}; --debug shows where\n"
    assert main(["models", "--debug"]) == 2
    first, *_, last = capsys.readouterr().err.splitlines()
    assert (first, last) == ("Traceback (most recent call last):", expected)


def test_what_was_printed_stands_before_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where both go to one file: standard output holds its lines back there, standard error does not."""

    def fail(args: argparse.Namespace) -> int:
        print("first")
        raise InputError("second")

    both = io.BytesIO()
    monkeypatch.setattr("npconv.cli.models.run", fail)
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BufferedWriter(both), write_through=name == "stderr"))
    assert main(["models"]) == 2
    assert both.getvalue() == b"first\nnpconv: error: second\n"


def test_an_interruption_is_one_line(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(args: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("npconv.cli.models.run", interrupt)
    assert main(["models"]) == 130
    assert capsys.readouterr() == ("", "npconv: interrupted\n")


def test_an_interruption_says_whether_another_call_can_go_on(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupt(args: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("npconv.cli.features.run", interrupt)
    out = tmp_path / "out"
    assert main(["features", "a.png", "-o", str(out)]) == 130
    assert capsys.readouterr().err == "npconv: interrupted\n"  # nothing is there yet
    (tmp_path / "out.part").mkdir()
    assert main(["features", "a.png", "-o", str(out)]) == 130
    assert capsys.readouterr().err == "npconv: interrupted; the same call with --resume goes on from here\n"


def test_a_warning_is_one_line(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(args: argparse.Namespace) -> int:
        warnings.warn("this is\nodd", NpconvWarning, stacklevel=1)
        return 0

    monkeypatch.setattr("npconv.cli.models.run", warn)
    assert main(["models"]) == 0
    assert capsys.readouterr().err == "npconv: warning: this is\\nodd\n"


def test_options_may_stand_anywhere() -> None:
    parser = make_parser()
    args, rest = parser.parse_known_args(["classify", "a.png", "--top-k", "3", "b.png"])
    assert (args.photos, args.top_k, rest) == (["a.png"], 3, ["b.png"])  # main appends the rest


@pytest.mark.parametrize("function", [evaluate, work_out_features])
def test_functions_take_as_many_photos_at_a_time_as_their_commands(function: Callable[..., Any]) -> None:
    args = make_parser("evaluate").parse_args(["evaluate", "MODEL", "PHOTOS"])
    assert args.batch_size == inspect.signature(function).parameters["batch_size"].default == 8
