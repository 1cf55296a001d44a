"""Every command line of npconv that a README or a --help shows is run, on stand-ins for the files that it names.

What stands in brackets is left out once, and put in once; of choices (``text|json``), each is taken. Words in capitals
become a file or a name that is there. Rivals to be installed, and programs of other people, are not run: the parser
must take these lines.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from glob import glob
from pathlib import Path

import numpy as np
import pytest
from support import readmes
from support.conversion_files import in_dialect, pickled_tensors
from support.labelled_pictures import draw_classes

from npconv.cli import main
from npconv.cli.program import COMMANDS, load_command, make_parser
from npconv.files.disk import embedded_models
from npconv.golden.case import model_trace
from npconv.golden.trace_file import Trace
from npconv.golden.truth import record

pytestmark = pytest.mark.long

MODEL = "convnextv2-cifar10"
CARDS = [f"npconv/zoo/{model}/README.md" for model in embedded_models()]

#: What a word in capitals, or the name of a published model, stands for; of options that take a FILE, by the option.
STANDS_FOR = {
    "convert model.safetensors checkpoint": "convert convnext_tiny_1k_224_ema.pth converted",
    "convert model.keras checkpoint": "convert convnext_tiny_1k_224_ema.pth converted",
    **{"evaluate MODEL PHOTOS": "evaluate my-model labelled", "FILE.png": "new.png"},
    "evaluate flower-model more-flowers": "evaluate my-model labelled",
    "finetune PHOTOS -o FOLDER": "finetune flowers -o flower-model",
    "trace checkpoint": f"trace {MODEL}",
    "mine.npz --names keras": "mine.npz",  # there is no V2 in Keras
    "convert SOURCE DIRECTORY --prefix": "convert two.pth converted --prefix",
    "DIR/models-cvt.safetensors MINE": "cases/models-cvt.safetensors cases/mine.safetensors",
    **{"PHOTO...": "photo.jpg photo.png", "PHOTO": "photo.jpg", "MODEL...": MODEL, "MODEL": MODEL, "WORD": "tiny"},
    **{
        "--labels FILE": "--labels labels.txt",
        "--output FILE": "--output out.text",
        "--names FILE": "--names names.json",
    },
    **{"--picture FILE": "--picture photo.jpg", "inspect FILE": "inspect convnext_tiny_1k_224_ema.pth"},
    **{"--noise-of FILE": "--noise-of mine.safetensors", "DIR": "new-folder"},
    **{
        "export DIRECTORY OUT": "export of-a-port out.safetensors",
        "convert SOURCE": "convert convnext_tiny_1k_224_ema.pth",
    },
    **{"convert convnext_tiny_1k_224_ema.pth DIRECTORY": "convert convnext_tiny_1k_224_ema.pth converted"},
    **{"DIRECTORY": "my-model", "DIALECT": "timm", "FIELD=VALUE": "head_norm_first=false", "PATTERN": '"encoder.*"'},
    **{"REFERENCE": "golden.safetensors", "MINE": "mine.safetensors", "OPERATION": "layer_norm"},
    **{"./my_layer_norm": f"{sys.executable} my_layer_norm.py", "PROGRAM": f"{sys.executable} my_layer_norm.py"},
    **{"node c.js": f"{sys.executable} my_conv2d.py"},
}
PUBLISHED = re.compile(r"\b(facebook/[\w-]+|convnextv2-atto)\b")

#: They need PyTorch or minutes.
PARSED_ONLY = ("bench",)

PORT = """
import json, sys
import numpy as np
from npconv import layers

folder, output = sys.argv[1:]
case = json.load(open(folder + "/case.json"))
read = lambda array: np.fromfile(folder + "/" + array["file"], "<f4").reshape(array["shape"])
inputs = [read(array) for array in case["inputs"]]
params = {name: read(array) for name, array in case["params"].items()}
layers.OPERATION(*inputs, **params, **case["attributes"]).astype("<f4").tofile(output)
"""


def shown() -> list[tuple[str, str]]:
    """Return the command lines of every README and --help: where they stand, and the line."""
    found = []
    for name in (*readmes.FILES, *CARDS):
        text = readmes.read(name)
        blocks = [match["text"] for match in readmes.FENCE.finditer(text) if match["language"] in ("", "bash")]
        indented = re.findall(r"^ {4,}(npconv .*)$", readmes.FENCE.sub("", text), re.MULTILINE)
        lines = "\n".join([*blocks, *indented, *readmes.quoted(text)]).splitlines()
        found += [(name, line) for line in lines if re.match(r"npconv [a-z]+( |$)", line)]
    for command in map(load_command, COMMANDS):
        for part in ("EPILOG", "CHECK_EPILOG"):
            lines = getattr(command, part, "").splitlines()
            found += [(command.__name__, line.strip()) for line in lines if line.startswith("  npconv ")]
    return found


def calls(line: str) -> list[str]:
    """Return the calls that a line stands for."""
    line = (
        re.sub(r"\s+#.*|, .*|\[\.\.\.\]| > \S+", "", line) if "--" not in line else re.sub(r"\s+# .*| > \S+", "", line)
    )
    if " | " in line:
        first, *others = line.split(" | ")
        start = first.rsplit(" ", 1)[0]
        return [call for part in (first, *(f"{start} {other}" for other in others)) for call in calls(part)]
    optional = re.findall(r"\[([^\]]+)\]", line)
    bare = re.sub(r" ?\[[^\]]+\]", "", line)
    return [bare, *(f"{bare} {one}" for option in optional for one in choices(option))]


def choices(option: str) -> list[str]:
    """Return an option with each of its choices: ``--format text|json``."""
    start, _, last = option.rpartition(" ")
    return [f"{start} {one}".strip() for one in last.split("|")] if "|" in last else [option]


def stand_in(call: str) -> list[str]:
    """Return the words of a call, with what is there in place of what a reader would put in."""
    for word, other in STANDS_FOR.items():
        call = re.sub(rf"(?<![\w.-]){re.escape(word)}(?![\w.=-])", lambda _, other=other: other, call)
    return shlex.split(PUBLISHED.sub(MODEL, call))[1:]


def every_call() -> dict[tuple[str, ...], str]:
    """Return the words of each different call, and where it is shown; the mere name of a command is none."""
    found: dict[tuple[str, ...], str] = {}
    for name, line in shown():
        for call in calls(line):
            words = tuple(stand_in(call))
            if len(words) > 1 or words in {("info",), ("models",)}:
                found.setdefault(words, f"{name}: {call}")
    return found


CALLS = every_call()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with every file that the lines name."""
    place = tmp_path_factory.mktemp("reader")
    (place / "npconv").symlink_to(readmes.ROOT / "npconv")
    (place / "holiday").mkdir()
    (place / "labelled/test/ship").mkdir(parents=True)
    draw_classes(place / "flowers", {"lily": 4, "rose": 4})
    from PIL import Image

    with Image.open(readmes.ROOT / "npconv/zoo/samples/ship.png") as ship:
        for name in ("photo.jpg", "photo.png", "cat.jpg", "ship.png", "holiday/a.jpg", "labelled/test/ship/a.jpg"):
            ship.convert("RGB").save(place / name)
    (place / "convnext_tiny_1k_224_ema.pth").write_bytes(pickled_tensors(in_dialect("convnext", "facebook")))
    own = in_dialect("convnext", "facebook")
    two = {f"{whose}.{name}": array for whose in ("student", "teacher") for name, array in own.items()}
    (place / "two.pth").write_bytes(pickled_tensors(two))
    for name in ("my-model", "model", "flower-model"):
        shutil.copytree(readmes.ROOT / "npconv/zoo" / MODEL, place / name)
    (place / "labels.txt").write_text("one\ntwo\nthree\nfour\n")
    (place / "names.json").write_text('{"classifier": "classifier"}')
    for operation in ("layer_norm", "conv2d"):
        (place / f"my_{operation}.py").write_text(PORT.replace("OPERATION", operation))
    pixels = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    np.save(place / "input.npy", pixels)
    golden = record(MODEL, pixels)
    golden.save(place / "golden.safetensors")
    for name in ("mine.safetensors", "mine.npz"):
        record(MODEL, pixels, dtype="float32", weights=False).save(place / name)
    shutil.copytree(readmes.ROOT / "npconv/golden/cases", place / "cases")
    mine = Trace({})
    for name, array in model_trace("cvt").items():
        mine.add(name, array.astype(np.float32))
    mine.save(place / "cases/mine.safetensors")
    assert main(["convert", str(place / "convnext_tiny_1k_224_ema.pth"), str(place / "of-a-port")]) == 0
    return place


@pytest.mark.parametrize("words", CALLS, ids=CALLS.get)
def test_a_line_that_is_shown_runs(words, folder, tmp_path, monkeypatch, capsys):
    assert [word for word in words if re.fullmatch(r"\W*[A-Z]{3,}\W*", word)] == []
    if words[0] in PARSED_ONLY:
        make_parser(words[0]).parse_args(words)
        return
    for entry in folder.iterdir():
        os.symlink(entry, tmp_path / entry.name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(readmes.ROOT))
    words = [
        found for word in words for found in (sorted(glob(word)) if "*.jpg" in word or "*.png" in word else [word])
    ]
    for word in words[1:]:
        path = Path(word)
        if path.suffix in (".safetensors", ".npz") and not words[0].startswith(("diff", "inspect", "golden")):
            path.unlink(missing_ok=True)  # what is to be written must not be there
    if list(words[:2]) == ["convert", "convnext_tiny_1k_224_ema.pth"] and Path(words[2]).exists():
        Path(words[2]).unlink()
    if words[0] == "finetune":
        Path(words[words.index("-o") + 1]).unlink()
        monkeypatch.setenv("NPCONV_CACHE", str(tmp_path / "cache"))
    status = main(words)
    out, error = capsys.readouterr()
    assert status == 0, f"{error}{out[-500:]}"


def test_lines_are_found_and_taken_apart():
    assert len(CALLS) > 40
    assert calls("npconv x A [--b c|d] [--e]  # why") == [
        "npconv x A",
        "npconv x A --b c",
        "npconv x A --b d",
        "npconv x A --e",
    ]
    assert calls('npconv golden list | check O --command "P"') == [
        "npconv golden list",
        'npconv golden check O --command "P"',
    ]
