"""Programs run over cases: right ones pass, wrong ones are explained, broken ones are told in one line."""

import json
import os
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from npconv.errors import GoldenError
from npconv.golden.case import cases, every_case
from npconv.golden.check import check, last_line
from npconv.golden.export import export

pytestmark = pytest.mark.long

#: Reads the arrays of a case as `inputs` and `params`, and writes the array `y`.
FRAME = """
import json, sys
import numpy as np

folder, output = sys.argv[1:]
case = json.load(open(folder + "/case.json"))
read = lambda array: np.fromfile(folder + "/" + array["file"], "<f4").reshape(array["shape"])
inputs = [read(array) for array in case["inputs"]]
params = {name: read(array) for name, array in case["params"].items()}
attributes = case["attributes"]
%s
y.astype("<f4").tofile(output)
"""


@pytest.fixture
def command(tmp_path):
    """Write a Python program and return the command that runs it."""

    def make(code, frame="%s", words="{input} {output}"):
        path = tmp_path / "my program.py"
        path.write_text(frame % code)
        return f"{shlex.quote(sys.executable)} {shlex.quote(str(path))} {words}"

    return make


def outcome(operation, command, name=None, **settings):
    """Return how a command does on one case, the first if unnamed."""
    chosen = next(case for case in cases(operation) if name in (None, case.name))
    (only,) = check([chosen], command, **settings)
    return only


def test_a_right_program_passes_every_case(command):
    grn = """
x, (weight, bias) = inputs[0], (params[name].reshape(-1, 1, 1) for name in ("weight", "bias"))
strength = np.sqrt((x * x).sum((2, 3), keepdims=True))
y = weight * (x * (strength / (strength.mean(1, keepdims=True) + attributes["eps"]))) + bias + x
"""
    outcomes = list(check(cases("global_response_norm"), command(grn, FRAME)))
    assert [o.case.name for o in outcomes] == [case.name for case in cases("global_response_norm")]
    assert all(o.passed and o.error <= o.case.tolerance and not o.says for o in outcomes)


def test_a_wrong_program_is_explained(command):
    done = outcome("residual", command("y = inputs[1]", FRAME))
    assert not done.passed
    assert done.says.startswith("max error ")
    assert done.says.endswith(" outside; fits residual forgotten: 0.0e+00")
    assert done.error == np.abs(done.case.inputs[0]).max()


def test_a_gradient_is_that_of_the_argument_that_is_asked_for(command):
    backward = """
(grad_y, x), weight = inputs, params["weight"]
rows, grad_rows = (array.reshape(-1, array.shape[-1]) for array in (x, grad_y))
gradients = {"x": grad_y @ weight, "weight": grad_rows.T @ rows, "bias": grad_rows.%s(0)}
y = gradients[attributes["wrt"]]
"""
    assert all(o.passed for o in check(cases("linear_backward"), command(backward % "sum", FRAME)))
    done = outcome("linear_backward", command(backward % "mean", FRAME), "tokens_bias")
    assert "; fits bias gradient averaged over samples and positions: " in done.says


def test_a_program_in_half_precision(command):
    half = command("y = (inputs[0] + inputs[1]).astype(np.float16)", FRAME)
    assert not outcome("residual", half).passed
    done = outcome("residual", half, unit="float16")
    assert done.passed
    assert done.case.tolerance < done.error <= done.tolerance == done.case.tolerance_in("float16")


def test_a_picture_comes_as_floats_and_no_bias_as_none(command):
    code = "assert case['params'] == {} and inputs[0].max() > 1; y = inputs[0] * np.float32(attributes['factor'])"
    assert outcome("rescale", command(code, FRAME)).passed
    code = "assert list(params) == ['weight']; y = inputs[0] @ params['weight'].T"
    assert outcome("linear", command(code, FRAME), "no_bias").passed


def test_the_right_result_is_not_given_away(command):
    code = "import os; y = inputs[0]; assert sorted(os.listdir(folder)) == ['case.json', 'input.0.f32', 'input.1.f32']"
    assert not outcome("residual", command(code, FRAME)).says.startswith("ended")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.exit('no kernel\\n\\n')", "ended with status 1: no kernel"),
        ("raise SystemExit(7)", "ended with status 7"),
        ("import os; os.kill(os.getpid(), 9)", "was ended by signal 9 (SIGKILL)"),
        ("1 / 0", "ended with status 1: ZeroDivisionError: division by zero"),
        ("pass", "wrote no output file"),
        ("import os, sys; os.mkdir(sys.argv[2])", "wrote no output file"),
        ("import os, sys; os.mkfifo(sys.argv[2])", "wrote no output file"),
        ("import sys; open(sys.argv[2], 'w')", "wrote 0 bytes, expected 480: float32 of shape (2, 4, 3, 5)"),
        (
            "import sys; open(sys.argv[2], 'wb').write(bytes(960))",
            "wrote 960 bytes, expected 480: float32 of shape (2,",
        ),
        (
            "import sys; open(sys.argv[2], 'wb').write(b'\\xff' * 480)",
            "120 of 120 numbers are not finite, first nan at [0",
        ),
        ("import sys; print('x' * 10**6)", "wrote no output file"),
    ],
)
def test_a_broken_program_is_told_in_one_line(command, code, said):
    done = outcome("residual", command(code))
    assert not done.passed
    assert done.says.startswith(said)
    assert "\n" not in done.says


def test_a_program_that_does_not_end_is_ended(command):
    code = "import subprocess, sys, time; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    assert outcome("residual", command(code), timeout=0.5).says == "did not end within 0.5 s"


def test_one_broken_case_does_not_stop_the_others(command):
    code = "assert len(inputs[0].shape) == 3; y = inputs[0] + inputs[1]"
    outcomes = list(check(cases("residual"), command(code, FRAME)))
    assert [done.passed for done in outcomes] == [False, True]
    assert outcomes[0].says == "ended with status 1: AssertionError"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("surely-no-program {input} {output}", "'surely-no-program' cannot be started .*; check --command"),
        ("/ {input} {output}", "'/' cannot be started"),
        ("./my_grn {input}", "expected a command with {output} in it"),
        ("./my_grn 'in put' {output}", "expected a command with {input} in it"),
        ("", "expected a command with {input} in it"),
        ("./my_grn 'in {input} {output}", "expected a command whose quotes are closed"),
        ("a\0b {input} {output}", "cannot be started"),
    ],
)
def test_a_command_that_cannot_run(words, said):
    with pytest.raises(GoldenError, match=said):
        outcome("residual", words)


def test_no_shell_reads_the_command(command, tmp_path):
    done = outcome("residual", command("import sys; sys.exit(sys.argv[3])", words="{input} {output} '$(touch x);*'"))
    assert done.says == "ended with status 1: $(touch x);*"


def test_an_unknown_unit_is_refused():
    with pytest.raises(GoldenError, match="expected unit to be one of"):
        list(check(cases("residual"), "a {input} {output}", unit="int8"))


def test_of_many_last_words_the_last_line_counts(tmp_path):
    path = tmp_path / "stderr"
    path.write_bytes(b"x" * 10_000 + b"\n" + b"\xff" * 300 + b"\n \n")
    assert last_line(path) == "\ufffd" * 200
    path.write_bytes(b"")
    assert last_line(path) == ""


def test_exported_files_hold_the_cases(tmp_path):
    count = export(tmp_path / "raw", every_case())
    index = json.loads((tmp_path / "raw" / "index.json").read_text())
    assert count == len(index["cases"]) == len(list(every_case()))
    for entry, case in zip(index["cases"], every_case(), strict=True):
        assert (entry["operation"], entry["case"], entry["attributes"]) == (case.operation, case.name, case.attributes)
        arrays = [*entry["inputs"], *entry["params"].values(), entry["output"]]
        values = [*case.inputs, *case.params.values(), case.expected]
        for array, value in zip(arrays, values, strict=True):
            read = np.fromfile(tmp_path / "raw" / array["file"], "<f4").reshape(array["shape"])
            assert (read == value.astype(np.float32)).all()
        assert entry["output"]["tolerance"] == case.tolerance


def test_exported_numpy_files_keep_their_dtypes(tmp_path):
    export(tmp_path, cases("resize"), "npy")
    case = cases("resize")[0]
    folder = tmp_path / "resize" / case.name
    picture, expected = np.load(folder / "input.0.npy"), np.load(folder / "expected.npy")
    assert picture.dtype == np.uint8
    assert (picture == case.inputs[0]).all()
    assert (expected == case.expected).all()


def test_export_says_what_is_wrong(tmp_path):
    with pytest.raises(GoldenError, match="expected format to be one of raw, npy; got 'csv'"):
        export(tmp_path, cases("residual"), "csv")
    (tmp_path / "file").touch()
    with pytest.raises(GoldenError, match=r"cannot make the folder .*: File exists; give another one"):
        export(tmp_path / "file", cases("residual"))


def test_an_earlier_export_is_not_written_over(tmp_path):
    export(tmp_path, cases("softmax"))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(GoldenError, match=r"expected a new or empty folder, but .* holds something"):
        export(tmp_path, cases("residual"), "npy")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_export_may_be_forced_into_a_folder(tmp_path):
    (tmp_path / "notes").write_text("mine")
    export(tmp_path, cases("softmax"), force=True)
    export(tmp_path, cases("residual"), force=True)
    assert (tmp_path / "notes").read_text() == "mine"
    assert {entry["operation"] for entry in json.loads((tmp_path / "index.json").read_text())["cases"]} == {"residual"}


def test_an_unknown_model_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(GoldenError, match="expected a family with a trace"):
        export(tmp_path / "new", cases("softmax"), models=["vit"])
    assert not (tmp_path / "new").exists()


def test_a_long_word_is_cut_in_every_message():
    long = "x" * 60_000 + "\x1b"
    for words in (f"{long} {{input}} {{output}}", long, f"{long} '"):
        with pytest.raises(GoldenError) as failure:
            outcome("residual", words)
        assert len(str(failure.value)) < 400


@pytest.mark.skipif(os.name != "posix", reason="groups of processes as POSIX has them")
def test_what_a_program_leaves_running_ends_with_it(command, tmp_path):
    """It ended well; what it started in the background does not go on."""
    note = tmp_path / "pid"
    code = (
        "import subprocess, sys; other = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
        f"open({str(note)!r}, 'w').write(str(other.pid))"
    )
    outcome("residual", command(code))
    process = int(note.read_text())
    end = time.monotonic() + 30
    while os.path.exists(f"/proc/{process}/cmdline") and Path(f"/proc/{process}/cmdline").read_bytes():
        assert time.monotonic() < end
        time.sleep(0.01)
