"""What the READMEs say is so: code, examples, commands, options, files, modules, the map of the rooms."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support import readmes
from test_import import ROOMS

import npconv
from npconv.files.disk import embedded_models, locate
from npconv.golden.mistakes import MISTAKES

EACH = pytest.mark.parametrize("name", readmes.FILES)
README = readmes.read("README.md")


def test_there_is_no_other_readme():
    cards = {f"npconv/zoo/{model}/README.md" for model in embedded_models()}
    found = {path.relative_to(readmes.ROOT).as_posix() for path in readmes.ROOT.rglob("*.md")}
    found = {name for name in found if not re.search(r"(^|/)(\.\w+|build|recorders)/", name)}
    assert found == {*readmes.FILES, *cards, "CHANGELOG.md"}


@EACH
def test_code_and_rooms_are_shown_as_they_are(name):
    text = readmes.read(name)
    assert readmes.unmarked_code(text) == []
    assert readmes.written_anew(text) == text, "python -m tests.support.readmes writes these blocks anew"


def test_the_block_of_convnext_v2_is_shown():
    assert "<!-- code: npconv.models.convnextv2.model.layer -->" in README


#: What the examples of a README take for given.
GIVEN = {
    "npconv/golden/README.md": """\
import numpy as np, npconv
pixel_values = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
model = npconv.AutoModelForImageClassification.from_pretrained("convnextv2-cifar10")
npconv.golden.record("convnextv2-cifar10", pixel_values).save("mine.npz")
"""
}
EXAMPLES = [(name, match["text"]) for name in readmes.FILES for match in readmes.examples(readmes.read(name))]


@pytest.mark.parametrize(("name", "code"), [example for example in EXAMPLES if "pytest_plugins" not in example[1]])
def test_examples_run(name, code, tmp_path, monkeypatch, capsys):
    for part in ("npconv", "tests"):
        (tmp_path / part).symlink_to(readmes.ROOT / part)
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(GIVEN.get(name, ""), found)
    capsys.readouterr()
    exec(code, found)
    if name == "README.md":
        assert "ship" in capsys.readouterr().out


#: What the example of a test takes for given.
PORT = """\
import pytest, npconv
from npconv.gradients import layer_norm_backward
from npconv.layers import layer_norm as my_layer_norm

def my_layer_norm_backward(grad_y, x, weight, bias, eps, axis):
    return dict(zip(("x", "weight", "bias"), layer_norm_backward(grad_y, x, weight, eps=eps, axis=axis)))
"""


def test_the_example_of_a_test_runs(tmp_path):
    (code,) = [code for _, code in EXAMPLES if "pytest_plugins" in code]
    plugins, _, test = code.partition("\n")
    (tmp_path / "conftest.py").write_text(plugins + "\n")
    (tmp_path / "test_port.py").write_text(PORT + test)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(readmes.ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "25 passed" in done.stdout


@EACH
def test_files_that_are_named_are_there(name):
    assert readmes.missing_files(name, readmes.read(name)) == []


@EACH
def test_modules_and_functions_that_are_named_are_there(name):
    assert readmes.missing_names(readmes.read(name)) == []


@EACH
def test_commands_and_options_are_those_of_the_programs(name):
    assert readmes.wrong_commands(readmes.read(name)) == []


@EACH
def test_every_option_in_the_text_is_one(name):
    known = {option for program in readmes.PROGRAMS for option in readmes.all_options(program)}
    named = {word for quoted in readmes.quoted(readmes.read(name)) for word in re.findall(r"^--[a-z-]+", quoted)}
    assert named <= known


def section(title: str, text: str = README) -> str:
    """Return what stands under a heading."""
    return re.split(r"^## .*$", text.partition(f"## {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def test_the_list_of_commands_is_whole():
    shown = [words[0] for program, words in readmes.commands(section("On the command line")) if program == "npconv"]
    below = readmes.subparsers(readmes.parser_of("npconv"))
    assert sorted(set(shown)) == sorted(below)


def test_the_map_of_the_package_names_every_room():
    shown = re.findall(r"^(\w+)(?:/|\.py) ", readmes.rooms(), re.MULTILINE)
    folder = Path(npconv.__file__).parent
    there = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path.is_dir() and path.name[0] != "_")}
    assert shown == [room for room in ROOMS if room in there and not room.startswith("_")]
    assert set(shown) == {name for name in there if not name.startswith("_")}
    assert f"<!-- rooms -->\n```\n{readmes.rooms()}```\n" in readmes.read("npconv/README.md")


@pytest.mark.parametrize("room", [path.parent.name for path in Path(npconv.__file__).parent.glob("*/__init__.py")])
def test_the_text_of_a_room_names_each_of_its_modules(room):
    text = readmes.find(f"npconv.{room}").__doc__
    there = {path.stem for path in (Path(npconv.__file__).parent / room).glob("*.py")} - {"__init__"}
    named = set(re.findall(r"``(\w+)``", text))
    heads = " ".join(re.findall(r"^- ((?:``\w+``(?:, )?)+)", text, re.MULTILINE))
    commands = set(readmes.subparsers(readmes.parser_of("npconv"))) if room == "cli" else set()
    if room != "weights":  # an older name
        assert there - commands <= named
    folders = {path.name for path in (Path(npconv.__file__).parent / room).iterdir() if path.is_dir()}
    assert set(re.findall(r"``(\w+)``", heads)) <= there | folders


def named_by() -> list[str]:
    """Return the ways to name a model, as the README lists them."""
    items = README.partition("A model is named by\n\n- ")[2].partition("\n\n")[0]
    return items.split("\n- ")


def test_a_model_is_named_as_the_readme_says(tmp_path, monkeypatch):
    included, directory, file, hub_id = named_by()
    zoo = Path(npconv.__file__).parent / "zoo"
    assert "included model" in included
    for name in embedded_models():
        assert locate(name) == zoo / name
    names = re.findall(r"`([\w.]+)`", directory)
    shutil.copytree(zoo / "cvt-cifar10", tmp_path / "mine")
    assert {"config.json", "model.safetensors", "preprocessor_config.json"} == set(names)
    assert set(names) <= {path.name for path in (tmp_path / "mine").iterdir()}
    pixels = np.zeros((1, 3, 32, 32), np.float32)
    expected = npconv.AutoModelForImageClassification.from_pretrained("cvt-cifar10")(pixels).logits
    assert "`.safetensors`" in file
    for path in (tmp_path / "mine", tmp_path / "mine" / "model.safetensors"):
        found = npconv.AutoModelForImageClassification.from_pretrained(path)(pixels).logits
        np.testing.assert_array_equal(found, expected)
    (example,) = re.findall(r"`(\w+/[\w-]+)`", hub_id)
    snapshot = tmp_path / "hub" / f"models--{example.replace('/', '--')}" / "snapshots" / "0"
    shutil.copytree(tmp_path / "mine", snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert locate(example) == snapshot


def test_variables_of_the_environment_are_read():
    sources = "".join(path.read_text("utf-8") for path in Path(npconv.__file__).parent.rglob("*.py"))
    for variable in re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", README):
        assert f'"{variable}"' in sources


def test_the_number_of_mistakes_is_right():
    assert f"`diff` knows {len(MISTAKES)} mistakes" in README


def test_the_extras_are_those_of_the_package():
    extras = re.search(r"\[project.optional-dependencies\]\n(.*?)\n\n", readmes.read("pyproject.toml"), re.DOTALL)[1]
    known = set(re.findall(r"^(\w+) =", extras, re.MULTILINE))
    for name in readmes.FILES:
        for named in re.findall(r"'\.\[([\w,]+)\]'", readmes.read(name)):
            assert set(named.split(",")) <= known, name
