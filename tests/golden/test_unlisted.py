"""A hundred mistakes that are in no catalogue are what they claim to be, and the reasons stated for them are true.

By hand, ``python -m tests.golden.unlisted`` prints what is said of each, in traces of both sorts.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from npconv.golden.compare import compare
from npconv.golden.diagnose import diagnose
from npconv.plan.step import Step
from tests.golden.proof import ENOUGH
from tests.golden.unlisted import ENTRIES, LISTS
from tests.golden.unlisted.__main__ import main
from tests.golden.unlisted.entry import is_same
from tests.golden.unlisted.parts import PARTS, tell
from tests.golden.unlisted.port import Port, result
from tests.golden.unlisted.verdict import catalogued, examine, sums, table

pytestmark = pytest.mark.long

#: Reasons that must be right, and that may be wrong, in traces of all steps and in traces of stage outputs and final
#: outputs alone.
RIGHT = {"full": 12, "coarse": 3}
WRONG = {"full": 0, "coarse": 0}

#: Which mistakes are diagnosed here, as the search takes seconds each; by hand all are.
TRIED = {"full": ENTRIES[::8], "coarse": ENTRIES[::25]}

COUNTS = {
    **{"parameters": 20, "continuous": 15, "precision": 10, "geometry": 15, "structure": 20},
    **{"preprocessing": 12, "several": 8},
}
EVERY = [entry for entries in LISTS.values() for entry in entries]
BY_NAME = {entry.name: entry for entry in EVERY}


@dataclass
class Stated:
    """A suspect as the diagnosis may state one, with its kind and its values."""

    says: str
    step: Step
    kind: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    mistake: None = None
    fits: bool = True
    changes: tuple[()] = ()

    @property
    def places(self) -> list[str]:
        """The names of its steps."""
        return [self.step.name]


def stated(says, step, kind="", **values):
    return Stated(says, Step(step, "", ()), kind, values)


def test_there_are_a_hundred_different_ones():
    assert len(ENTRIES) == 100
    assert len(BY_NAME) == len(EVERY) == 177
    assert Counter(entry.kind for entry in ENTRIES) == COUNTS


def test_every_place_that_a_reason_may_name_is_one_step():
    for entry in EVERY:
        port = Port(entry.plan(), {})
        assert port.find(entry.step) in port.steps


@pytest.mark.parametrize("traces", TRIED)
def test_each_is_seen_where_it_is_made(traces):
    found = [examine(entry, traces, reasons=False) for entry in EVERY]
    assert [(one.entry.name, one.first) for one in found if not one.is_first] == []
    # A picture of whole numbers is off by few of them.
    enough = {"preprocessing": 1.0}
    far = [one.error >= enough.get(one.entry.kind, ENOUGH) for one in found]
    assert [one.entry.name for one, is_far in zip(found, far, strict=True) if not is_far] == []


def test_none_has_the_numbers_of_a_catalogued_one():
    assert {entry.name: names for entry in EVERY if (names := catalogued(entry))} == {}


@pytest.mark.parametrize("traces", TRIED)
def test_reasons_are_true(traces):
    verdicts = [examine(entry, traces) for entry in TRIED[traces]]
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    wrong = [verdict for verdict in verdicts if verdict.outcome == "wrong"]
    assert len(wrong) <= WRONG[traces], "\n".join(table(wrong))
    assert outcomes["right"] >= RIGHT[traces], "\n".join(sums(verdicts))


@pytest.mark.parametrize("name", ["turned", "cut-at-one", "half-then-imagenet"])
def test_reasons_are_true_of_pixel_values_alone(name):
    verdict = examine(BY_NAME[name], "coarse")
    assert verdict.outcome == "right", verdict.says


def test_reasons_are_true_of_pictures():
    """Filters, crops, colours and levels each have numbers of their own. A picture resized twice is not explained."""
    verdicts = [examine(entry, "full") for entry in LISTS["photos"] if entry.name != "resized-twice"]
    assert {verdict.entry.name: verdict.says for verdict in verdicts if verdict.outcome != "right"} == {}


@pytest.mark.parametrize("part", PARTS[::5], ids=lambda part: part.mistake)
def test_a_mistake_in_some_blocks_is_named_with_its_places(part):
    told = tell(part)
    assert told.outcome == "right", told


def test_what_cannot_be_told_apart_is_listed_and_is_proven_to_be_the_same():
    entry = BY_NAME["pool-of-7-by-7"]
    fits = [suspect for suspect in diagnose(compare(entry.golden(), entry.port("coarse"))) if suspect.fits]
    assert {"convnext.averaged", "convnext.pooled"} <= {suspect.step.name for suspect in fits}
    assert all(is_same(entry, suspect, "classifier") for suspect in fits)
    other = replace(entry, how=result(lambda y: y * np.float32(0.25)))
    assert not any(is_same(other, suspect, "classifier") for suspect in fits)


def test_a_reason_must_name_the_place_the_thing_and_the_number():
    eps = BY_NAME["layer-norm-eps-2e-5"]
    step = "convnext.encoder.stages.0.layers.0.layernorm"
    assert eps.is_told(stated("LayerNorm eps 2e-05", step))
    assert eps.is_told(stated("another epsilon", step, "continuous", epsilon=2.0001e-5))
    assert not eps.is_told(stated("LayerNorm eps 1e-05", step))
    assert not eps.is_told(stated("a factor of 2e-05", step))
    assert not eps.is_told(stated("LayerNorm eps 2e-05", step.replace("layers.0", "layers.1")))
    assert not eps.is_told(stated("LayerNorm eps 2e-05", step, "precision"))


def test_a_parameter_must_be_named_in_full():
    kernel = BY_NAME["kernel-of-another-block"]
    step = "convnext.encoder.stages.0.layers.1.dwconv"
    right = "convnext.encoder.stages.0.layers.0.dwconv.weight"
    assert kernel.is_told(stated(f"weight is {right}", step, "parameters"))
    assert kernel.is_told(stated("another parameter", step, "parameters", source=right))
    assert not kernel.is_told(stated(f"weight is {right.replace('stages.0', 'stages.1')}", step))
    assert not kernel.is_told(stated("weight of another block", step))


@pytest.mark.parametrize(("says", "is_right"), [("x 0.5", True), ("x 0.25", False), ("in stages.0.5", False)])
def test_numbers_are_read_from_sentences(says, is_right):
    step = "convnextv2.encoder.stages.0.layers.1.act"
    assert BY_NAME["gelu-of-half"].is_told(stated(says, step)) is is_right


def test_the_table_is_printed(capsys):
    assert main(["--traces", "full", "--kind", "several"]) == 0
    printed = capsys.readouterr().out
    assert all(entry.name in printed for entry in ENTRIES if entry.kind == "several")
    assert printed.splitlines()[-2].split()[:3] == ["all", "8", "8"]
