"""What people type around these models, told anew from public code: most of it runs with the import replaced.

``tests/api/snippets`` holds 60 programs; each says where its kind was found. Those that need more than the import name
the row of README.md that says what to change, and fail without it: a row that is no longer needed fails here.
"""

import re
from collections import Counter
from pathlib import Path

import pytest
from support import readmes, typed

pytestmark = pytest.mark.long

PROGRAMS = typed.read_programs(Path(__file__).parent / "snippets")
UNCHANGED = [program for program in PROGRAMS if program.row is None]
CHANGED = [program for program in PROGRAMS if program.row is not None]

TORCH = pytest.mark.parametrize("torch", ["stand-in", pytest.param("installed", marks=pytest.mark.reference)])


def each(programs):
    return pytest.mark.parametrize("program", programs, ids=lambda program: program.path.stem)


@pytest.fixture
def run(tmp_path, hub_cache, monkeypatch, torch):
    """Return a function that runs a program, typed or changed, and gives the lines that it prints."""

    def run(program, source):
        if program.cuda and torch == "installed" and not pytest.importorskip("torch").cuda.is_available():
            pytest.skip("the program takes tensors to a GPU, and torch has none here")
        typed.install(monkeypatch, tmp_path, hub_cache, cuda=program.cuda, torch=torch == "stand-in")
        return typed.run(source, str(program.path), warns=program.warns).splitlines()

    return run


def test_there_are_sixty_and_each_says_where_its_kind_was_found():
    assert len(PROGRAMS) == 60
    assert [program.path.stem for program in PROGRAMS if not program.found] == []
    assert [program.path.stem for program in PROGRAMS if "transformers" not in program.source] == []
    assert [program.path.stem for program in UNCHANGED if "# here:" in program.source] == []


@TORCH
@each(UNCHANGED)
def test_it_runs_with_the_import_replaced(program, run):
    assert Counter(program.prints) <= Counter(run(program, program.typed))


@TORCH
@each(CHANGED)
def test_it_runs_with_what_the_readme_says_to_change(program, run):
    assert Counter(program.prints) <= Counter(run(program, program.changed))


@each(CHANGED)
@pytest.mark.parametrize("torch", ["stand-in"])
def test_it_does_not_run_without_the_change(program, run):
    with pytest.raises(Exception):  # noqa: B017  each fails in its own way
        run(program, program.typed)


CHANGES = readmes.changes(readmes.read("README.md"))


def test_what_to_change_stands_in_the_readme():
    typed_so = {code for wrote, _, _ in CHANGES for code in wrote}
    assert {program.row for program in CHANGED} <= typed_so


def test_the_readmes_say_how_many_run():
    counted = f"Of {len(PROGRAMS)} programs .*, {len(UNCHANGED)} run with nothing but the\nimport replaced"
    assert re.search(counted, readmes.read("README.md"))
    counted = f"{len(UNCHANGED)} of\nthe {len(PROGRAMS)} run .* the other {len(CHANGED)} name their row"
    assert re.search(counted, readmes.read("tests/api/README.md"))


@pytest.fixture
def names(tmp_path, hub_cache, monkeypatch, torch):
    """What the codes of the table are written with: a model, a pipeline and what they gave."""
    typed.install(monkeypatch, tmp_path, hub_cache, cuda=False, torch=torch == "stand-in")
    given = """
import npconv
import scipy.special
import gradio as gr
import torch
import torch.nn.functional as F
from torch.nn.functional import cosine_similarity
from transformers import ConvNextForImageClassification, pipeline
model = ConvNextForImageClassification.from_pretrained("facebook/convnext-tiny-224")
pipe = pipeline("image-classification", model="facebook/convnext-tiny-224")
outputs = model(torch.rand(2, 3, 224, 224).numpy()[:1], labels=[281], output_hidden_states=True)
loss, logits, maps = outputs.loss, outputs.logits, outputs.hidden_states[-1]
features = a = b = maps.mean((2, 3))
pixel_values = torch.rand(1, 3, 224, 224)
name = folder = "mine"
labels = [281]
"""
    names = {}
    exec(typed.replace_import(given), names)
    return names


@TORCH
@pytest.mark.parametrize("code", [code for _, write, _ in CHANGES for code in write])
def test_what_to_write_works(code, names):
    exec(code, names)


@pytest.mark.parametrize("torch", ["stand-in"])
@pytest.mark.parametrize("code", [code for wrote, _, _ in CHANGES for code in wrote])
def test_what_simply_works_stands_in_no_row(code, names):
    with pytest.raises(Exception):  # noqa: B017  each fails in its own way
        exec(code, names)
