"""What speaks for a class, by the gradient of its logit: in the pixels, and in the map of a stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, takewhile
from typing import Any

import numpy as np

from npconv.api.gradients import PIXELS, check_model
from npconv.api.heads import BareModel, ImageClassifier, prepare_labels, prepare_pixel_values
from npconv.backend import Array, array_module
from npconv.errors import InputError
from npconv.messages import hint, shown
from npconv.models.parameters import flatten
from npconv.models.plans import make_plan
from npconv.pictures.heatmap import as_heatmap
from npconv.pictures.replay import Replay
from npconv.plan.backward import on_the_way
from npconv.plan.step import Plan

#: A class by its number or name, a number for each picture, or the class that the model finds.
Label = int | str | Sequence[int] | None


def saliency(model: BareModel[Any], pixel_values: Any, label: Label = None) -> Array:
    """Return what each pixel does to the logit of a class.

    Parameters
    ----------
    model : a classifier of npconv
        With ``engine="explicit"``.
    pixel_values : array or tensor (N, C, H, W)
        As the model takes them.
    label : int, str or sequence of int, optional
        The class, by its number or its name in ``model.config``, or a number for each picture. The class with the
        largest logit of each picture when unset.

    Returns
    -------
    array (N, C, H, W)
        The gradient of each picture's logit with respect to its pixels, with its sign, in the model's dtype: where it
        is positive, a brighter pixel speaks for the class.

    Raises
    ------
    InputError
        If the model is no classifier or has the fast engine, or an argument does not fit it.

    Notes
    -----
    The picture of Simonyan et al. (https://arxiv.org/abs/1312.6034) is the largest absolute value over the channels:
    ``abs(saliency(...)).max(axis=1)``. The model is run as for inference, also after ``train()``.
    """
    _check(model)
    return as_heatmap(class_gradients(model, [PIXELS], pixel_values, label)[PIXELS][1])


def grad_cam(model: BareModel[Any], pixel_values: Any, label: Label = None, stage: int = -1) -> Array:
    """Return where in the map of a stage a class is seen (Grad-CAM).

    Each channel of the map is weighted by the mean of its gradient over all positions. The weighted sum of the channels
    is kept where it is positive.

    Parameters
    ----------
    model, pixel_values, label
        As in :func:`saliency`.
    stage : int
        Which stage's map, counted from 0, or from the end if negative.

    Returns
    -------
    array (N, H, W)
        With the height and width of the map, at least 0 and on no fixed scale; 0 where nothing speaks for the class.

    Raises
    ------
    InputError
        If the model is no classifier or has the fast engine, or an argument does not fit it.

    Notes
    -----
    From Selvaraju et al. (https://arxiv.org/abs/1610.02391).

    In a CvT whose last stage has a class token, the classifier sees that token alone, and the map that comes out of the
    stage has gradient 0. The map is then the one in which the token looks last: the normalized positions that the
    attention of the last block takes, ``attention.attention.map`` in a trace. Of 209 test pictures that
    ``cvt-cifar10`` knew at half their size in a corner of a grey one, it was largest in that corner for 97 %; the same
    map of the block before for 67 %, the map that the stage begins with for 43 %.
    """
    _check(model)
    name = map_of_stage(model, stage)
    return as_heatmap(weighted(*class_gradients(model, [name], pixel_values, label)[name]))


def weighted(feature_map: Array, gradient: Array) -> Array:
    """Return the sum of the channels of a map (N, C, H, W) by their mean gradients, where it is positive: (N, H, W)."""
    weights = gradient.mean(axis=(2, 3), keepdims=True)
    return array_module(feature_map).maximum((weights * feature_map).sum(axis=1), 0)


def _check(model: BareModel[Any]) -> None:
    """Refuse what has no gradients or no classes."""
    check_model(model)
    check_classes(model)


def check_classes(model: Any) -> None:
    """Refuse what has no classes."""
    if not isinstance(model, ImageClassifier) or not model.num_labels:
        raise InputError(f"expected a classifier with classes, got a {type(model).__name__} without")


def class_gradients(
    model: BareModel[Any], names: Sequence[str], pixel_values: Any, label: Label
) -> dict[str, tuple[Array, Array]]:
    """Return arrays of the model by their names, and the gradient of each picture's class with respect to each.

    Pictures do not know of each other, so that the gradient of the sum of their logits is each one's own.
    """
    (found,) = gradients_of_classes(model, names, pixel_values, [label])
    return found


def gradients_of_classes(
    model: BareModel[Any], names: Sequence[str], pixel_values: Any, labels: Sequence[Label]
) -> Iterator[dict[str, tuple[Array, Array]]]:
    """Yield :func:`class_gradients` for one label after another, of one forward pass."""
    plan = make_plan(model.config, model.task)
    inputs = {PIXELS: prepare_pixel_values(pixel_values, dtype=model.dtype, device=model.device)}
    (end,) = plan.outputs
    replay = Replay(plan, flatten(model.params), inputs, names)
    for label in labels:
        gradients = replay.backward({end: _one_hot(replay.arrays[end], label, model)})
        yield {name: (replay.arrays[name], gradients[name]) for name in names}


def _one_hot(logits: Array, label: Label, model: BareModel[Any]) -> Array:
    """Return 1 for the class of each picture and 0 for the others (N, K)."""
    xp = array_module(logits)
    numbers = logits.argmax(axis=1) if label is None else class_numbers(label, model, len(logits))
    return (xp.broadcast_to(numbers, len(logits))[:, None] == xp.arange(logits.shape[1])).astype(logits.dtype)


def class_numbers(label: int | str | Sequence[int], model: BareModel[Any], batch: int) -> Array:
    """Return the number of a class () or one for each picture (N,)."""
    if isinstance(label, str):
        names = model.config.label2id
        if label not in names:
            raise InputError(f"expected the name of a class of the model, got {shown(label)}{hint(label, names)}")
        same = [str(number) for number, name in model.config.id2label.items() if name == label]
        if len(same) > 1:
            raise InputError(
                f"expected one class, got {shown(label)}, as {' and '.join(same)} are called; give the number of one"
            )
        label = names[label]
    numbers = prepare_labels(label, device=model.device)
    if numbers.shape not in ((), (batch,)) or numbers.dtype.kind not in "iu":
        raise InputError(f"expected label to be a class, or a number for each of {batch} pictures; got {shown(label)}")
    wrong = numbers[(numbers < 0) | (numbers >= model.num_labels)]
    if wrong.size:
        raise InputError(f"expected classes from 0 to {model.num_labels - 1}, got {int(wrong[0])}")
    return numbers


def map_of_stage(model: BareModel[Any], stage: int) -> str:
    """Return the name of a stage's map; where only a class token goes on from it, of that in which the token looks."""
    plan, stages = make_plan(model.config, model.task), f"{model.base_model_prefix}.encoder.stages"
    names = list(takewhile(plan.__contains__, (f"{stages}.{number}" for number in count())))
    if isinstance(stage, bool) or not isinstance(stage, int | np.integer) or not -len(names) <= stage < len(names):
        raise InputError(f"expected a stage from 0 to {len(names) - 1}, or from -1 back; got {shown(stage)}")
    name = plan.resolve(names[stage])
    if _feeds(plan, name):
        return name
    return [step.name for step in plan if step.operation == "positions_map" and _feeds(plan, step.name)][-1]


def _feeds(plan: Plan, name: str) -> bool:
    """Tell whether the outputs of a plan depend on an array."""
    return bool(on_the_way(plan, plan.outputs, {name})[0])
