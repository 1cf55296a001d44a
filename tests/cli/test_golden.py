"""``npconv golden`` inside this process."""

import json
import shlex
import sys
from pathlib import Path

import pytest

from npconv.cli import main
from npconv.golden.case import FOLDER, NO_CASES, cases, every_case, models

Capsys = pytest.CaptureFixture[str]

SUM = """
import array, json, sys

folder, output = sys.argv[1:]
case = json.load(open(folder + "/case.json"))
x, branch = (array.array("f", open(folder + "/" + entry["file"], "rb").read()) for entry in case["inputs"])
array.array("f", [a * {factor} + b for a, b in zip(x, branch)]).tofile(open(output, "wb"))
"""


def program(folder: Path, factor: int) -> str:
    """Return the command of a residual sum, right with a factor of 1; it reads the byte order of this machine."""
    path = folder / "my sum.py"
    path.write_text(SUM.replace("{factor}", str(factor)))
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(path))} {{input}} {{output}}"


def test_list_tells_every_case(capsys: Capsys) -> None:
    assert main(["golden", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["operation", "case", "input", "tolerance", "why"]
    expected = [(case.operation, case.name) for case in every_case()]
    assert [tuple(line.split()[:2]) for line in lines[1 : -len(NO_CASES)]] == [
        *expected,
        *((f"models-{f}", "trace") for f in models()),
    ]
    assert lines[-len(NO_CASES) :] == [f"no cases of {name}: {why}" for name, why in NO_CASES.items()]
    assert lines[-len(NO_CASES)].startswith("no cases of join_nothing: ")


def test_list_of_a_model_as_json(capsys: Capsys) -> None:
    assert main(["golden", "list", "models-cvt", "softmax", "--json"]) == 0
    *others, trace = json.loads(capsys.readouterr().out)
    assert [entry["operation"] for entry in others] == ["softmax", "softmax"]
    assert (trace["operation"], trace["inputs"], trace["tolerance"]) == ("models-cvt", [[2, 3, 37, 46]], None)
    assert trace.keys() == others[0].keys()
    assert trace["attributes"]["model_type"] == "cvt"


def test_list_of_one_operation_as_json(capsys: Capsys) -> None:
    assert main(["golden", "list", "softmax", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    first = cases("softmax")[0]
    assert [entry["case"] for entry in entries] == [case.name for case in cases("softmax")]
    assert entries[0]["inputs"] == [list(first.inputs[0].shape)]
    assert entries[0]["tolerance"] == first.tolerance


def test_export_writes_files(capsys: Capsys, tmp_path: Path) -> None:
    assert main(["golden", "export", str(tmp_path / "out"), "softmax", "--format", "npy"]) == 0
    assert capsys.readouterr().out == f"2 cases written; {tmp_path}/out/index.json says what they are\n"
    assert (tmp_path / "out" / "softmax" / "scores" / "input.0.npy").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["DIR", "softmax", "--format", "npy"],
        ["DIR", "--format", "npy", "softmax"],
        ["--format", "npy", "DIR", "softmax"],
    ],
)
def test_words_may_come_in_any_order(words: list[str], tmp_path: Path) -> None:
    assert main(["golden", "export", *(str(tmp_path) if word == "DIR" else word for word in words)]) == 0
    assert (tmp_path / "softmax" / "scores" / "input.0.npy").exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_list_takes_operations_on_both_sides_of_an_option(capsys: Capsys) -> None:
    assert main(["golden", "list", "softmax", "--json", "residual"]) == 0
    assert {entry["operation"] for entry in json.loads(capsys.readouterr().out)} == {"softmax", "residual"}


def test_export_copies_the_traces_of_models(capsys: Capsys, tmp_path: Path) -> None:
    assert main(["golden", "export", str(tmp_path / "out"), "models-cvt", "residual"]) == 0
    said = f"2 cases and the traces of cvt written; {tmp_path}/out/index.json says what they are\n"
    assert capsys.readouterr().out == said
    (file,) = json.loads((tmp_path / "out" / "index.json").read_text())["models"]
    assert (tmp_path / "out" / file).read_bytes() == (FOLDER / "models-cvt.safetensors").read_bytes()
    assert main(["diff", str(FOLDER / file), str(tmp_path / "out" / file)]) == 0


def test_export_of_everything(tmp_path: Path) -> None:
    assert main(["golden", "export", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.glob("*.safetensors")} == {
        f"models-{family}.safetensors" for family in models()
    }


def test_check_of_a_right_program(capsys: Capsys, tmp_path: Path) -> None:
    assert main(["golden", "check", "residual", "--command", program(tmp_path, 1)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("map     pass  max error ")
    assert lines[2] == "residual: 2 of 2 cases pass"


def test_check_of_a_wrong_program(capsys: Capsys, tmp_path: Path) -> None:
    assert main(["golden", "check", "residual", "--case", "tokens", "--command", program(tmp_path, 2)]) == 1
    output = capsys.readouterr()
    assert output.err == ""
    assert output.out.startswith("tokens  FAIL  max error ")
    assert "; fits residual added twice: " in output.out
    assert output.out.endswith("residual: 0 of 1 cases pass\n")


def test_check_as_json(capsys: Capsys, tmp_path: Path) -> None:
    assert main(["golden", "check", "residual", "--json", "--command", program(tmp_path, 0)]) == 1
    first, second = json.loads(capsys.readouterr().out)
    assert (first["case"], second["case"]) == ("map", "tokens")
    assert not first["passed"]
    assert first["error"] > first["tolerance"]
    assert "fits residual forgotten" in first["says"]


def test_check_as_json_of_a_program_without_numbers(capsys: Capsys, tmp_path: Path) -> None:
    command = f"{shlex.quote(sys.executable)} -c 'pass' {{input}} {{output}}"
    assert main(["golden", "check", "residual", "--json", "--case", "map", "--command", command]) == 1
    (only,) = json.loads(capsys.readouterr().out)
    assert (only["error"], only["says"]) == (None, "wrote no output file")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["list", "gelu"], "expected an operation with cases: activation, "),
        (["export", "/dev/null/x"], "cannot make the folder '/dev/null/x': Not a directory; give another one"),
        (["export", "a\0b"], "cannot make the folder 'a\\x00b': "),
        (["export", str(Path(__file__).parent), "softmax"], "expected a new or empty folder"),
        (["export", "x", "--fromat", "npy"], "unrecognized arguments: --fromat"),
        (["check", "models-cvt", "--command", "a {input} {output}"], "give it to npconv diff as the reference"),
        (["list", "join_nothing"], "got 'join_nothing' (it changes no number: "),
        (["check", "softmax", "--command", "x" * 60_000 + " {input} {output}"], "xxx'... cannot be started"),
        (["export", "x", "gelu"], "expected an operation with cases"),
        (["check", "gelu", "--command", "a {input} {output}"], "expected an operation with cases"),
        (["check", "softmax"], "required: --command; see npconv golden check --help"),
        (["check", "softmax", "--command", "a {input}"], "expected a command with {output} in it"),
        (["check", "softmax", "--command", "surely-none {input} {output}"], "'surely-none' cannot be started"),
        (
            ["check", "softmax", "--case", "x", "--command", "a {input} {output}"],
            "expected a case of softmax: scores, ",
        ),
        (["check", "softmax", "--timeout", "0", "--command", "a"], "expected seconds above 0, got '0'"),
        (["check", "softmax", "--timeout", "soon", "--command", "a"], "expected seconds above 0, got 'soon'"),
        (["check", "softmax", "--timeout", "inf", "--command", "a"], "expected seconds above 0, got 'inf'"),
        (["make"], "invalid choice: 'make'"),
    ],
)
def test_an_unusable_call_is_one_line(words: list[str], said: str, capsys: Capsys) -> None:
    assert main(["golden", *words]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert said in output.err


def test_without_a_command_its_help_is_printed(capsys: Capsys) -> None:
    assert main(["golden"]) == 2
    without = capsys.readouterr().out
    assert main(["golden", "--help"]) == 0
    assert capsys.readouterr().out == without


@pytest.mark.parametrize("words", [[], ["list"], ["export"], ["check"]])
def test_helps_fit_the_terminal(words: list[str], capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["golden", *words, "--help"]) == 0
    assert all(len(line) < 80 for line in capsys.readouterr().out.splitlines())
