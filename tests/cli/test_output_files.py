"""What is written: by one command at a time, whole, never over what is not its own. More in ``proof_outputs.py``."""

import csv
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.cli_samples import classify, rewrite

import npconv
from npconv.cli import main
from npconv.cli.features_file import LOG
from npconv.cli.formats import csv_text
from npconv.files.safetensors import load_file, read_metadata, save_file
from npconv.golden.trace_file import load_trace
from tests.cli import proof_outputs as proof

pytestmark = pytest.mark.long

KEPT = "so it is not written over; give another --output, or --force replaces it"
FULL = "File too large; free some space, or write to another disk"

posix = pytest.mark.skipif(os.name != "posix", reason="needs signals and forks")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> proof.Stage:
    return proof.Stage(tmp_path_factory.mktemp("stage"))


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what a process does; fail if it never does."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@posix
def test_outputs_that_must_be_refused_cost_nothing(stage) -> None:
    assert set(proof.prove_runs(stage, 1)) == {"classify", "features", "diff", "export", "trace", "convert", "golden"}


@posix
def test_pairs_with_one_output(stage) -> None:
    assert proof.prove_pairs(stage, 2).total() == 2


@posix
def test_kills_at_random_moments(stage) -> None:
    happened = proof.prove_kills(stage, 2)  # asserts of every row, and of what is left
    assert happened["killed"] + happened["done before"] == 2  # a quick machine may be done before


@posix
@pytest.mark.parametrize("form", ["features", "csv", "jsonl"])
@pytest.mark.parametrize("resumes", [False, True])
def test_the_second_of_two_writers_is_refused_by_name(stage, console, tmp_path, capsys, form, resumes) -> None:
    out = tmp_path / "out"
    more = ["--resume"] if resumes else []
    first = console(*stage.words(form, [stage.photos[0], "-"], out, *more), stdin=subprocess.PIPE)
    log = tmp_path / "out.part" / LOG if form == "features" else out
    wait_until(lambda: log.exists() and log.read_bytes().count(b"\n") == (1 if form == "jsonl" else 2))
    before = log.read_bytes()
    (tmp_path / "link").symlink_to("out")
    for name in ("out",) if form == "features" else ("out", "link"):
        assert main(stage.words(form, stage.photos[5:9], tmp_path / name, *more)) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "/out' is being written by another process; wait until it is done, or write elsewhere" in said
    assert log.read_bytes() == before
    assert first.communicate(Path(stage.photos[1]).read_bytes(), timeout=120) == (b"", b"")
    files = json.loads(read_metadata(out)["files"]) if form == "features" else None
    if files is None:
        lines = out.read_text().splitlines()
        files = (
            [json.loads(line)["file"] for line in lines]
            if form == "jsonl"
            else [row[0] for row in csv.reader(lines)][1:]
        )
    assert files == [stage.photos[0], "-"]
    assert proof.left_in(tmp_path) == []


@posix
@pytest.mark.parametrize("form", ["csv", "json"])
def test_what_was_there_stays_until_all_is_there(stage, console, tmp_path, form) -> None:
    out, part = tmp_path / "out", tmp_path / "out.part"
    proof.run(stage.words(form, stage.photos[:3], out))
    older = out.read_bytes()
    out.chmod(0o600)
    process = console(*stage.words(form, [stage.photos[4], "-"], out), stdin=subprocess.PIPE)
    wait_until(lambda: part.exists() and stage.photos[4].encode() in part.read_bytes())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert out.read_bytes() == older
    more = ["--resume"] if form == "csv" else []
    proof.run(stage.words(form, stage.photos[4:6], out, *more))
    stage.check(out, form, stage.photos[4:6])
    assert os.listdir(tmp_path) == ["out"]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_a_part_of_another_format_is_named(capsys, model, photos, tmp_path) -> None:
    words = (photos[3], "--output", str(tmp_path / "out"))
    assert classify(capsys, model, *words, "--format", "csv")[0] == 0
    older = (tmp_path / "out").read_bytes()
    (tmp_path / "out.part").write_text(classify(capsys, model, photos[0], "--format", "json")[1])
    status, _, errors = classify(capsys, model, *words, "--format", "csv", "--resume")
    assert (status, len(errors)) == (2, 1)
    assert f"{tmp_path / 'out.part'}: line 1 was not written by this command in this format" in errors[0]
    assert (tmp_path / "out").read_bytes() == older
    assert classify(capsys, model, *words, "--format", "csv") == (0, "", [])  # as the line says
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("form", ["text", "json", "jsonl", "csv"])
@pytest.mark.parametrize("problem", [None, "regression"])
def test_the_same_call_again_needs_no_option(capsys, own_model, photos, tmp_path, form, problem) -> None:
    rewrite(own_model / "config.json", problem_type=problem)
    out = tmp_path / "out"
    words = (photos[0], photos[2], photos[3], "--format", form, "--output", str(out))
    assert classify(capsys, own_model, *words, "--top-k", "2")[0] == 1
    first = out.read_bytes()
    for top_k in ("1", "2"):
        assert classify(capsys, own_model, *words, "--top-k", top_k)[0] == 1
    assert out.read_bytes() == first
    for other in ("text", "csv"):  # nor does another format
        assert classify(capsys, own_model, photos[3], "--format", other, "--output", str(out))[0] == 0


@pytest.mark.parametrize(
    "content",
    [
        b"notes\n",
        b"no end of a line",
        b"a: b\nc: d 12.0%\n",
        b"file,label\na,b\n",
        b'{"file": "a", "class": 3}\n',
        b'[\n  {"file": "a"}\n]\n',
        b"\0" * 100,
        b": " * 1_000_000 + b"\n",
        b"[" * 1_000_000,
    ],
)
def test_a_foreign_file_needs_force(capsys, model, photos, tmp_path, content) -> None:
    out = tmp_path / "out"
    out.write_bytes(content)
    status, printed, errors = classify(capsys, model, photos[3], "--output", str(out))
    advice = f"was not written by this command, {KEPT}"
    assert (status, printed, errors) == (2, "", [f"npconv: error: {out}: {advice}"])
    assert out.read_bytes() == content
    assert classify(capsys, model, photos[3], "--output", str(out), "--force") == (0, "", [])
    assert out.read_text().startswith(f"{photos[3]}: ")
    assert classify(capsys, model, photos[3], "--output", str(out)) == (0, "", [])


def test_the_shell_made_the_first_photo_the_output(capsys, model, photos, tmp_path) -> None:
    names = []
    for number in (1, 2, 3):
        names.append(tmp_path / f"z{number}.png")
        names[-1].write_bytes(Path(photos[3]).read_bytes())
    status, _, errors = classify(capsys, model, "--output", *map(str, names))
    assert status == 2
    assert errors == [f"npconv: error: {names[0]}: is a picture, {KEPT}"]
    assert names[0].read_bytes() == Path(photos[3]).read_bytes()


@pytest.mark.parametrize("name", ["z.png/", "z.png/.", "none/../z.png", "z.png/../z.png"])
@pytest.mark.parametrize(
    "words", [["classify", "--output"], ["classify", "--resume", "--format", "csv", "--output"], ["features", "-o"]]
)
def test_a_photo_by_a_name_that_the_system_does_not_find(capsys, photos, tmp_path, monkeypatch, words, name) -> None:
    monkeypatch.chdir(tmp_path)
    photo = Path(photos[3]).read_bytes()
    Path("z.png").write_bytes(photo)
    assert main([words[0], photos[3], *words[1:], name]) == 2
    assert capsys.readouterr().err.startswith(f"npconv: error: {name}: ")
    assert Path("z.png").read_bytes() == photo


def test_the_files_of_the_model_are_inputs(capsys, own_model, photos) -> None:
    before = {path: path.read_bytes() for path in own_model.iterdir()}
    for path in before:
        status, _, errors = classify(capsys, own_model, photos[3], "--force", "--output", str(path))
        found = "is in a folder that the same call reads, so it is not written over; give another --output"
        assert (status, errors) == (2, [f"npconv: error: {path}: {found}"])
    new = str(own_model / "labels.txt")
    assert [classify(capsys, own_model, photos[3], "--output", new)[0] for _ in range(2)] == [0, 0]
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_line_without_an_end_is_someone_elses(capsys, model, photos, tmp_path, form) -> None:
    out = tmp_path / "out"
    for content in (b"mine", b"\0" * 99, b"x" * 10**6):
        out.write_bytes(content)
        words = (photos[3], "--format", form, "--resume", "--output", str(out))
        status, _, errors = classify(capsys, model, *words)
        assert (status, "line 1 was not written by this command" in errors[0]) == (2, True)
        assert out.read_bytes() == content


def test_photos_that_all_fail_cost_no_earlier_results(capsys, model, photos, tmp_path) -> None:
    out = tmp_path / "out"
    assert classify(capsys, model, photos[3], "--output", str(out))[0] == 0
    older = out.read_bytes()
    assert classify(capsys, model, "missing.png", "--output", str(out))[0] == 1
    assert out.read_bytes() == older
    assert os.listdir(tmp_path) == ["out"]


def test_a_link_is_followed(capsys, model, photos, tmp_path) -> None:
    (tmp_path / "link").symlink_to("out")
    for _ in range(2):
        assert classify(capsys, model, photos[3], "--output", str(tmp_path / "link"))[0] == 0
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "out").read_text().startswith(photos[3])


def run_with_a_limit(words, limit) -> subprocess.CompletedProcess:
    """Run npconv where no file may be larger than so many bytes, as on a disk that is full then."""
    code = (
        "import resource, sys\n"
        "from npconv.cli import main\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        f"sys.exit(main({words!r}))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(npconv.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@posix
@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_disk_that_fills_up_leaves_whole_lines(stage, tmp_path, form) -> None:
    out = tmp_path / "out"
    done = run_with_a_limit(stage.words(form, stage.photos, out), len(stage.photos[0]) * 5 + 200)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"npconv: error: {out}: cannot be written: {FULL}\n"
    if form == "json":
        entries = json.loads(out.read_text())
        assert [entry["file"] for entry in entries] == stage.photos[: len(entries)]
        return
    rows = len(out.read_text().splitlines()) - 1
    assert 0 < rows < len(stage.photos)
    assert out.read_text().endswith("\n")
    proof.run(stage.words(form, stage.photos, out, "--resume"))
    stage.check(out, form, stage.photos)


@posix
def test_features_on_a_disk_that_fills_up_go_on(stage, tmp_path) -> None:
    out = tmp_path / "out"
    of_five_rows_and_the_log = 10 * 4 * 5 + 600
    done = run_with_a_limit(stage.words("features", stage.photos, out), of_five_rows_and_the_log)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "File too large; free some space" in done.stderr
    assert "the same call with --resume goes on from there" in done.stderr
    assert not out.exists()
    proof.run(stage.words("features", stage.photos, out, "--resume"))
    stage.check(out, "features", stage.photos)
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("content", [{}, {"notes": "mine"}, {LOG: '{"name": "cat"}\n'}, {LOG: "", "notes": "mine"}])
def test_a_part_is_ours_or_is_left_alone(capsys, stage, tmp_path, content) -> None:
    out, part = tmp_path / "out", tmp_path / "out.part"
    part.mkdir()
    for name, text in content.items():
        (part / name).write_text(text)
    is_ours = not content or content.get(LOG) == ""
    words = stage.words("features", stage.photos[:1], out)
    assert main(words) == (0 if is_ours else 2)
    errors = capsys.readouterr().err
    assert errors == (
        ""
        if is_ours
        else f"npconv: error: {out}: out.part beside it was not made by npconv features; "
        "move it, or give another --output\n"
    )
    kept = {name: text for name, text in content.items() if not (is_ours and name == LOG)}
    assert part.exists() == bool(kept)
    assert {path.name: path.read_text() for path in part.glob("*")} == kept


HEAD = '{"model": "convnextv2-cifar10", "dtype": "float32", "features": "pooled"}\n'


@pytest.mark.parametrize(
    "line",
    [
        '{"file": "a", "shapes": {"pooled": [0]}}',
        '{"file": "a", "shapes": {"pooled": [-16, -1]}}',
        '{"file": "a", "shapes": {"pooled": [%s16]}}' % ("1, " * 99),
        '{"file": ["a"], "shapes": {"pooled": [16]}}',
        '{"file": 5, "shapes": {"pooled": [16]}}',
        '{"file": "a", "error": {}}',
    ],
)
def test_a_damaged_log_is_told(capsys, photos, tmp_path, line) -> None:
    part = tmp_path / "out.part"
    part.mkdir()
    (part / LOG).write_text(f"{HEAD}{line}\n")
    (part / "pooled.raw").write_bytes(bytes(64))
    assert main(["features", photos[3], "--resume", "-o", str(tmp_path / "out")]) == 2
    assert "cannot be gone on with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("shape", "dtype", "meta"),
    [
        ((2, 160), np.float32, {}),
        ((1, 160), np.float64, {}),
        ((1, 160), np.float32, {"files": "[[1]]"}),
        ((1, 160), np.float32, {"files": "[]", "failed": "[1]"}),
    ],
)
def test_a_damaged_file_of_features_is_told(capsys, photos, tmp_path, shape, dtype, meta) -> None:
    about = {**json.loads(HEAD), "files": '["a"]', "failed": "[]"}
    save_file({"pooled": np.ones(shape, dtype)}, tmp_path / "out", {**about, **meta})
    before = (tmp_path / "out").read_bytes()
    assert main(["features", photos[3], "--resume", "-o", str(tmp_path / "out")]) == 2
    assert "cannot be gone on with" in capsys.readouterr().err
    assert (tmp_path / "out").read_bytes() == before


@posix
@pytest.mark.parametrize("name", [LOG, "pooled.raw"])
def test_a_link_in_a_part_is_not_written_through(capsys, photos, tmp_path, name) -> None:
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part" / LOG).write_text(HEAD)
    (tmp_path / "out.part" / name).unlink(missing_ok=True)
    (tmp_path / "notes").write_text(HEAD + "mine")
    (tmp_path / "out.part" / name).symlink_to("../notes")
    for more in (["--resume"], []):
        assert main(["features", photos[3], "-o", str(tmp_path / "out"), *more]) == (2 if more or name == LOG else 0)
        assert capsys.readouterr().err.count("\n") == (1 if more or name == LOG else 0)
        assert (tmp_path / "notes").read_text() == HEAD + "mine"


def test_features_replace_only_features(capsys, stage, tmp_path) -> None:
    out = tmp_path / "model.safetensors"
    weights = (stage.model / "model.safetensors").read_bytes()
    out.write_bytes(weights)
    assert main(stage.words("features", stage.photos[:1], out)) == 2
    assert "was not written by this command" in capsys.readouterr().err
    assert out.read_bytes() == weights
    proof.run([*stage.words("features", stage.photos[:1], out), "--force"])
    proof.run(stage.words("features", stage.photos[1:2], out))
    stage.check(out, "features", stage.photos[1:2])
    assert main(["features", "--model", str(out), stage.photos[0], "-o", str(out), "--force"]) == 2  # it is the model
    assert load_file(out)["pooled"].shape == (1, 10)


def test_the_numbers_of_an_index_are_nobody_elses(capsys, stage, tmp_path) -> None:
    """``npconv trace -o model.json`` also writes ``model.bin``, which may be the weights of PyTorch."""
    (tmp_path / "model.bin").write_text("weights")
    words = ["trace", str(stage.model), stage.photos[0], "-o", str(tmp_path / "model.json"), "--no-noise"]
    assert main(words) == 2
    assert f"{tmp_path / 'model.bin'}: was not written by this command" in capsys.readouterr().err
    assert (tmp_path / "model.bin").read_text() == "weights"
    for more in (["--force"], []):
        assert main([*words, *more]) == 0
    np.testing.assert_allclose(
        load_trace(tmp_path / "model.json")["convnextv2.layernorm"][0], stage.truth[stage.photos[0]], atol=1e-4
    )
    assert sorted(os.listdir(tmp_path)) == ["model.bin", "model.json"]


def test_a_script_that_someone_wrote_or_changed_is_kept(capsys, stage, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    traces = ["a.npz", "b.npz"]
    assert main(["trace", str(stage.model), stage.photos[0], "-o", traces[0], "--no-noise"]) == 0
    arrays = dict(load_trace(traces[0]))
    np.savez(traces[1], **{**arrays, "classifier": arrays["classifier"] + 1})
    words = ["diff", *traces, "--save-repro"]
    Path("run.py").write_text("mine")
    assert main([*words, "."]) == 2
    assert "'.' holds 'run.py', which --save-repro did not write, or someone has changed" in capsys.readouterr().err
    assert Path("run.py").read_text() == "mine"
    for _ in range(2):
        assert main([*words, "repro"]) == 1
    script = tmp_path / "repro" / "run.py"
    script.write_text(script.read_text() + "\nprint('edited')\n")
    assert main([*words, "repro"]) == 2
    assert "edited" in script.read_text()
    assert main([*words, "repro", "--force"]) == 1
    assert "edited" not in script.read_text()


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_a_cell_that_begins_like_a_formula_is_quoted(start) -> None:
    assert csv_text(f"{start}1+1") == f"'{start}1+1"
    assert csv_text(f"'{start}1+1") == f"''{start}1+1"  # no two names are written alike
    for plain in (f"a{start}", "", "'", "'a", "-"):
        assert csv_text(plain) == plain


def test_formulas_in_names_and_labels(capsys, own_model, photos, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    labels = ["=HYPERLINK(1)", "+a", "-b", "@c", "\td", "\x1b[31m<b>red</b>"]
    rewrite(own_model / "config.json", id2label=dict(enumerate(labels)), label2id=None, problem_type="regression")
    names = ["=1+1.png", "@a.png", "'=1+1.png", "-"]
    for name in names[:3]:
        Path(name).write_bytes(Path(photos[3]).read_bytes())
    words = ("--format", "csv", "--top-k", "6", "--output", "out.csv", "--resume")
    assert classify(capsys, own_model, names[0], names[1], *words)[0] == 0
    assert classify(capsys, own_model, *names[:3], *words) == (0, "", [])
    rows = list(csv.reader(Path("out.csv").read_text().splitlines()))[1:]
    assert [row[0] for row in rows] == ["'=1+1.png", "'@a.png", "''=1+1.png"]
    expected = {"'=HYPERLINK(1)", "'+a", "'-b", "'@c", r"\td", r"\x1b[31m<b>red</b>"}
    for row in rows:
        assert set(row[1:-1:2]) == expected
        scores = [float(score) for score in row[2:-1:2]]  # numbers are numbers, below zero too
        assert min(scores) < 0
    for form in ("text", "json", "jsonl"):
        assert "\x1b" not in classify(capsys, own_model, photos[3], "--format", form)[1]


def test_the_numbers_of_a_trace_are_read_by_diff(capsys, tmp_path) -> None:
    (tmp_path / "t.json").write_text("{}")
    (tmp_path / "t.bin").write_bytes(b"numbers")
    trace = str(tmp_path / "t.json")
    assert main(["diff", trace, trace, "--force", "--junit", str(tmp_path / "t.bin")]) == 2
    assert "t.bin: is read by the same call" in capsys.readouterr().err
