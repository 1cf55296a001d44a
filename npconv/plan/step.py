"""A model as a list of steps: what is computed, of what, with which parameters, and what the result is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from npconv.forks import kept_property


@dataclass(frozen=True)
class Step:
    """One operation of a model.

    Parameters
    ----------
    name : str
        Of the result: the path of the module in the Hugging Face model, or a documented name for what is no module.
    operation : str
        A key of ``npconv.plan.operations.OPERATIONS``.
    inputs : tuple of str
        Names of the results that it takes, in the order of its arguments; ``"pixel_values"`` is the model's input.
    params : mapping of str to str
        Its arguments that are parameters, and their names in a checkpoint.
    attributes : mapping
        Its other arguments: numbers, texts and lists of these.
    layout : str
        A letter for each axis of the result: ``"NCHW"``, ``"NTD"``, ``"NC"``.
    aliases : tuple of str
        Other modules of the Hugging Face model that give out the same tensor.
    """

    name: str
    operation: str
    inputs: tuple[str, ...]
    params: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    layout: str = ""
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """All steps of a model, in the order in which they are computed.

    Parameters
    ----------
    steps : tuple of Step
    outputs : tuple of str
        What the model gives out: its logits, its pooled features, or its feature maps.
    hidden_states : tuple of str
        The maps that it gives out as hidden states.
    """

    steps: tuple[Step, ...]
    outputs: tuple[str, ...] = ()
    hidden_states: tuple[str, ...] = ()

    @kept_property
    def _named(self) -> dict[str, Step]:
        return {name: step for step in self.steps for name in (step.name, *step.aliases)}

    def __getitem__(self, name: str) -> Step:
        """Return the step of a name or alias."""
        return self._named[name]

    def resolve(self, name: str) -> str:
        """Return the name of the step that has a name or alias."""
        return self[name].name

    def name_of(self, name: str) -> str:
        """Return the name of the step that has a name or alias; any other, such as that of an input, as it is."""
        return self._named[name].name if name in self._named else name

    def __contains__(self, name: object) -> bool:
        return name in self._named

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def is_in_order(self) -> bool:
        """Tell whether every step has names of its own, and takes something but no result of a later step.

        Of a plan in a file, that is not certain.
        """
        if len(self._named) < sum(1 + len(step.aliases) for step in self.steps):
            return False
        later = set(self._named)
        for step in self.steps:
            if not step.inputs or not later.isdisjoint(step.inputs):
                return False
            later.difference_update((step.name, *step.aliases))
        return True

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {
            "steps": [asdict(step) for step in self.steps],
            "outputs": list(self.outputs),
            "hidden_states": list(self.hidden_states),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Plan:
        """Return the plan of JSON values as :meth:`to_json` gives them."""
        steps = [
            Step(**{**step, "inputs": tuple(step["inputs"]), "aliases": tuple(step["aliases"])})
            for step in content["steps"]
        ]
        return cls(tuple(steps), tuple(content["outputs"]), tuple(content["hidden_states"]))
