"""Proof that an output has one writer, is whole, and costs nobody a file.

    python -m tests.cli.proof_outputs [--pairs 50] [--kills 100] [--runs 100]

- **Pairs.** Two commands with one output start at nearly the same time. Each is done or refused by name, at least one
  is done, and what is there is the whole result of one of them.
- **Kills.** A command is killed at a random moment, often while it goes on with what others that were killed have left.
  What was there before is still there, or what is new is whole; the next call has every row right and none twice, and
  leaves nothing else behind.
- **Runs.** Each command is called with an output that is a foreign file, an input, a folder, on a full disk, in a
  folder that is not there: one line, status 2, and no file of the folder is changed, gone or new.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
from PIL import Image

import npconv
from npconv.cli import main as npconv_main
from npconv.files.safetensors import load_file, read_metadata
from npconv.golden.trace_file import load_trace

PHOTOS = 30


class Stage:
    """A small model, photos that all have other features, and what each command should say of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = folder / "model"
        sizes = {"num_stages": 2, "hidden_sizes": [6, 10], "depths": [1, 3], "id2label": {0: "first", 1: "second"}}
        config = npconv.ConvNextV2Config(**sizes, initializer_range=0.5)
        npconv.ConvNextV2ForImageClassification(config).save_pretrained(self.model)
        npconv.ConvNextImageProcessor(size=16).save_pretrained(self.model)
        rng = np.random.default_rng(0)
        self.photos = []
        for number in range(PHOTOS):
            coarse = Image.fromarray(rng.integers(0, 256, (3, 4, 3), dtype=np.uint8))
            path = folder / f"{number}.png"
            coarse.resize((40, 30), Image.Resampling.BICUBIC).save(path)
            self.photos.append(str(path))
        out = folder / "truth"
        run(self.features(self.photos, out))
        self.truth = dict(zip(self.photos, load_file(out)["pooled"].copy(), strict=True))
        rows = [line for line in said(self.classify(self.photos, None, "csv")).splitlines() if line][1:]
        self.label = {row[0]: row[1] for row in csv.reader(rows)}

    def features(self, photos: list[str], out: Path, *more: str) -> list[str]:
        return ["features", "--model", str(self.model), *photos, "-o", str(out), *more]

    def classify(self, photos: list[str], out: Path | None, form: str, *more: str) -> list[str]:
        to = [] if out is None else ["--output", str(out)]
        return ["classify", "--model", str(self.model), "--top-k", "1", "--format", form, *photos, *to, *more]

    def check_features(self, out: Path, wanted: list[str]) -> None:
        """Every row is that of its photo, and each photo has one."""
        files, rows = json.loads(read_metadata(out)["files"]), load_file(out)["pooled"]
        assert sorted(files) == sorted(wanted), (files, wanted)
        assert len(rows) == len(files)
        names, truth = list(self.truth), np.array(list(self.truth.values()))
        for file, row in zip(files, rows, strict=True):
            nearest = np.abs(truth - row).max(axis=1)
            # float32 in batches of other photos; the features of two photos differ by far more
            assert names[int(nearest.argmin())] == file, file
            assert nearest.min() < 1e-4

    def check_rows(self, out: Path, form: str, wanted: list[str]) -> None:
        """As `check_features`, of what `npconv classify` wrote."""
        text = out.read_text()
        if form == "csv":
            rows = [(row["file"], row["label_1"]) for row in csv.DictReader(io.StringIO(text), strict=True)]
        elif form == "text":
            rows = [(line.partition(":")[0], line.split()[1]) for line in text.splitlines()]
        else:
            entries = json.loads(text) if form == "json" else [json.loads(line) for line in text.splitlines()]
            rows = [(entry["file"], entry["labels"][0]["label"]) for entry in entries]
        assert sorted(file for file, _ in rows) == sorted(wanted), (rows, wanted)
        assert all(self.label[file] == label for file, label in rows)

    def check(self, out: Path, form: str, wanted: list[str]) -> None:
        if form == "features":
            self.check_features(out, wanted)
        else:
            self.check_rows(out, form, wanted)

    def words(self, form: str, photos: list[str], out: Path, *more: str) -> list[str]:
        small = ("--batch-size", "1", *more)
        return self.features(photos, out, *small) if form == "features" else self.classify(photos, out, form, *small)


def run(words: list[str]) -> None:
    assert npconv_main(words) == 0, words


def said(words: list[str]) -> str:
    with redirect_stdout(io.StringIO()) as out:
        run(words)
    return out.getvalue()


def start(words: list[str]) -> subprocess.Popen[str]:
    home = Path(npconv.__file__).parents[1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(home)}
    command = [sys.executable, "-m", "npconv", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def left_in(folder: Path) -> list[str]:
    """What should not stay in a folder."""
    return [name for name in os.listdir(folder) if name.startswith(".npconv-") or name.endswith(".part")]


def prove_pairs(stage: Stage, count: int, seed: int = 0) -> Counter[str]:
    """Start two commands with one output, so often; return how often what happened."""
    choose = random.Random(seed)
    happened: Counter[str] = Counter()
    kinds = ["features", "features --resume", "csv --resume", "jsonl --resume", "json", "text", "trace", "convert"]
    for number in range(count):
        kind = kinds[number % len(kinds)]
        folder = Path(tempfile.mkdtemp(dir=stage.folder))
        form, *more = kind.split()
        halves = [stage.photos[: PHOTOS // 2], stage.photos[PHOTOS // 2 :]]
        if choose.random() < 0.5 and form in ("features", "csv", "jsonl", "json", "text"):
            run(stage.words(form, halves[0][:2], folder / "out"))
        calls, check = pair(stage, form, more, halves, folder)
        processes = []
        for words in calls:
            processes.append(start(words))
            time.sleep(choose.uniform(0, 0.3))
        statuses = []
        for process in processes:
            _, errors = process.communicate(timeout=300)
            statuses.append(process.returncode)
            if process.returncode:
                known = ("is being written by another process", "holds config.json", "new or empty folder")
                assert process.returncode == 2, errors
                assert errors.count("\n") == 1, errors
                assert any(words in errors for words in known), errors
        assert 0 in statuses
        happened["one refused" if 2 in statuses else "one after the other"] += 1
        check(statuses)
        assert left_in(folder) == [], left_in(folder)
        shutil.rmtree(folder)
    return happened


def pair(
    stage: Stage, form: str, more: list[str], halves: list[list[str]], folder: Path
) -> tuple[list[list[str]], Callable[[list[int]], None]]:
    """Return two calls with one output, and what must be so after them, given their statuses."""
    out = folder / "out"
    if form == "trace":
        out = folder / "out.json"
        calls = [["trace", str(stage.model), half[0], "-o", str(out), "--no-noise"] for half in halves]

        def check_trace(statuses: list[int]) -> None:
            trace = load_trace(out)
            truth = [stage.truth[half[0]] for half in halves]
            pooled = trace["convnextv2.layernorm"]
            assert min(np.abs(pooled.ravel() - row.ravel()).max() for row in truth) < 1e-4

        return calls, check_trace
    if form == "convert":
        calls = [["convert", str(stage.model), str(out), "--force", "--name", name] for name in ("a/a", "b/b")]

        def check_convert(statuses: list[int]) -> None:
            manifest = json.loads((out / "npconv_manifest.json").read_text())
            for name, digest in manifest["files"].items():
                assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest, name

        return calls, check_convert
    before = []
    if more and out.exists():
        before = halves[0][:2]
    calls = [stage.words(form, half, out, *more) for half in halves]

    def check_rows(statuses: list[int]) -> None:
        if more:  # both go on with what is there
            wanted = [photo for half, status in zip(halves, statuses, strict=True) if status == 0 for photo in half]
            stage.check(out, form, list(dict.fromkeys([*before, *wanted])))
            return
        for half in (halves[i] for i, status in enumerate(statuses) if status == 0):
            try:
                stage.check(out, form, half)
            except AssertionError:
                continue
            return
        raise AssertionError("the output is that of neither")

    return calls, check_rows


def prove_kills(stage: Stage, count: int, seed: int = 0) -> Counter[str]:
    """Kill a command at a random moment, so often; return how often what was there then."""
    choose = random.Random(seed)
    happened: Counter[str] = Counter()
    forms = ["features", "csv", "jsonl", "json", "text"]
    folder = Path(tempfile.mkdtemp(dir=stage.folder))
    for number in range(count):
        form = forms[number % len(forms)]
        out = folder / f"{form}-{number // len(forms) % 4}"
        older = out.read_bytes() if out.exists() else None
        resumes = form in ("features", "csv", "jsonl") and choose.random() < 0.5
        wanted = choose.sample(stage.photos, PHOTOS - 5)
        if resumes and older is not None:
            wanted = stage.photos
        process = start(stage.words(form, wanted, out, *(["--resume"] if resumes else [])))
        kill_sometime(process, out, choose)
        status = process.wait()
        process.communicate()
        happened["done before" if status == 0 else "killed"] += 1
        if older and status and not resumes:
            new = out.read_bytes()
            if new != older:
                stage.check(out, form, wanted)
                happened["whole when killed"] += 1
        happened["with a part"] += Path(f"{out}.part").exists()
        if choose.random() < 0.3:
            continue  # killed again before anything else is done
        goes_on = form in ("features", "csv", "jsonl") and (resumes or older is None)
        check_next(stage, form, out, wanted, goes_on=goes_on)
    for form in forms:
        for out in [folder / f"{form}-{number}" for number in range(4)]:
            if out.exists() or Path(f"{out}.part").exists():
                check_next(stage, form, out, stage.photos, goes_on=False)
    assert left_in(folder) == [], left_in(folder)
    return happened


def kill_sometime(process: subprocess.Popen[str], out: Path, choose: random.Random) -> None:
    """Kill a process: a quarter of the times soon after it starts, or else soon after it begins to write."""
    before = out.stat().st_mtime_ns if out.exists() else 0
    starts = choose.random() < 0.25
    while process.poll() is None and not starts:
        has_grown = out.exists() and out.stat().st_mtime_ns != before
        if has_grown or Path(f"{out}.part").exists():
            break
        time.sleep(0.002)
    time.sleep(choose.uniform(0, 1 if starts else 0.5))
    process.send_signal(signal.SIGKILL)


def check_next(stage: Stage, form: str, out: Path, wanted: list[str], *, goes_on: bool) -> None:
    """Make the next call with an output, whatever is there; every row must be right and none twice."""
    if goes_on:
        wanted = stage.photos
    process = start(stage.words(form, wanted, out, *(["--resume"] if goes_on else [])))
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    stage.check(out, form, wanted)
    assert not Path(f"{out}.part").exists()
    assert not [name for name in os.listdir(out.parent) if name.startswith(".npconv-")]


def prove_runs(stage: Stage, count: int) -> Counter[str]:
    """Call each command with outputs that it must refuse, so often; return how often each was refused."""
    happened: Counter[str] = Counter()
    folder = Path(tempfile.mkdtemp(dir=stage.folder))
    with small_disk(folder / "full") as full:
        shutil.copy(stage.photos[0], folder / "a.png")
        shutil.copy(stage.photos[1], folder / "b.png")
        for name in ("notes.txt", "notes.safetensors", "notes.json", "notes.npz", "m.bin", "run.py", "index.json"):
            (folder / name).write_text("mine\n")
        (folder / "taken").mkdir()
        (folder / "taken" / "config.json").write_text("mine\n")
        (folder / "taken" / "index.json").write_text("mine\n")
        (folder / "out.part").mkdir()
        (folder / "out.part" / "notes").write_text("mine\n")
        for name, photo in (("r.npz", "a.png"), ("w.npz", "b.png")):
            said(["trace", str(stage.model), str(folder / photo), "-o", str(folder / name), "--no-noise"])
        (folder / "link.png").symlink_to("a.png")
        os.link(folder / "a.png", folder / "hard.png")
        before = content_of(folder)
        calls = list(bad_calls(stage, folder, full))
        rarest = min(Counter(call[0] for call in calls).values())
        for words in calls * -(-count // rarest):
            with redirect_stderr(io.StringIO()) as errors, redirect_stdout(io.StringIO()):
                status = npconv_main(words)
            assert (status, errors.getvalue().count("\n")) == (2, 1), (words, status, errors.getvalue())
            assert "unexpected" not in errors.getvalue(), errors.getvalue()
            after = content_of(folder)
            assert after == before, (words, sorted(before.items() ^ after.items()))
            happened[words[0]] += 1
    return happened


def bad_calls(stage: Stage, folder: Path, full: Path) -> Iterator[list[str]]:
    """Yield calls whose output must be refused, or cannot be written."""
    model, photo = str(stage.model), str(folder / "a.png")
    files = ["a.png", "b.png", "link.png", "hard.png", "notes.txt", "taken", ".", "no/such", "x" * 300]
    for name in files:
        out = str(folder / name)
        yield ["classify", "--model", model, photo, "--output", out]
        yield ["features", "--model", model, photo, "-o", out] if name != "no/such" else ["features", photo, "-o", ""]
        if name != "x" * 300:
            yield ["diff", str(folder / "r.npz"), str(folder / "w.npz"), "--junit", out]
        yield ["export", model, out, "--to", "timm"]
    for name in ("a.png", "link.png", "hard.png"):
        yield ["classify", "--model", model, photo, "--output", str(folder / name), "--force"]
        yield ["features", "--model", model, photo, "-o", str(folder / name), "--force"]
    yield ["features", "--model", model, photo, "-o", str(folder / "out")]
    for name in ("notes.safetensors", "notes.json", "notes.npz", "m.json", "taken", "no/such.npz", "a.png"):
        yield ["trace", model, photo, "-o", str(folder / name), "--no-noise"]
    for name in ("taken", "notes.txt", "a.png", "a.png/x"):
        yield ["convert", model, str(folder / name)]
        yield ["golden", "export", str(folder / name), "softmax"]
    yield ["diff", str(folder / "r.npz"), str(folder / "w.npz"), "--save-repro", str(folder)]
    for call in (
        ["classify", "--model", model, *stage.photos, "--output"],
        ["features", "--model", model, *stage.photos, "--stages", "stem", "-o"],
        ["export", model, "--to", "timm"],
        ["convert", model],
        ["golden", "export"],
    ):
        yield [*call, str(full / "out"), *(["softmax"] if call[0] == "golden" else [])]
    for name in ("out.safetensors", "out.npz", "out.json", "out"):
        yield ["trace", model, photo, "-o", str(full / name), "--no-noise"]
    for option in ("--junit", "--save-repro"):
        yield ["diff", str(folder / "r.npz"), str(folder / "w.npz"), option, str(full / "out")]


def content_of(folder: Path) -> dict[str, bytes | None]:
    """Return every file and folder below a folder."""
    found = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes() for path in found}


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Give a disk of its own in a folder, which is full; where none can be made, one that takes no files."""
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)], capture_output=True)
    if made.returncode:
        yield Path("/proc")
        return
    try:
        (folder / "full").write_bytes(bytes(4096))
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def main() -> int:
    """Prove all of it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, usual in (("pairs", 50), ("kills", 100), ("runs", 100)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder))
        print(f"runs: {dict(prove_runs(stage, args.runs))}, nothing lost, nothing left", flush=True)
        print(f"pairs: {dict(prove_pairs(stage, args.pairs, args.seed))}, every row right, none twice", flush=True)
        print(f"kills: {dict(prove_kills(stage, args.kills, args.seed))}, every row right, none twice, nothing left")
    return 0


if __name__ == "__main__":
    sys.exit(main())
