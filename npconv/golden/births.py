"""The mistakes after the first: every other tensor that is wrong by itself, and why.

A tensor behind a mistake is wrong as well. So the right steps are run on mine's own arrays: where they give what mine
has, its error came in, and else a mistake was made there too. Each is diagnosed as if it were the first. What another
one has been explained by is tried first, so that a mistake that is made in every block is one of many places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from npconv.golden import judge
from npconv.golden.compare import Comparison, Difference
from npconv.golden.diagnose import diagnose
from npconv.golden.judge import Suspect, Suspects
from npconv.golden.kinds.search import KINDS, Kind, without_numbers
from npconv.golden.origin import Origin
from npconv.golden.own import Made, Own

if TYPE_CHECKING:
    from npconv.golden.mistakes import Mistake

#: Searches without a result after which steps of one name, in other blocks, are not searched.
MOST_FAILED = 2


@dataclass(frozen=True)
class Birth:
    """A mistake after the first.

    Parameters
    ----------
    places : tuple of str
        The tensors in which it is born, in order.
    difference : Difference
        Of the first of these, from what the right steps make of mine's own arrays.
    origin : Origin
        Of that; nothing of it is inherited.
    suspects : Suspects
        Why, as of the first divergent tensor; of a mistake that is made `again`, what fits here too.
    again : bool
        It is the mistake of the first divergent tensor, or like that one not known, in the same step of other blocks.
    """

    places: tuple[str, ...]
    difference: Difference
    origin: Origin
    suspects: Suspects
    again: bool = False


def also_born(
    comparison: Comparison, suspects: Sequence[Suspect] = (), mistakes: Sequence[Mistake] | None = None
) -> list[Birth]:
    """Find the mistakes after the first divergent tensor.

    Parameters
    ----------
    comparison : Comparison
    suspects : sequence of Suspect
        Of the first divergent tensor, as :func:`npconv.golden.diagnose` returns them.
    mistakes : sequence of Mistake, optional
        The catalogue by default.

    Returns
    -------
    list of Birth
        In the order of their first tensors. What cannot be decided, as mine has not all that a tensor is made of, is
        left out.
    """
    first = comparison.first
    if first is None or first.broken or all(not one.diverges or one is first for one in comparison.differences):
        return []
    own = Own(comparison)
    found = _Found(own, first, [suspect for suspect in suspects if suspect.fits], mistakes)
    wrong = _wrong(own)
    born = [made for made in _independent(own, wrong) if made.part.target != own.target(first)]
    found.share(born)
    for made in born:
        found.add(made, wrong.keys())
    return [birth for birth in map(_Group.birth, found.groups) if birth is not None]


def _wrong(own: Own) -> dict[str, Made]:
    """Return the divergent tensors that are not what the right steps make of the nearest arrays of mine."""
    diverging = [one for one in own.comparison.differences if one.diverges and not one.broken and own.is_told(one)]
    made = [found for one in diverging if (found := own.make(one)) is not None]
    return {found.part.target: found for found in made if not found.is_right}


def _independent(own: Own, wrong: dict[str, Made]) -> Iterator[Made]:
    """Give out what is wrong by itself: not for an array that mine records but does not compute with."""
    aside = {name for name, made in wrong.items() if _is_aside(own, made)}
    for name, made in wrong.items():
        if name in aside:
            continue
        again = own.make(made.difference, aside) if aside.intersection(made.part.start) else made
        if again is not None and not again.is_right:
            yield again


def _is_aside(own: Own, wrong: Made) -> bool:
    """Tell whether nothing of mine follows from a wrong tensor, while what it should be leads to another that it has.

    Such an array was recorded before or after the step that the name stands for, or two steps were made one.
    """
    target = wrong.part.target
    followers = own.followers(target)
    if any(map(own.is_right, followers)):
        return False
    return any(made is not None and made.is_right for made in (own.make(one, {target}) for one in followers))


@dataclass
class _Group:
    """One mistake, where it is made, and what explains all places; `role` is the steps' name without numbers."""

    role: str
    reasons: list[Suspect]
    again: bool = False
    places: list[Made] = field(default_factory=list)
    view: Comparison | None = None
    suspects: Suspects = field(default_factory=Suspects)

    def birth(self) -> Birth | None:
        """Return what there is to say of it; None of the first tensor's mistake if that is made nowhere else."""
        if not self.places or self.view is None or self.view.first is None:
            return None
        made = self.places[0]
        steps = tuple(step.name for step in made.part.plan if step.name in made.part.steps)
        operation = made.part.plan[made.part.target].operation
        origin = Origin(made.off, 0.0, steps, made.part.start, True, made.tolerance, operation)
        names = tuple(place.difference.name for place in self.places)
        return Birth(names, self.view.first, origin, self.suspects, self.again)

    def join(self, made: Made, view: Comparison, suspects: Suspects) -> None:
        """Take a place."""
        if not self.places:
            self.view, self.suspects = view, suspects
        self.places.append(made)


class _Found:
    """The mistakes that are found, the first divergent tensor's before all."""

    def __init__(self, own: Own, first: Difference, reasons: list[Suspect], mistakes: Sequence[Mistake] | None) -> None:
        self.own, self.mistakes = own, mistakes
        role = without_numbers(f".{first.name}.")
        self.groups = [_Group(role, reasons, again=True)]
        self.failed = Counter() if reasons else Counter({role: 1})
        self.left: dict[str, int] = {}
        part = own.part(first)
        self.passed: set[str] = set() if part is None else set(part.passed)

    def share(self, born: Sequence[Made]) -> None:
        """Give the steps of each name the same part of what may be computed, in all half of it for the first tensor."""
        roles = {_role(made) for made in born}
        self.left = {role: judge.BUDGET // 2 // len(roles) for role in roles}

    def add(self, made: Made, wrong: Set[str]) -> None:
        """Take a tensor that is wrong by itself to the mistake that explains it, an earlier one if that does."""
        role, view = _role(made), self.own.seen_from(made, wrong)
        suspects = self._known(made, view)
        group = self._explained(suspects)
        if group is None and self.failed[role] < MOST_FAILED:
            suspects = self._search(role, view, self.mistakes)
            group = self._explained(suspects)
            self.failed[role] += not suspects.fitting
        # What was not recorded may have made an earlier tensor wrong, and this one too.
        shared = made.part.passed & self.passed
        self.passed |= made.part.passed
        fitting = [suspect for suspect in suspects.fitting if suspect.step.name not in shared]
        if shared and not fitting:
            return
        if group is None and not fitting:
            group = next((known for known in self.groups if not known.reasons and known.role == role), None)
        if group is None:
            group = _Group(role, suspects.fitting)
            self.groups.append(group)
        group.join(made, view, suspects)

    def _known(self, made: Made, view: Comparison) -> Suspects:
        """Try what explains earlier tensors."""
        operations = {made.part.plan[name].operation for name in made.part.steps}
        reasons = [one for group in self.groups for one in group.reasons if one.step.operation in operations]
        if not reasons:
            return Suspects()
        names = {suspect.kind for suspect in reasons}
        kinds = [kind for kind in KINDS if kind.__name__ in names]
        mistakes = {one.mistake.name: one.mistake for one in reasons if one.mistake is not None}
        return self._search(_role(made), view, list(mistakes.values()), kinds)

    def _search(
        self, role: str, view: Comparison, mistakes: Sequence[Mistake] | None, kinds: Sequence[Kind] = KINDS
    ) -> Suspects:
        """Diagnose a tensor with what may still be computed for the steps of its name."""
        suspects = diagnose(view, mistakes, kinds=kinds, budget=self.left[role])
        self.left[role] = suspects.left
        return suspects

    def _explained(self, suspects: Suspects) -> _Group | None:
        """Return the mistake that explains a tensor as well; of its reasons those stay that do."""
        said = {_reason(suspect) for suspect in suspects.fitting}
        for group in self.groups:
            both = [one for one in group.reasons if _reason(one) in said]
            if both:
                group.reasons = both
                return group
        return None


def _role(made: Made) -> str:
    """Return the name of a tensor without the numbers of stages and blocks."""
    return without_numbers(f".{made.difference.name}.")


def _reason(suspect: Suspect) -> tuple[str, str]:
    """Return by what a reason is the same in another step: its sentence without the name of that."""
    owner = str(suspect.values.get("parameter", "")).rpartition(".")[0]
    return suspect.kind, without_numbers(suspect.says.replace(f"{owner}.", "") if owner else suspect.says)
