"""The proof of the catalogue of mistakes holds, would fail if it did not, and the README tells the same."""

from dataclasses import replace

import pytest

from npconv.errors import GoldenError
from npconv.golden.compare import compare
from npconv.golden.course import make_course
from npconv.golden.diagnose import diagnose
from npconv.golden.measures import FLOOR, MULTIPLE
from npconv.golden.mistakes import MISTAKES
from npconv.golden.trace_file import Trace
from npconv.golden.tracing import task_of
from npconv.models import FAMILIES
from npconv.models.plans import make_plan
from npconv.plan.gradient_steps import GRAD
from tests.golden import proof
from tests.golden.specimens import PICTURE, gradient_specimen, model_specimen
from tests.golden.tiny_models import gradients_of, models_of

pytestmark = pytest.mark.long

#: Ends of the names of steps that are not modules of transformers; see ``test_false_alarms.py``.
NO_MODULES = (
    *("pooled", "tokens", "class_token", "attention_residual", "grn.strength", "grn.relative", "layer_scale"),
    *(f"attention.attention.{name}" for name in ("map", "query", "key", "value", "scores")),
)

VISIBLE = [mistake for mistake in MISTAKES if not mistake.invisible]
BY_NAME = {mistake.name: mistake for mistake in MISTAKES}


@pytest.fixture(scope="module")
def verdicts():
    """The proof; by hand, ``python -m tests.golden.proof`` tries every mistake on every model, which takes minutes."""
    return proof.prove(thorough=False)


@pytest.fixture(scope="module")
def usual():
    """The first ConvNeXt V2."""
    return model_specimen(models_of("convnextv2")[0])


def plan_of_gradients(tiny):
    """Return the steps of a trace with gradients."""
    model, _ = tiny.model.make()
    return make_course(model.config, task_of(model), True, tiny.labels, tiny.training).plan


def test_every_mistake_is_caught_and_named_first(verdicts):
    assert {verdict.mistake.name: verdict.failures for verdict in verdicts if verdict.failures} == {}
    assert [verdict.mistake for verdict in verdicts] == VISIBLE
    assert len(verdicts) >= 45


def test_every_family_in_which_a_mistake_can_be_made_has_its_proof(verdicts):
    models = {family: [tiny.make()[0] for tiny in models_of(family)] for family in FAMILIES}
    plans = {family: [make_plan(model.config, task_of(model)) for model in found] for family, found in models.items()}
    for family, found in plans.items():
        found += [plan_of_gradients(tiny) for tiny in gradients_of(family)]
    for verdict in verdicts:
        expected = {
            family
            for family, found in plans.items()
            if any(verdict.mistake.at(step, plan) for plan in found for step in plan)
        }
        assert set(verdict.best) == (expected or {PICTURE}), verdict.mistake.name
    assert any(verdict.best.keys() == set(FAMILIES) for verdict in verdicts)


def test_few_mistakes_have_the_same_numbers_as_another_where_they_show(verdicts):
    """Of the traces that show their mistake, not only the best: epsilons of 0 and 1e-12 fit the same numbers."""
    shown = [(verdict.mistake.name, found) for verdict in verdicts for found in verdict.findings if found.shows]
    others = [(name, found.named, found.fits) for name, found in shown if found.named != name]
    assert all("-eps-" in name and "-eps-" in named and fits for name, named, fits in others), others
    assert len(others) <= 0.01 * len(shown)


@pytest.mark.parametrize("family", FAMILIES)
def test_names_of_modules_alone_are_enough(family):
    """A trace as forward hooks record it: the steps between two modules are diagnosed in one piece."""
    check_by_modules(model_specimen(models_of(family)[0]))


@pytest.mark.parametrize("family", ["convnextv2", "cvt"])  # all operations of the four
def test_gradients_of_modules_alone_are_enough(family):
    check_by_modules(gradient_specimen(gradients_of(family)[0]))


def check_by_modules(specimen):
    """Make every mistake in a specimen, and name it by the tensors that modules of transformers give out."""
    for mistake in VISIBLE:
        if not specimen.tries(mistake) or specimen.place(mistake) is None:
            continue
        mine = Trace(specimen.about)
        for name, array in specimen.port(mistake).items():
            if not name.removesuffix(GRAD).endswith(NO_MODULES):
                mine.add(name, array)
        comparison = compare(specimen.golden, mine)
        first = comparison.first
        if first is not None and first.max_abs >= proof.ENOUGH * first.tolerance:
            fitting = [suspect for suspect in diagnose(comparison) if suspect.fits]
            best = [suspect.mistake for suspect in fitting if suspect.residual <= 2 * fitting[0].residual]
            assert mistake in best, mistake.name


def test_a_mistake_that_is_none_fails_the_proof(usual, monkeypatch, capsys):
    """What is right cannot be caught; a second name for one mistake cannot be first as well."""
    tanh = BY_NAME["gelu-tanh"]
    none = replace(BY_NAME["gelu-erfc"], name="no-mistake", invisible="")
    again = replace(tanh, name="a-second-name")
    monkeypatch.setattr(proof, "MISTAKES", (tanh, none, again))
    monkeypatch.setattr(proof, "specimens", lambda: iter([usual]))
    table = [("activation", "case", tanh.name, 10.0), ("activation", "case", none.name, 0.3)]
    monkeypatch.setattr(proof, "detection_table", lambda: iter(table))

    assert proof.main([]) == 1
    rows = {line.partition(" ")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert rows[tanh.name].endswith("yes")
    assert "NO: cases: 0.3 tolerances; convnextv2: " in rows[none.name]
    assert "WRONG" in rows[none.name]
    assert "NO: cases: 0.0 tolerances; convnextv2: taken for gelu-tanh in usual" in rows[again.name]
    monkeypatch.setattr(proof, "MISTAKES", (tanh,))
    del table[1]
    assert proof.main([]) == 0


def test_a_mistake_that_no_model_has_fails_the_proof():
    verdict = proof.Verdict(BY_NAME["gelu-tanh"], {"activation/case": 100.0}, {}, [])
    assert verdict.failures == ["no model in which it can be made"]


def test_a_wrong_tensor_or_too_small_an_error_is_no_proof():
    mistake = BY_NAME["gelu-tanh"]
    right = proof.Finding("cvt", "usual", 10.0, True, mistake.name, True)
    cases = {"activation/one": 10.0, "activation/other": 0.0}
    for finding in (replace(right, error=9.9), replace(right, is_first=False), replace(right, named="gelu-quick")):
        assert proof.Verdict(mistake, cases, {"cvt": finding}, [finding]).failures
    verdict = proof.Verdict(mistake, cases, {"cvt": right}, [right])
    assert not verdict.failures
    assert verdict.said_of_cases == "1 of 2, activation/one: 10"
    assert replace(verdict, cases={"activation/one": 9.9}).failures == ["cases: 9.9 tolerances"]


def test_the_readme_has_the_catalogue():
    """Names and texts; the figures differ from machine to machine."""
    text = proof.README.read_text(encoding="utf-8")
    table = text.partition(proof.BEGIN)[2].partition(proof.END)[0]
    expected = [[m.name, m.operation, m.says, m.origin] for m in VISIBLE]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines() if line[:1] == "|"]
    assert [row[:4] for row in rows[2:]] == expected, "run python -m tests.golden.proof --readme"
    listed = [line for line in table.splitlines() if line.startswith("- ")]
    assert listed == [f"- {m.says} ({m.operation}): {m.invisible}." for m in MISTAKES if m.invisible]
    assert f"{MULTIPLE} times that noise, and at least {FLOOR} units" in text


def test_the_readme_is_written_between_its_marks(tmp_path, verdicts):
    file = tmp_path / "README.md"
    file.write_text(f"before\n{proof.BEGIN}\nold\n{proof.END}\nafter\n", encoding="utf-8")
    proof.write_readme(verdicts, file)
    once = file.read_text(encoding="utf-8")
    proof.write_readme(verdicts, file)
    assert file.read_text(encoding="utf-8") == once
    assert once.startswith(f"before\n{proof.BEGIN}\n\n| mistake | operation |")
    assert once.endswith(f".\n\n{proof.END}\nafter\n")
    assert "\nold\n" not in once
    file.write_text("no marks", encoding="utf-8")
    with pytest.raises(GoldenError, match="expected the lines"):
        proof.write_readme(verdicts, file)


def test_without_a_readme_the_status_is_2(tmp_path, usual, monkeypatch, capsys):
    monkeypatch.setattr(proof, "MISTAKES", ())
    monkeypatch.setattr(proof, "specimens", lambda: iter([usual]))
    monkeypatch.setattr(proof, "detection_table", lambda: [])
    monkeypatch.setattr(proof.write_readme, "__defaults__", (tmp_path / "README.md",))
    assert proof.main(["--readme"]) == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize("name", NO_MODULES)
def test_the_readme_lists_the_names_of_no_module(name):
    text = proof.README.read_text(encoding="utf-8")
    assert f"{name.removeprefix('attention.attention')}`" in text.partition("## Names")[2].partition("## The file")[0]


def test_square_maps_hide_no_mistake(verdicts):
    """All published models take square pictures: there, rows and columns exchanged have the same shape."""
    found = [(verdict.mistake.name, finding) for verdict in verdicts for finding in verdict.findings]
    usual = {(name, finding.family) for name, finding in found if finding.specimen == "usual" and finding.shows}
    hidden = {(name, finding.family) for name, finding in found if finding.specimen == "square" and not finding.shows}
    assert {name for name, family in hidden & usual if "-eps-" not in name} == set()  # those need small numbers
    assert {"positions-by-columns"} <= {name for name, finding in found if finding.specimen == "square"}
