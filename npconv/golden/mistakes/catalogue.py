"""What a mistake is, the edits that most of them are, and how they come into the catalogue.

A mistake is an edit of the right operation (``edit(eps=1e-5)``, ``drop("bias")``), or a function of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from typing import Any

import numpy as np

from npconv.plan.operations import OPERATIONS
from npconv.plan.step import Plan, Step

#: What stands for an operation before the name of a mistake that several share, where that is not its own name.
SHORT = {
    "conv2d": "conv",
    "depthwise_conv2d": "depthwise",
    "pointwise_conv2d": "pointwise",
    "grn_apply": "grn",
    "attention_scores": "scores",
    "attention_context": "context",
}


def short(operation: str) -> str:
    """Return what stands for an operation before the name of a mistake: ``"conv-backward"``."""
    forward = operation.removesuffix("_backward")
    return (SHORT.get(forward, forward) + operation[len(forward) :]).replace("_", "-")


def anywhere(step: Step) -> bool:
    """Tell that a mistake can be made at every step of its operation."""
    return True


def unchanged(step: Step, plan: Plan) -> Step:
    """Return the step as it is: the mistake lies in the operation alone."""
    return step


@dataclass(frozen=True)
class Mistake:
    """A wrong version of an operation, as ports have it.

    Parameters
    ----------
    name : str
        Of the mistake: ``"gelu-tanh"``.
    says : str
        What it is, in the words of a report: ``"tanh GELU"``.
    operation : str
        The key of ``npconv.plan.operations.OPERATIONS`` that it takes the place of.
    function : callable
        Takes what the operation takes (after `rewire`), and computes what the port does.
    origin : str
        Where it was made or asked about, or what makes it easy to make.
    applies : callable
        Tells of a step whether the mistake changes anything there.
    rewire : callable
        Returns the step with the inputs and parameters that the port takes; the name stays.
    invisible : str
        Why no numbers can show it: it is another form of the same function. Empty for a mistake that shows.
    unseen : str
        Why golden cases do not show it, or not apart from others, while traces of models do.
    is_slow : bool
        It rounds every product by itself, which takes a hundred times as long as to add them up.
    """

    name: str
    says: str
    operation: str
    function: Callable[..., Any]
    origin: str
    applies: Callable[[Step], bool] = anywhere
    rewire: Callable[[Step, Plan], Step] = unchanged
    invisible: str = ""
    unseen: str = ""
    is_slow: bool = False

    def at(self, step: Step, plan: Plan) -> Step | None:
        """Return the step as the mistake has it, None where the mistake cannot be made."""
        if step.operation != self.operation or not self.applies(step):
            return None
        wrong = self.rewire(step, plan)
        return None if wrong == step and self.rewire is not unchanged else wrong


#: Every mistake by its name, in the order of the files and of what stands in them.
CATALOGUE: dict[str, Mistake] = {}


@dataclass(frozen=True)
class Edit:
    """What is done to a right operation to have the wrong one.

    Parameters
    ----------
    call : callable
        Takes the right operation and, after it, what that takes; returns the wrong result.
    applies : callable
        Tells of a step whether that changes anything.
    """

    call: Callable[..., Any]
    applies: Callable[[Step], bool] = anywhere


def mistake(
    operation: str | Sequence[str],
    name: str,
    says: str,
    origin: str,
    *,
    applies: Callable[[Step], bool] | None = None,
    rewire: Callable[[Step, Plan], Step] = unchanged,
    invisible: str = "",
    unseen: str = "",
    is_slow: bool = False,
) -> Callable[[Callable[..., Any] | Edit], Any]:
    """Put an edit or a function into the catalogue, once for each operation: ``mistake(...)(edit(eps=1e-5))``.

    With several operations, the names begin with what is :func:`short` for them. `applies` narrows down what an edit
    says of itself. A mistake may divide by zero or overflow: that is told by its numbers, not by warnings.
    """
    several = () if isinstance(operation, str) else tuple(operation)

    def add(how: Callable[..., Any] | Edit) -> Any:
        for key in several or (str(operation),):
            full = f"{short(key)}-{name}" if several else name
            if full in CATALOGUE:
                raise ValueError(f"two mistakes are called {full}")
            function = partial(how.call, OPERATIONS[key]) if isinstance(how, Edit) else how
            quiet = np.errstate(all="ignore")(function)
            quiet.__doc__ = how.__doc__ if not isinstance(how, Edit) and how.__doc__ else says
            where = _both(applies or anywhere, how.applies if isinstance(how, Edit) else anywhere)
            CATALOGUE[full] = Mistake(full, says, key, quiet, origin, where, rewire, invisible, unseen, is_slow)
        return how

    return add


def _both(one: Callable[[Step], bool], other: Callable[[Step], bool]) -> Callable[[Step], bool]:
    """Return what tells of a step whether two conditions hold."""
    return lambda step: one(step) and other(step)


def of_gradient(*arguments: str) -> Callable[[Step], bool]:
    """Return what tells of a step whether it makes the gradient of one of some arguments."""
    return lambda step: step.attributes["wrt"] in arguments


def edit(**values: Any) -> Edit:
    """Take other values of some arguments; a value that is a function makes the wrong one of the right one.

    It applies where there are such parameters, or attributes that are others.
    """

    def call(right: Callable[..., Any], *inputs: Any, **arguments: Any) -> Any:
        other = {name: value(arguments[name]) if callable(value) else value for name, value in values.items()}
        return right(*inputs, **{**arguments, **other})

    def applies(step: Step) -> bool:
        given = [(step.attributes[name], value) for name, value in values.items() if name in step.attributes]
        differ = any(callable(value) or np.any(np.asarray(right) != value) for right, value in given)
        return differ or any(name in step.params for name in values)

    return Edit(call, applies)


def drop(*names: str) -> Edit:
    """Leave parameters out; where the operation must have them, a weight is 1 and a bias 0. It applies with them."""

    def call(right: Callable[..., Any], *inputs: Any, **arguments: Any) -> Any:
        optional = {name for name, parameter in signature(right).parameters.items() if parameter.default is None}
        zeros = {name: 0 * arguments.pop(name) for name in names}
        neutral = {name: 1 + zero if name == "weight" else zero for name, zero in zeros.items()}
        return right(*inputs, **arguments, **{name: neutral[name] for name in neutral if name not in optional})

    return Edit(call, lambda step: all(name in step.params for name in names))


def swap(one: str, other: str) -> Edit:
    """Take each of two arguments for the other."""

    def call(right: Callable[..., Any], *inputs: Any, **arguments: Any) -> Any:
        return right(*inputs, **{**arguments, one: arguments[other], other: arguments[one]})

    return Edit(call)


def leave_out() -> Edit:
    """Leave the operation out: its first input goes on as it is."""
    return replaced(lambda x, *others: x.copy())


def twice() -> Edit:
    """Do the operation once more, on its own result."""

    def call(right: Callable[..., Any], x: Any, *inputs: Any, **arguments: Any) -> Any:
        return right(right(x, *inputs, **arguments), *inputs, **arguments)

    return Edit(call)


def replaced(function: Callable[..., Any]) -> Edit:
    """Compute something else of the inputs alone."""
    return Edit(lambda right, *inputs, **arguments: function(*inputs))


def of_input(change: Callable[[Any], Any]) -> Edit:
    """Do the right operation on another first input."""
    return Edit(lambda right, x, *inputs, **arguments: right(change(x), *inputs, **arguments))


def of_output(change: Callable[[Any], Any]) -> Edit:
    """Make something else of the right result."""
    return Edit(lambda right, *inputs, **arguments: change(right(*inputs, **arguments)))


def as_it_is() -> Edit:
    """Do the right operation; what is wrong are the inputs and parameters, see ``rewire``."""
    return Edit(lambda right, *inputs, **arguments: right(*inputs, **arguments))


def input_of(
    operation: str, past: str = "", params: Sequence[str] = (), attributes: Sequence[str] = ()
) -> Callable[[Step, Plan], Step]:
    """Return what lets a step take the input of the step before it, of one operation, and some of its arguments.

    Steps of `past` are left out. The parameters taken are called ``layer_norm_weight``, after the operation.
    """

    def rewire(step: Step, plan: Plan) -> Step:
        source = step.inputs[0]
        while source in plan and plan[source].operation == past:
            source = plan[source].inputs[0]
        if source not in plan or plan[source].operation != operation:
            return step
        before = plan[source]
        return replace(
            step,
            inputs=before.inputs[:1],
            params={**step.params, **{f"{operation}_{name}": before.params[name] for name in params}},
            attributes={**step.attributes, **{name: before.attributes[name] for name in attributes}},
        )

    return rewire
