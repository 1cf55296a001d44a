"""The configuration of a model from its tensors, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from npconv.convert.dialect import Dialect, tables
from npconv.convert.reading import check_complete, read
from npconv.errors import WeightsError
from npconv.models import find_family
from npconv.models.configuration import PretrainedConfig
from npconv.models.decisions import GIVEN, NOTE, SHAPES, Decision
from npconv.models.dialects import Reading
from npconv.models.publishing import find_architecture, size_fields


class OpenFieldsError(WeightsError):
    """Fields that the numbers of a model depend on and that nothing decides.

    Parameters
    ----------
    fields : mapping of str to tuple
        Their names -> values that may be given, as examples.
    why : str
        Why nothing else decides them.

    Attributes
    ----------
    fields, why
    """

    def __init__(self, fields: Mapping[str, tuple[Any, ...]], why: str) -> None:
        self.fields, self.why = dict(fields), why
        super().__init__(self.text(lambda name, value: f"{name}={value}"))

    def text(self, give: Callable[[str, Any], str]) -> str:
        """Return the message, with the words by which a value is given as `give` returns them."""
        examples = (" or ".join(give(name, value) for value in values) for name, values in self.fields.items())
        return f"{', '.join(self.fields)}: not in the shapes, and {self.why}; give {' and '.join(examples)}"


def infer_config(
    tensors: Mapping[str, Any], *, dialect: Dialect | None = None, **given: Any
) -> tuple[PretrainedConfig, list[Decision]]:
    """Return the configuration of a model and what was decided.

    Parameters
    ----------
    tensors : mapping of str to array
        In the names of Hugging Face, from :func:`to_hugging_face`; only names and shapes are looked at.
    dialect : Dialect, optional
        Where they came from, which decides the activation and the epsilon; Hugging Face when unset.
    **given
        Fields of the configuration, instead of what is found. Shapes do not show ``hidden_act`` nor ``norm_eps``, which
        are those of the published models; ``layer_norm_eps`` follows ``norm_eps`` where the dialect has one for both.

    Raises
    ------
    WeightsError
        If the tensors make no model.
    OpenFieldsError
        If they leave a field open.
    ConfigError
        If a given field is none, or its value describes no model.
    """
    found = read(tensors)
    check_complete(tensors, found)
    family = find_family(found.family)
    if dialect is None:
        dialect = Dialect(next(table for table in tables(found.family) if table.name == "huggingface"), found.family)
    unseen = [*_numbers(dialect, found, given), *_published(found)]
    unseen.append(_decided("architectures", [family.class_names[found.task]], SHAPES, "the parameters that are there"))
    fields = found.fields | {decision.field: decision.value for decision in unseen}
    decisions = [*found.decisions, *unseen, *_implied(dialect)]
    decisions = [decision for decision in decisions if decision.field not in given]
    decisions += [_decided(name, value, GIVEN, "given") for name, value in given.items()]
    lacking = {name: values for name, values in found.open_fields.items() if name not in {**fields, **given}}
    if lacking:
        size = " with ".join(f"{name} {value}" for name, value in size_fields(found.family, found.fields).items())
        raise OpenFieldsError(lacking, f"{size} are not those of a published model")
    return family.config_class.from_dict(fields, **given), decisions


def _decided(field: str, value: Any, source: str, reason: str) -> Decision:
    return Decision(field, value, source, NOTE, reason)


def _numbers(dialect: Dialect, found: Reading, given: Mapping[str, Any]) -> Iterator[Decision]:
    """Yield the activation and the epsilons, which belong to the code that trained."""
    table, usual = dialect.table, f"what {dialect.name} computes with"
    fits = (e for e in table.exceptions if all(found.fields.get(n) == value for n, value in e.shape.items()))
    unusual = next(fits, None)
    numbers = {**table.numbers, **(unusual.numbers if unusual else {})}
    numbers |= {name: value for name, value in given.items() if name in numbers}
    for name, value in numbers.items():
        if name in table.follows:
            leader = table.follows[name]
            yield _decided(
                name, numbers[leader], dialect.name, f"{leader}, which {dialect.name} has for all LayerNorms"
            )
        elif unusual:
            yield _decided(name, value, unusual.name, f"not in the shapes; that of {unusual.name}")
        elif table.are_options:
            why = f"{usual} unless told otherwise; if it was, --set {name}=... says so"
            yield _decided(name, value, dialect.name, why)
        else:
            yield _decided(name, value, dialect.name, usual)


def _published(found: Reading) -> Iterator[Decision]:
    """Yield the size of the pictures, on which no number of the model depends, and what else shapes do not show."""
    published = find_architecture(found.family, found.fields)
    if published is None:
        yield _decided("image_size", 224, "", "not in the shapes; no published model has these depths and widths")
        return
    for name, value in published.fields.items():
        yield _decided(name, value, published.name, f"not in the shapes; that of {published.name}")


def _implied(dialect: Dialect) -> Iterator[Decision]:
    """Yield the parameters that the dialect does not store."""
    for pattern, implied in dialect.implied:
        if not implied.droppable:
            why = f"{implied.value} where the file has none, as {dialect.name} does not store it"
            yield _decided(pattern.text, None, dialect.name, why)
