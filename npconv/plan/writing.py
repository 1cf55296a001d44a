"""What the plans are written with: a list that steps are appended to, in the order in which they are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from npconv.plan.step import Plan, Step

#: Parameters of nearly every module.
AFFINE = ("weight", "bias")


class Steps:
    """The steps written so far. Begins with the map ``"pixel_values"``, (N, C, H, W).

    Parameters
    ----------
    training : bool
        Whether parts are dropped at random, and a batch norm takes the statistics of the batch.
    """

    def __init__(self, training: bool = False) -> None:
        self._steps: dict[str, Step] = {}
        self.training = training

    def add(
        self,
        name: str,
        operation: str,
        *inputs: str,
        params: Sequence[str] | Mapping[str, str] = (),
        of: str | None = None,
        layout: str | None = None,
        aliases: Sequence[str] = (),
        **attributes: Any,
    ) -> str:
        """Append a step.

        Parameters
        ----------
        name, operation, inputs
            See :class:`npconv.plan.step.Step`.
        params : sequence of str, or mapping of str to str
            The operation's arguments that are parameters; a mapping says what the parameters are called.
        of : str, optional
            The module that these belong to; `name` when unset.
        layout : str, optional
            Letters of the result's axes; those of the first input when unset.
        aliases : sequence of str
            Other modules with the same output.
        **attributes
            The operation's other arguments.

        Returns
        -------
        str
            The step's name, to be used as an input of later steps.
        """
        called = params if isinstance(params, Mapping) else {argument: argument for argument in params}
        named = {argument: f"{of or name}.{own}" for argument, own in called.items()}
        if layout is None:
            layout = "NCHW" if inputs[0] == "pixel_values" else self._steps[inputs[0]].layout
        self._steps[name] = Step(name, operation, inputs, named, attributes, layout, tuple(aliases))
        return name

    def also(self, name: str, *aliases: str) -> None:
        """Say which other modules give out the result of a step that is written already."""
        step = self._steps[name]
        others = [alias for alias in aliases if alias != name]
        self._steps[name] = replace(step, aliases=(*step.aliases, *others))

    def drop(self, name: str, operation: str, x: str, rate: float) -> str:
        """Let ``"dropout"`` or ``"drop_path"`` act in training, as a step `name`, after one that draws its mask."""
        if not self.drops(rate):
            return x
        layout = "N" if operation == "drop_path" else self._steps[x].layout
        mask = self.add(f"{name}.mask", f"{operation}_mask", x, layout=layout, rate=rate)
        return self.add(name, operation, x, mask)

    def drops(self, rate: float) -> bool:
        """Tell whether anything is dropped at a rate."""
        return self.training and rate > 0

    def plan(self, outputs: Sequence[str], hidden_states: Sequence[str]) -> Plan:
        """Return the finished plan."""
        return Plan(tuple(self._steps.values()), tuple(outputs), tuple(hidden_states))
