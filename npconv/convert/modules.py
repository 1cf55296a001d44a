"""The names that other libraries have for the arrays of a model: the paths of the modules that give them out.

Where a module has parameters, the tables of the converter know its path; ``modules.py`` of a family knows the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from npconv.convert.dialects import Dialect, Pattern, tables
from npconv.models import FAMILIES, find_family
from npconv.models.naming import Table
from npconv.models.naming_modules import Modules


def module_dialects(family: str | None = None) -> tuple[str, ...]:
    """Return the dialects in which modules of a family have names; of any family when unset."""
    families = FAMILIES if family is None else (family,)
    return tuple(dict.fromkeys(name for one in families for name in find_family(one).part("modules").MODULES))


def module_names(family: str, dialect: str, ours: Collection[str]) -> list[dict[str, str]]:
    """Return their paths of modules and our names of what these give out: a mapping for each kind of modules they have.

    Parameters
    ----------
    family : str
        The ``model_type``.
    dialect : str
        One of :func:`module_dialects`.
    ours : collection of str
        The names and aliases of a model's steps.
    """
    known = _without_prefix(family, ours)
    chosen = max(_bound(family, dialect), key=lambda one: len(set(_of_rules(one, known).values())))
    kinds = find_family(family).part("modules").MODULES[dialect]
    return [_of_kind(chosen, modules, known) for modules in kinds]


def parameter_names(family: str, dialect: str, ours: Collection[str]) -> dict[str, str]:
    """Return their names of parameters, with and without what the library puts before them, and our names of these."""
    known = _without_prefix(family, ours)
    return max((_of_parameters(one, known) for one in _bound(family, dialect)), key=len)


def _bound(family: str, dialect: str) -> list[Dialect]:
    """Return the ways in which a dialect names the parameters of a family."""
    named = [table for table in tables(family) if table.name.partition("-")[0] == dialect]
    return [Dialect(table, family, table.prefix.replace("{m}", family)) for table in named]


def _of_parameters(dialect: Dialect, known: Mapping[str, str]) -> dict[str, str]:
    """Return our names of parameters by theirs."""
    found: dict[str, str] = {}
    for rule in dialect.table.rules:
        if "{word}" not in rule.theirs:
            for theirs, name in _places(Pattern(dialect.fill(rule.theirs)), _pattern(dialect, rule.ours), known):
                found.setdefault(theirs, name)
    for theirs, name in list(found.items()):
        found.setdefault(theirs.removeprefix(dialect.prefix), name)
    return found


def skipped_modules(family: str, dialect: str, mine: Collection[str]) -> set[str]:
    """Return the names of a trace that belong to something else than the model: a text tower, a decoder."""
    named = [table for table in tables(family) if table.name.partition("-")[0] == dialect]
    patterns = [Dialect(replace(table, skipped=_as_modules(table)), family) for table in named]
    return {name for name in mine if any(one.is_skipped(name) for one in patterns)}


def _as_modules(table: Table) -> tuple[str, ...]:
    """Return the patterns of tensors that belong to something else, and those of the modules around them."""
    return tuple({form for text in table.skipped for form in (text, text.removesuffix(".*"))})


def _of_kind(dialect: Dialect, modules: Modules, known: Mapping[str, str]) -> dict[str, str]:
    """Return our names by their paths, for modules of one kind."""
    said: dict[str, str] = {}
    unsaid: list[Pattern] = []
    for theirs, several in modules.items():
        pattern = Pattern(dialect.fill(theirs))
        if not several:
            unsaid.append(pattern)
        for ours in (several,) if isinstance(several, str) else several:
            for path, name in _places(pattern, _pattern(dialect, ours), known):
                said.setdefault(path, name)
    of_rules = {
        path: name
        for path, name in _of_rules(dialect, known).items()
        if path not in said and all(pattern.match(path) is None for pattern in unsaid)
    }
    found = {**of_rules, **said}
    for path, name in list(found.items()):  # a part recorded alone lacks what the library puts before its names
        found.setdefault(path.removeprefix(dialect.prefix), name)
    return found


def _of_rules(dialect: Dialect, known: Mapping[str, str]) -> dict[str, str]:
    """Return our names by their paths, for modules with a weight."""
    found: dict[str, str] = {}
    for rule in dialect.table.rules:
        if rule.ours.endswith(".weight") and "{word}" not in rule.theirs:
            theirs = dialect.fill(rule.theirs)
            path = theirs[: max(theirs.rfind("."), theirs.rfind("/"))]
            for name, ours in _places(Pattern(path), _pattern(dialect, rule.ours.removesuffix(".weight")), known):
                found.setdefault(name, ours)
    return found


def _pattern(dialect: Dialect, ours: str) -> Pattern:
    """Return the pattern of a name of ours without the model's own before it."""
    text = dialect.fill(ours)
    return Pattern(next((text.removeprefix(p) for p in _prefixes(dialect.family) if text.startswith(p)), text))


def _places(theirs: Pattern, ours: Pattern, known: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield their path and our name wherever a model has what a pattern of ours is of."""
    for short, name in known.items():
        values = ours.match(short)
        if values is not None:
            yield theirs.fill(values), name


def _without_prefix(family: str, names: Collection[str]) -> dict[str, str]:
    """Return names of ours by the same without the model's own before them; where two are the same, the first."""
    known: dict[str, str] = {}
    for name in names:
        short = next((name.removeprefix(p) for p in _prefixes(family) if name.startswith(p)), name)
        known.setdefault(short, name)
    return known


def _prefixes(family: str) -> tuple[str, ...]:
    """Return what may stand before our names."""
    return f"{family}.", f"{find_family(family).base_model_prefix}."
