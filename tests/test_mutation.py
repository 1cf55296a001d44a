"""The mutants of ``tests/mutation.py``: what they are, that tests kill them, and that a survivor is seen."""

from __future__ import annotations

import ast
import os
import random
from pathlib import Path

import pytest

from tests import mutation
from tests.reach import Reach, find_reach

#: Whether the kept sample of mutants is tried, which takes an hour.
TRIED = bool(os.environ.get("NPCONV_MUTANTS"))

CODE = '''
def f(x: int = 3, *, key=True):
    """One 1."""
    check(x, sort_keys=True, help="1 + 1")
    if not (x < 2 and all(x)):
        raise ValueError(f"{x + 1}")
    x += 5
    return x.max() + 1
'''

CHANGES = [
    ("3", "(4)"),
    ("True", "(False)"),
    ('check(x, sort_keys=True, help="1 + 1")', "pass"),
    ('check(x, sort_keys=True, help="1 + 1")', "(check(x, help='1 + 1'))"),
    ("True", "(False)"),
    ("not (x < 2 and all(x))", "(x < 2 and all(x))"),
    ("x < 2 and all(x)", "(x < 2 or all(x))"),
    ("x < 2", "(x <= 2)"),
    ("2", "(3)"),
    ("all(x)", "(any(x))"),
    ('raise ValueError(f"{x + 1}")', "pass"),
    ("x += 5", "pass"),
    ("5", "(6)"),
    ("x.max() + 1", "(x.max() - 1)"),
    ("x.max()", "(x.min())"),
    ("1", "(2)"),
]


def test_every_change_is_one_mutant_that_can_be_read():
    found = list(mutation.mutants("f.py", CODE))
    assert sorted((mutant.before, mutant.after) for mutant in found) == sorted(CHANGES)
    for mutant in found:
        assert ast.dump(ast.parse(mutant.apply(CODE))) != ast.dump(ast.parse(CODE))


def test_what_only_bounds_time_and_what_no_program_calls_is_left_alone():
    code = """
MOST_NAMES, MOST_PARTS, WIDTH = 5000, 40, 640
HALVES = DOUBLES.astype(SINGLE, copy=False)
MOST_BYTES = 2**30
def f(self):
    raise NotImplementedError
"""
    found = [(mutant.before, mutant.after) for mutant in mutation.mutants("f.py", code)]
    assert sorted(found) == [("2", "(3)"), ("30", "(31)"), ("40", "(41)"), ("640", "(641)")]


def test_every_mutant_of_what_ships_can_be_read_and_the_known_survivors_are_some():
    found = mutation.every_mutant()
    assert len(found) > 5000
    texts = {mutant.path: (mutation.ROOT / mutant.path).read_text("utf-8") for mutant in found}
    for mutant in random.Random(1).sample(found, 200):
        ast.parse(mutant.apply(texts[mutant.path]))
    assert mutation.SURVIVORS.keys() <= mutation.names_of(found).keys()
    assert all(mutation.SURVIVORS.values())


def test_the_tests_of_a_module_come_first():
    first, rest, last = mutation.groups_of(mutation.Mutant("npconv/golden/align.py", (1, 0), (1, 0), "", ""))
    assert "tests/golden/test_align.py" in first
    assert all(name.startswith("tests/golden/") for name in rest)
    assert last == ["tests", "-m", "fast"]


def test_the_lines_of_a_mutant_are_those_of_its_statement_within_a_function():
    found = {(mutant.before, mutant.after): mutant.lines for mutant in mutation.mutants("f.py", CODE)}
    assert found["3", "(4)"] == range(0), "a default is worked out on import"
    assert found["x < 2", "(x <= 2)"] == range(5, 6), "a condition is not its body"
    assert found["x += 5", "pass"] == found["5", "(6)"] == range(7, 8)


def test_the_files_that_run_a_line_are_tried_and_no_others():
    reach = Reach({"npconv/golden/align.py": {7: {"tests/a/test_slow.py", "tests/golden/test_align.py"}}})
    reach.files["npconv/golden/align.py"][8] = {"tests/a/test_quick.py"}
    reach.seconds = {"tests/a/test_slow.py": 3.0, "tests/a/test_quick.py": 1.0}
    mutant = mutation.Mutant("npconv/golden/align.py", (8, 0), (8, 1), "", "", range(7, 9))
    named, others = mutation.groups_of(mutant, reach=reach)
    assert named == ["tests/golden/test_align.py"]
    assert others == ["tests/a/test_quick.py", "tests/a/test_slow.py"]
    assert len(mutation.groups_of(mutant, reach=Reach())) == 3, "nothing is known: all that is fast"
    constant = mutation.Mutant("npconv/golden/align.py", (1, 0), (1, 1), "", "")
    groups = mutation.groups_of(constant, reach=reach)
    assert {file for group in groups for file in group} == {*named, *others}


@pytest.mark.slow
def test_what_a_test_reaches_is_found(tmp_path):
    pytest.importorskip("coverage", reason="finds what tests run")
    project, records = tmp_path / "project", tmp_path / "records"
    tests = project / "tests"
    for folder in (project / "npconv", tests, records):
        folder.mkdir(parents=True)
    (project / "npconv" / "__init__.py").write_text("def f(x):\n    if x:\n        return 1\n    return 2\n")
    for name, call in {"one": "f(True) == 1", "two": "f(False) == 2"}.items():
        (tests / f"test_{name}.py").write_text(f"import npconv\n\n\ndef test_it():\n    assert npconv.{call}\n")
    (tests / "reach.py").write_text(Path(find_reach.__code__.co_filename).read_text("utf-8"))  # a plugin of these runs
    reach = find_reach(project, records)
    assert reach.of("npconv/__init__.py", range(3, 4)) == ["tests/test_one.py"]
    assert reach.of("npconv/__init__.py", range(4, 5)) == ["tests/test_two.py"]
    assert set(reach.of("npconv/__init__.py", range(2, 3))) == {"tests/test_one.py", "tests/test_two.py"}
    assert reach.of("npconv/__init__.py", range(1, 2)) == [], "it runs on import"
    assert set(reach.seconds) == {"tests/test_one.py", "tests/test_two.py"}


@pytest.mark.slow
def test_a_survivor_is_seen_and_the_project_stays_as_it_was(tmp_path):
    (tmp_path / "npconv" / "room").mkdir(parents=True)
    (tmp_path / "tests" / "room").mkdir(parents=True)
    for package in ("npconv", "npconv/room"):  # or else the installed npconv would come before it
        (tmp_path / package / "__init__.py").write_text("")
    source = tmp_path / "npconv" / "room" / "sums.py"
    source.write_text("def double(x):\n    return x + x\n\n\ndef unseen(x):\n    return x - 1\n")
    test = "from npconv.room.sums import double\n\n\ndef test_double():\n    assert double(2) == 4\n"
    (tmp_path / "tests" / "room" / "test_sums.py").write_text(test)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = fast\n")
    before = source.read_text()
    found = mutation.names_of(mutation.every_mutant(tmp_path), tmp_path)
    alive = mutation.run(found, tmp_path)
    assert {(found[name].before, found[name].after) for name in alive} == {("x - 1", "(x + 1)"), ("1", "(2)")}
    assert source.read_text() == before
    (tmp_path / "tests" / "room" / "test_sums.py").write_text(test.replace("4", "5"))
    with pytest.raises(RuntimeError, match="fails without a mutant"):
        mutation.run(found, tmp_path)


def test_the_kept_sample_is_still_there():
    found = mutation.names_of(mutation.every_mutant())
    names = mutation.kept(found)
    assert len(names) > 150
    assert len({found[name] for name in names}) == len(names)


def test_mutants_that_are_alike_have_names_of_their_own(tmp_path):
    (tmp_path / "f.py").write_text("x = [1, 1]\ny = 1\n")
    found = mutation.names_of(list(mutation.mutants("f.py", (tmp_path / "f.py").read_text())), tmp_path)
    assert sorted((name, mutant.start) for name, mutant in found.items()) == [
        ("f.py: 1 -> (2)  # x = [1, 1]", (1, 8)),
        ("f.py: 1 -> (2)  # x = [1, 1]  # 2", (1, 5)),
        ("f.py: 1 -> (2)  # y = 1", (2, 4)),
    ]


def test_of_a_sample_that_is_gone_nothing_is_tried(tmp_path, monkeypatch):
    monkeypatch.setattr(mutation, "KEPT", tmp_path / "mutants.txt")
    mutation.KEPT.write_text("a\nb\nc\nd\ne\n")
    assert mutation.kept(dict.fromkeys("abcd")) == list("abcd")
    with pytest.raises(RuntimeError, match=r"expected most of the mutants in mutants.txt, got 3 of 5; keep others"):
        mutation.kept(dict.fromkeys("abc"))


@pytest.mark.slow
@pytest.mark.skipif(not TRIED, reason="takes an hour: NPCONV_MUTANTS=1")
def test_the_kept_sample_of_mutants_is_killed():
    found = mutation.names_of(mutation.every_mutant())
    names = mutation.kept(found)
    alive = mutation.run({name: found[name] for name in names})
    assert len(alive) <= (1 - mutation.ENOUGH) * len(names), alive
