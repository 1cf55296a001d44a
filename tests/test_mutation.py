"""The mutants of ``tests/mutation.py``: what they are, that tests kill them, and that a survivor is seen."""

from __future__ import annotations

import ast
import os
import random

import pytest

from tests import mutation

#: How many mutants are tried; half a minute each, and with few it would be luck whether one of them survives.
SAMPLE = int(os.environ.get("NPCONV_MUTANTS", "0"))

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


def test_every_mutant_of_what_ships_can_be_read_and_the_known_survivors_are_some():
    found = mutation.every_mutant()
    assert len(found) > 5000
    texts = {mutant.path: (mutation.ROOT / mutant.path).read_text("utf-8") for mutant in found}
    for mutant in random.Random(1).sample(found, 200):
        ast.parse(mutant.apply(texts[mutant.path]))
    assert mutation.SURVIVORS.keys() <= set(map(str, found))
    assert all(mutation.SURVIVORS.values())


def test_the_tests_of_a_module_come_first():
    first, rest, last = mutation.groups_of("npconv/golden/align.py")
    assert "tests/golden/test_align.py" in first
    assert all(name.startswith("tests/golden/") for name in rest)
    assert last == ["tests", "-m", "fast"]


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
    alive = mutation.run(mutation.every_mutant(tmp_path), tmp_path)
    assert {(mutant.before, mutant.after) for mutant in alive} == {("x - 1", "(x + 1)"), ("1", "(2)")}
    assert source.read_text() == before
    (tmp_path / "tests" / "room" / "test_sums.py").write_text(test.replace("4", "5"))
    with pytest.raises(RuntimeError, match="fails without a mutant"):
        mutation.run(mutation.every_mutant(tmp_path), tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not SAMPLE, reason="takes an hour or more: NPCONV_MUTANTS=210")
def test_a_sample_of_mutants_is_killed():
    chosen = random.Random(SAMPLE).sample(mutation.every_mutant(), SAMPLE)
    alive = mutation.run(chosen)
    assert len(alive) <= (1 - mutation.ENOUGH) * SAMPLE, [str(mutant) for mutant in alive]
