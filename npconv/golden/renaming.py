"""A trace in the names of a port: its tensors, and all that the trace says of them, under other names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from npconv.errors import GoldenError
from npconv.golden.measures import is_before_model
from npconv.golden.naming import names_in
from npconv.golden.trace_file import Trace, about, part
from npconv.messages import meant, quoted


def rename(trace: Trace, names: Mapping[str, str] | str) -> Trace:
    """Return a trace with tensors called as a port calls them.

    Parameters
    ----------
    trace : Trace
    names : mapping of str to str, or str
        The port's name -> name or alias in the trace, as for :func:`npconv.golden.compare`; or a library. Of several
        names for one tensor the first is taken and the others become aliases, as does the name that it had.

    Returns
    -------
    Trace
        Of the same arrays. Inputs, weights, and tensors that are not spoken of keep their names.

    Raises
    ------
    GoldenError
        If the trace has no tensor or step of a name, two would have the same, or there is no such library.
    """
    known = _known(trace)
    new, others = _new_names(names_in(trace, names) if isinstance(names, str) else names, known)
    facts = {key: value for key, value in about(trace).items() if key != "order"}
    for key in ("layouts", "noise"):
        if key in facts:
            facts[key] = {new.get(name, name): value for name, value in facts[key].items()}
    aliases = _aliases(known, new, others)
    facts["aliases"] = {alias: new.get(old, old) for old, several in aliases.items() for alias in several}
    if "steps" in facts:
        facts["steps"] = _steps(facts["steps"], known, new, aliases)
    renamed = Trace(facts, trace.params)
    renamed.stored = {new.get(name, name): dtype for name, dtype in trace.stored.items()}
    for name, array in trace.items():
        renamed.add(new.get(name, name), array)
    return renamed


def _known(trace: Trace) -> dict[str, str]:
    """Return the names of tensors and of steps by these and by their aliases."""
    plan = trace.plan
    steps = {name: step.name for step in plan or () for name in (step.name, *step.aliases)}
    own = set(trace) | set(steps.values())
    aliases = {alias: name for alias, name in part(trace, "aliases").items() if name in own}
    return steps | aliases | {name: name for name in own}


def _new_names(theirs: Mapping[str, str], known: Mapping[str, str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the new name of each old one that has one, and its further names; refuse what cannot be."""
    new: dict[str, str] = {}
    others: dict[str, list[str]] = {}
    for name, ours in theirs.items():
        if ours not in known:
            raise GoldenError(
                f"the map of names speaks of {quoted(ours)} (for {quoted(name)}), which the trace lacks"
                f"{meant(ours, known)}"
            )
        old = known[ours]
        if is_before_model(old) or new.setdefault(old, name) != name:
            others.setdefault(old, []).append(name)
    kept = set(known.values()) - set(new)
    for old, name in new.items():
        if name in kept:
            raise GoldenError(
                f"{quoted(name)}, for {quoted(old)}, is the name of another tensor; give that one another"
            )
    return new, others


def _aliases(
    known: Mapping[str, str], new: Mapping[str, str], others: Mapping[str, list[str]]
) -> dict[str, tuple[str, ...]]:
    """Return by old names the further names, those that it had and itself, each for the first only that has it."""
    claimed = {new.get(name, name) for name in known.values()}
    found: dict[str, list[str]] = {}
    for old, name in [*((old, name) for old, several in others.items() for name in several), *_turned(known)]:
        if name not in claimed:
            claimed.add(name)
            found.setdefault(old, []).append(name)
    return {old: tuple(several) for old, several in found.items()}


def _turned(names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return pairs the other way round."""
    return [(target, name) for name, target in names.items()]


def _steps(
    steps: Mapping[str, Any], known: Mapping[str, str], new: Mapping[str, str], aliases: Mapping[str, tuple[str, ...]]
) -> dict[str, Any]:
    """Return the steps of a plan, as JSON values, under new names."""

    def called(name: str) -> str:
        old = known.get(name, name)
        return new.get(old, old)

    return {
        "steps": [
            {
                **step,
                "name": called(step["name"]),
                "inputs": [called(name) for name in step["inputs"]],
                "aliases": list(aliases.get(step["name"], ())),
            }
            for step in steps["steps"]
        ],
        "outputs": [called(name) for name in steps["outputs"]],
        "hidden_states": [called(name) for name in steps["hidden_states"]],
    }
