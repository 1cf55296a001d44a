"""The examples of the documentation that the project is written after: only the import is replaced.

``tests/api/examples`` tells the 22 anew, a folder for each document. With ``-m reference``, PyTorch itself is used.
"""

from pathlib import Path

import pytest
from support import typed

pytestmark = pytest.mark.long

PROGRAMS = typed.read_programs(Path(__file__).parent / "examples")

#: How many examples each document has.
COUNTS = {"convnext": 5, "convnext_v4_37": 5, "convnextv2": 5, "convnextv2_v5": 2, "cvt": 5}


def test_there_are_as_many_as_in_the_documents():
    folders = [program.path.parent.name for program in PROGRAMS]
    assert {name: folders.count(name) for name in folders} == COUNTS
    assert len(PROGRAMS) == 22


@pytest.mark.parametrize("torch", ["stand-in", pytest.param("installed", marks=pytest.mark.reference)])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: f"{program.path.parent.name}-{program.path.stem}")
def test_an_example_runs_with_the_import_replaced(program, torch, tmp_path, hub_cache, monkeypatch):
    typed.install(monkeypatch, tmp_path, hub_cache, cuda=False, torch=torch == "stand-in")
    assert "from transformers import" in program.source
    assert "# here:" not in program.source
    assert typed.run(program.typed, str(program.path)).splitlines() == program.prints
