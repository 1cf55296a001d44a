"""The gradient of a model: what each parameter, or each pixel, does to the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from npconv.api.heads import BareModel, ImageClassifier, prepare_labels, prepare_pixel_values, random_generator
from npconv.api.loss import image_classification_loss, image_classification_loss_backward
from npconv.backend import array_module, to_device, widen
from npconv.errors import GoldenError, InputError
from npconv.messages import nearest, quoted, shown
from npconv.models.parameters import flatten, nest
from npconv.models.plans import make_plan
from npconv.plan.backward import Walk
from npconv.plan.step import Plan
from npconv.tensors import as_array

#: What gradients are taken of.
PARAMS, PIXELS = "params", "pixel_values"


@dataclass(frozen=True)
class ValueAndGrad:
    """A loss and its gradients. Comes apart into these two: ``loss, gradients = value_and_grad(model)(...)``.

    Parameters
    ----------
    loss : array ()
    gradients : dict or array
        A tree like ``model.params``, or an array like the pixel values.
    statistics : dict of str to array
        In training, the new stored statistics of batch norms by their names in a checkpoint. The model keeps its old
        ones; ``model.load_state_dict(result.statistics, strict=False)`` takes these.
    outputs : tuple of array
        What the model gave out: logits, features or feature maps.
    """

    loss: Any
    gradients: Any
    statistics: Mapping[str, Any]
    outputs: tuple[Any, ...]

    def __iter__(self) -> Iterator[Any]:
        return iter((self.loss, self.gradients))


def value_and_grad(model: BareModel[Any], wrt: str = PARAMS) -> Callable[..., ValueAndGrad]:
    """Return a function that computes a model's loss, and its gradient with respect to the parameters or the pixels.

    Parameters
    ----------
    model : a model of npconv
        Of any family and task, with ``engine="explicit"``.
    wrt : {"params", "pixel_values"}
        Of what the gradient is taken ("with respect to").

    Returns
    -------
    callable
        ``(pixel_values, labels=None, *, grad_outputs=None, training=None, rng=None, wrt=wrt)``, see below; returns a
        `ValueAndGrad`, that is, the loss and its gradient.

        pixel_values : array or tensor (N, C, H, W)
            As the model takes them.
        labels : array or tensor
            Of a classifier: the loss is that of ``model(pixel_values, labels)``.
        grad_outputs : array, sequence of arrays, or mapping of str to array
            In place of labels, and for models that have none: the gradient of any function of the outputs with respect
            to each output, in their order (logits, features, or a backbone's feature maps), or of any arrays of the
            model by their names in a trace. The loss is then the sum of ``output * gradient``.
        training : bool
            Apply dropout and drop path, and let batch norms take the statistics of the batch; as ``train()`` and
            ``eval()`` have said when unset.
        rng : numpy.random.Generator or int
            Where training draws its random numbers from, or a seed of it.

    Raises
    ------
    InputError
        If the model has ``engine="fast"``, `wrt` is something else, or, in a call, its arguments do not fit the model.

    Notes
    -----
    The model is left as it is. Stored statistics, and parameters with ``requires_grad = False``, have gradient 0. Of
    the forward pass those arrays are kept that backward functions take, each until it has been used.
    """
    check_model(model)
    first = _check_wrt(wrt)

    def function(
        pixel_values: Any,
        labels: Any = None,
        *,
        grad_outputs: Any = None,
        training: bool | None = None,
        rng: np.random.Generator | int | None = None,
        wrt: str = first,
    ) -> ValueAndGrad:
        training = model.training if training is None else training
        generator = random_generator(training, rng)
        x = prepare_pixel_values(pixel_values, dtype=model.dtype, device=model.device)
        plan = _plan_of(model, generator is not None)
        ending = _beginning(model, plan, labels, grad_outputs)
        try:
            return _walk(model, plan, x, ending, _check_wrt(wrt), generator)
        except GoldenError as error:  # which a plan raises, since it may come from a file; here the model's is fine
            raise InputError(str(error)) from error

    return function


def check_model(model: Any, purpose: str = "gradients") -> None:
    """Refuse what has no steps to take gradients of, or to look into."""
    if not isinstance(model, BareModel):
        raise InputError(f"expected a model of npconv, got {type(model).__name__}")
    if model.engine != "explicit":
        raise InputError(
            f"expected a model with engine='explicit' for {purpose}, got engine={model.engine!r}; load it with that"
        )


def _check_wrt(wrt: str) -> str:
    """Refuse what no gradient is taken of."""
    if wrt not in (PARAMS, PIXELS):
        raise InputError(f"expected wrt to be {PARAMS!r} or {PIXELS!r}, got {shown(wrt)}")
    return wrt


def _plan_of(model: BareModel[Any], training: bool) -> Plan:
    """Return the steps of a model."""
    if not isinstance(model.config.hidden_act, str):
        raise InputError(
            "expected hidden_act to be the name of an activation for gradients, got a function, whose derivative is "
            "not known"
        )
    return make_plan(model.config, model.task, training)


class Ending(NamedTuple):
    """Where the way back begins: the results that it takes, and what makes the loss and their gradients of them."""

    takes: tuple[str, ...]
    run: Callable[[Mapping[str, Any]], tuple[Any, dict[str, Any]]]


def _beginning(model: BareModel[Any], plan: Plan, labels: Any, grad_outputs: Any) -> Ending:
    """Return the ending that the arguments of a call mean."""
    if (labels is None) == (grad_outputs is None):
        got = "neither" if labels is None else "both"
        raise InputError(f"expected labels, or grad_outputs with a gradient for each output; got {got}")
    if grad_outputs is not None:
        return _of_gradients(model, plan, grad_outputs)
    if not isinstance(model, ImageClassifier):
        raise InputError(f"expected a classifier for labels, got a {type(model).__name__}; give grad_outputs")
    return _of_labels(model, plan, labels)


def _of_labels(model: BareModel[Any], plan: Plan, labels: Any) -> Ending:
    """End with the loss of a classifier."""
    prepared, name = prepare_labels(labels, device=model.device), plan.outputs[0]

    def run(results: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        loss = image_classification_loss(results[name], prepared, model.config)
        return loss, {name: image_classification_loss_backward(results[name], prepared, model.config)}

    return Ending((name,), run)


def _of_gradients(model: BareModel[Any], plan: Plan, grad_outputs: Any) -> Ending:
    """End with gradients that are given."""
    if isinstance(grad_outputs, Mapping):
        names = [_find(plan, name, model.base_model_prefix) for name in grad_outputs]
        if len(set(names)) != len(names) or not names:
            raise InputError(f"expected grad_outputs for one or more arrays of the model, each once; got {names}")
        named = dict(zip(names, grad_outputs.values(), strict=True))
    else:
        given = grad_outputs if isinstance(grad_outputs, list | tuple) else [grad_outputs]
        if len(given) != len(plan.outputs):
            raise InputError(f"expected grad_outputs for {len(plan.outputs)} outputs, got {len(given)}")
        named = dict(zip(plan.outputs, given, strict=True))
    upstream = {
        name: to_device(as_array(gradient), model.device).astype(model.dtype, copy=False)
        for name, gradient in named.items()
    }

    def run(results: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        for name, gradient in upstream.items():
            if gradient.shape != results[name].shape:
                raise InputError(f"expected a gradient of shape {results[name].shape} for {name}, got {gradient.shape}")
        terms = [(widen(results[name]) * widen(gradient)).sum() for name, gradient in upstream.items()]
        with np.errstate(over="ignore"):  # float16 ends at 65504; the gradients do not depend on what is beyond
            return sum(terms[1:], terms[0]).astype(model.dtype, copy=False), upstream

    return Ending(tuple(upstream), run)


def _find(plan: Plan, name: str, prefix: str) -> str:
    """Return the name of the array that a name stands for, with or without the family's name in front."""
    if name == PIXELS:
        return name
    for spelling in (name, f"{prefix}.{name}"):
        if spelling in plan:
            return plan.resolve(spelling)
    near = nearest(str(name), [step.name for step in plan], alike=0) or plan.outputs[0]
    raise InputError(f"expected names of arrays of the model in grad_outputs, such as {near}; got {quoted(name)}")


def _walk(
    model: BareModel[Any], plan: Plan, x: Any, ending: Ending, wrt: str, rng: np.random.Generator | None
) -> ValueAndGrad:
    """Run the plan and walk it back."""
    params = flatten(model.params)
    of = set(model._trained_names()) if wrt == PARAMS else {PIXELS}
    walk = Walk(plan, params, ending.takes, of, rng)
    results, statistics = {PIXELS: x}, {}
    for name, array in walk.forward({PIXELS: x}):
        if name in ending.takes or name in plan.outputs:
            results[name] = array
        if name in params:  # a stored statistic, renewed
            statistics[name] = array
    loss, upstream = ending.run(results)
    outputs = tuple(results[name] for name in plan.outputs)
    del results
    found = {name: gradient for name, gradient in walk.backward(upstream) if name in of}
    if wrt == PIXELS:
        return ValueAndGrad(loss, found.get(PIXELS, array_module(x).zeros_like(x)), statistics, outputs)
    tree = nest({name: found.get(name, array_module(array).zeros_like(array)) for name, array in params.items()})
    return ValueAndGrad(loss, tree, statistics, outputs)
