"""What editors and type checkers are told of the public face is true, complete, and up to date."""

import ast
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from api import every_public_class

import npconv
from weights_tools import make_types

pytestmark = pytest.mark.long

SCRIPT = Path(every_public_class.__file__)

#: Lines that a type checker must refuse, and the word for why.
WRONG = {
    "classifier(x).logit": "attr-defined",
    "classifier(x).feature_maps": "attr-defined",
    "npconv.AutoBackbone.from_pretrained('m')(x).logits": "attr-defined",
    "npconv.CvtModel(npconv.CvtConfig())(x).pooler_output": "attr-defined",
    "classifier(x, return_dict=False).logits": "attr-defined",
    "npconv.pipeline('image-classification')('a.png')[0]['labels']": "typeddict-item",
    "npconv.pipeline('image-classification')(['a.png'])[0]['label']": "call-overload",
    "npconv.ConvNextModels": "attr-defined",
    "npconv.BareModel": "attr-defined",
}


def mypy(*arguments):
    words = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        "--ignore-missing-imports",
        "--follow-imports=silent",
        *arguments,
    ]
    return subprocess.run(words, capture_output=True, text=True, cwd=make_types.STUB.parents[1])


def test_the_file_is_what_the_classes_are():
    assert make_types.STUB.read_text("utf-8") == make_types.text(), "run python -m weights_tools.make_types"


def test_the_script_uses_every_public_name():
    used = {node.attr for node in ast.walk(ast.parse(SCRIPT.read_text("utf-8"))) if isinstance(node, ast.Attribute)}
    assert set(npconv.__all__) <= used


def test_the_script_runs(tmp_path, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", npconv.NpconvWarning)  # of heads that no file holds
        every_public_class.run(str(tmp_path))
    assert capsys.readouterr().out.startswith("LABEL_")


def test_a_strict_type_checker_reads_it():
    pytest.importorskip("mypy")
    found = mypy(str(SCRIPT))
    assert found.returncode == 0, found.stdout


def test_what_is_wrong_is_seen(tmp_path):
    pytest.importorskip("mypy")
    lines = ["import numpy as np", "import npconv", "x = np.zeros((1, 3, 32, 32))"]
    lines.append("classifier = npconv.AutoModelForImageClassification.from_pretrained('m')")
    file = tmp_path / "wrong.py"
    file.write_text("\n".join([*lines, *WRONG]) + "\n", "utf-8")
    said = [line for line in mypy(str(file)).stdout.splitlines() if ": error: " in line]
    places = {int(line.split(":")[1]): line.rpartition("[")[2].rstrip("]") for line in said}
    assert places == {len(lines) + number: reason for number, reason in enumerate(WRONG.values(), 1)}


def test_dir_offers_the_public_names_alone():
    names = {name for name in dir(npconv) if not name.startswith("__")}
    assert names == {*npconv.__all__, *npconv.PACKAGES} - {"__version__"}
