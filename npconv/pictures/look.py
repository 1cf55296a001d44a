"""What a model does to a photo, step by step, as a page: everything that is shown, before any of it is HTML."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from npconv.api.gradients import PIXELS
from npconv.api.heads import ImageClassifier, prepare_pixel_values
from npconv.errors import InputError
from npconv.golden.preprocessing import DECODED, image_of, record_preprocessing
from npconv.images import ConvNextImageProcessor
from npconv.models.parameters import flatten
from npconv.models.plans import make_plan
from npconv.pictures.occlusion import occlusions, scores_of
from npconv.pictures.overlay import overlay, photo_of
from npconv.pictures.picture import Picture
from npconv.pictures.saliency import class_gradients, map_of_stage, weighted
from npconv.pictures.views import Attention, MapSizes, Shown, bars, is_channelwise, show, show_attention, show_kernels
from npconv.plan.costs import multiply_adds
from npconv.plan.operations import OPERATIONS
from npconv.plan.run import run_step
from npconv.plan.step import Plan, Step

#: Classes for which it is shown what the answer rests on.
CLASSES = 3


@dataclass(frozen=True)
class StepView:
    """One step of the model."""

    step: Step
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    seconds: float
    before: Shown
    after: Shown
    weights: Mapping[str, Picture]
    attention: Attention | None


@dataclass(frozen=True)
class Reason:
    """What the score of a class rests on: pictures of the photo with colours over it, by the way they were found."""

    label: str
    score: float
    pictures: Mapping[str, Picture]


@dataclass(frozen=True)
class Look:
    """Everything a page shows."""

    title: str
    photo: Picture
    prepared: Mapping[str, tuple[Picture, str]]
    steps: tuple[StepView, ...]
    reasons: tuple[Reason, ...]
    scores: Mapping[str, Mapping[str, float]]
    sources: Mapping[str, str]


def look_at(
    model: ImageClassifier,
    processor: ConvNextImageProcessor,
    picture: Any,
    title: str,
    fast: ImageClassifier | None = None,
) -> Look:
    """Run a model on a photo and return what a page shows of it.

    Parameters
    ----------
    model : a model of npconv
        With ``engine="explicit"``; what the answer rests on is shown of classifiers.
    processor : ConvNextImageProcessor
        That of the model.
    picture : picture
        A Pillow image.
    title : str
        Of the page.
    fast : a model of npconv, optional
        The same with ``engine="fast"``, which then answers for the photo covered and changed.
    """
    if model.engine != "explicit":
        raise InputError(f"expected a model with engine='explicit' to look into, got engine={model.engine!r}")
    arrays, _ = record_preprocessing(processor, picture)
    x = prepare_pixel_values(arrays.pop(PIXELS), dtype=model.dtype, device="cpu")
    plan = make_plan(model.config, model.task)
    photo = photo_of(x, processor)
    steps = tuple(look_into(plan, x, flatten(model.params)))
    is_classifier = isinstance(model, ImageClassifier) and model.num_labels > 1
    quick = fast or model
    reasons = tuple(find_reasons(model, quick, x, photo)) if is_classifier else ()
    scores = {how: _scores(quick, changed) for how, changed in _changes(x)} if is_classifier else {}
    operations = {view.step.operation: OPERATIONS[view.step.operation] for view in steps}
    sources = {name: inspect.getsource(inspect.unwrap(function)) for name, function in operations.items()}
    return Look(title, photo, _prepared(arrays), steps, reasons, scores, sources)


def look_into(plan: Plan, pixel_values: np.ndarray, params: Mapping[str, np.ndarray]) -> Iterator[StepView]:
    """Run a plan and yield what is shown of each step; arrays are let go as soon as no step takes them."""
    last_use = {name: step.name for step in plan for name in step.inputs}
    results: dict[str, np.ndarray] = {"pixel_values": pixel_values}
    views: dict[str, Shown] = {}
    sizes = MapSizes()
    for step in plan:
        inputs = [results[name] for name in step.inputs]
        start = time.perf_counter()
        array = run_step(step, inputs, params)
        seconds = time.perf_counter() - start
        after = show(array, step.layout, sizes)
        before = views.get(step.inputs[0], Shown({}))
        if is_channelwise(step) and after.channels:
            before = show(
                inputs[0], plan[step.inputs[0]].layout if step.inputs[0] in plan else "NCHW", sizes, after.channels
            )
        shapes = {step.name: array.shape, **{name: results[name].shape for name in step.inputs}}
        weights = {full: params[full].shape for full in step.params.values()}
        yield StepView(
            step,
            array.shape,
            sum(params[full].size for full in step.params.values()),
            multiply_adds(step, shapes, weights),
            seconds,
            before,
            after,
            _weights(step, params, after.channels),
            show_attention(array, sizes) if step.operation == "softmax" else None,
        )
        views[step.name] = after
        results[step.name] = array
        for name in step.inputs:
            if last_use.get(name) == step.name:
                results.pop(name, None)
                views.pop(name, None)


def _weights(step: Step, params: Mapping[str, np.ndarray], channels: tuple[int, ...]) -> dict[str, Picture]:
    """Return pictures of what a step's parameters are, where that can be seen."""
    if step.operation == "depthwise_conv2d":
        return {"kernels of these channels": show_kernels(params[step.params["weight"]], channels)}
    if step.operation in ("layer_scale", "grn_apply"):
        return {name: bars(params[full]) for name, full in step.params.items()}
    return {}


def find_reasons(model: ImageClassifier, quick: ImageClassifier, x: np.ndarray, photo: Picture) -> Iterator[Reason]:
    """Yield what the scores of the likeliest classes rest on."""
    scores = scores_of(quick, x)[0]
    numbers = np.argsort(-scores, kind="stable")[:CLASSES].tolist()
    last = map_of_stage(model, -1)
    for number, fall in zip(numbers, occlusions(quick, x, numbers), strict=True):
        found = class_gradients(model, [PIXELS, last], x, number)
        pictures = {
            "covering": overlay(photo, fall),
            "saliency": overlay(photo, np.abs(found[PIXELS][1]).max(axis=1)[0]),
            "Grad-CAM, last stage": overlay(photo, weighted(*found[last])[0]),
        }
        yield Reason(str(model.config.id2label[number]), float(scores[number]), pictures)


def _scores(model: ImageClassifier, x: np.ndarray) -> dict[str, float]:
    """Return the probability of each class by its name."""
    scores = scores_of(model, x)[0]
    return {str(model.config.id2label[number]): float(score) for number, score in enumerate(scores)}


def _changes(x: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the pixel values (1, C, H, W) as they are, and changed in ways that should not change the answer."""
    yield "as it is", x
    yield "mirrored", np.ascontiguousarray(x[..., ::-1])
    if x.shape[1] == 3:
        yield "in grey", np.repeat(x.mean(axis=1, keepdims=True), 3, axis=1)
    height, width = x.shape[2:]
    rows, columns = (
        np.minimum(length // 16 + np.arange(length) * (length - length // 8) // length, length - 1)
        for length in (height, width)
    )
    yield "cropped by an eighth", np.ascontiguousarray(x[:, :, rows][..., columns])


def _prepared(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[Picture, str]]:
    """Return the photo at each step of preprocessing as a picture, and its shape and range."""
    found = {}
    for name, recorded in arrays.items():
        array = image_of(recorded) if name == DECODED else recorded
        low, high = float(array.min()), float(array.max())
        shares = (array.astype(np.float64) - low) / ((high - low) or 1.0)
        pixels = np.rint(255 * (array / 255 if array.dtype == np.uint8 else shares)).astype(np.uint8)
        shown = np.moveaxis(pixels, 0, -1) if pixels.shape[0] == 3 else np.repeat(pixels[0][..., None], 3, axis=-1)
        size = "x".join(map(str, array.shape))
        found[name.rpartition(".")[2]] = (
            Picture(_reduced(shown)),
            f"{size} {array.dtype}, from {low:.3g} to {high:.3g}",
        )
    return found


def _reduced(pixels: np.ndarray, most: int = 384) -> np.ndarray:
    """Return a picture (H, W, 3) so much smaller that its longer edge has at most so many pixels."""
    image = Image.fromarray(pixels)
    image.thumbnail((most, most))
    return np.asarray(image)
