"""What a model does to a photo, step by step, as a page: everything that is shown, before any of it is HTML."""

from __future__ import annotations

import inspect
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from npconv.api.gradients import PIXELS
from npconv.api.heads import ImageClassifier, prepare_pixel_values
from npconv.errors import InputError
from npconv.golden.preprocessing import DECODED, image_of, record_preprocessing
from npconv.images import ConvNextImageProcessor
from npconv.layers import ACTIVATIONS, grn_strength
from npconv.models.parameters import flatten
from npconv.models.plans import make_plan
from npconv.pictures.class_token import Stop, follow
from npconv.pictures.occlusion import occlusions, scores_of
from npconv.pictures.overlay import heat, mean_and_std, photo_of
from npconv.pictures.picture import Picture
from npconv.pictures.saliency import gradients_of_classes, map_of_stage, weighted
from npconv.pictures.views import (
    MOST,
    Attention,
    Bars,
    MapSizes,
    Sheet,
    Shown,
    bars,
    is_channelwise,
    largest,
    make_sheet,
    show,
    show_attention,
)
from npconv.plan.costs import multiply_adds
from npconv.plan.operations import OPERATIONS
from npconv.plan.run import run_step
from npconv.plan.step import Plan, Step

#: Classes for which it is shown what the answer rests on.
CLASSES = 5

#: The photo as it is, among the ways it is changed.
UNCHANGED = "as it is"


@dataclass(frozen=True)
class StepView:
    """One step of the model.

    Parameters
    ----------
    step : Step
    shape : tuple of int
        Of its result.
    parameters, multiply_adds : int
    seconds : float
    before, after : Shown
        Its first input and its result, of the same channels where each is made of the same one.
    kernels : Sheet, optional
        Of a depthwise convolution, of the same channels.
    vectors : mapping of str to (Picture, Bars)
        Parameters that have a number for each channel.
    strengths : Bars, optional
        Of GRN: the strength of each channel before and after.
    attention : Attention, optional
    class_token : ndarray (D,), optional
        The class token, if the result has one.
    """

    step: Step
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    seconds: float
    before: Shown
    after: Shown
    kernels: Sheet | None
    vectors: Mapping[str, tuple[Picture, Bars]]
    strengths: Bars | None
    attention: Attention | None
    class_token: np.ndarray | None

    @property
    def stage(self) -> int | None:
        """The number of the stage that the step is in, by its name; None outside of the stages."""
        found = re.search(r"(?:^|\.)stages\.(\d+)(?:\.|$)", self.step.name)
        return int(found[1]) if found else None

    @property
    def ends_stage(self) -> bool:
        """Whether the result is the map of a whole stage."""
        return ends_stage(self.step)


@dataclass(frozen=True)
class Reason:
    """What the score of a class rests on: colours to be laid over the photo, by the way they were found."""

    label: str
    score: float
    covering: Picture
    saliency: Picture
    #: Of the map of each stage, by its number.
    grad_cam: tuple[Picture, ...]


@dataclass(frozen=True)
class Look:
    """Everything a page shows."""

    title: str
    photo: Picture
    prepared: Mapping[str, tuple[Picture, str]]
    steps: tuple[StepView, ...]
    class_token: tuple[Stop, ...]
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
    plan, params = make_plan(model.config, model.task), flatten(model.params)
    photo = photo_of(x, processor)
    steps = tuple(look_into(plan, x, params))
    is_classifier = isinstance(model, ImageClassifier) and model.num_labels > 1
    labels = class_names(model) if is_classifier else []
    quick = fast or model
    found = {how: scores_of(quick, changed)[0] for how, changed in _changes(x, processor)} if is_classifier else {}
    return Look(
        title,
        photo,
        _prepared(arrays),
        steps,
        tuple(follow(plan, params, [(v.step, v.class_token, v.attention) for v in steps], labels)),
        tuple(find_reasons(model, quick, x, photo, found[UNCHANGED], labels)) if is_classifier else (),
        {how: dict(zip(labels, scores.tolist(), strict=True)) for how, scores in found.items()},
        {view.step.operation: "\n\n".join(map(inspect.getsource, functions_of(view.step))) for view in steps},
    )


def class_names(model: ImageClassifier) -> list[str]:
    """Return the names of a model's classes; where several have one name, with their numbers: ``"crane (134)"``."""
    names = [str(model.config.id2label[number]) for number in range(model.num_labels)]
    times = Counter(names)
    return [name if times[name] == 1 else f"{name} ({number})" for number, name in enumerate(names)]


def functions_of(step: Step) -> list[Callable[..., Any]]:
    """Return the function of a step as it is written; an activation is chosen by a name, and its own comes last."""
    chosen = [ACTIVATIONS[step.attributes["hidden_act"]]] if step.operation == "activation" else []
    return [inspect.unwrap(function) for function in (OPERATIONS[step.operation], *chosen)]


def ends_stage(step: Step) -> bool:
    """Tell whether a step's result is the map of a whole stage, by its names."""
    return any(re.search(r"(?:^|\.)stages\.\d+$", name) for name in (step.name, *step.aliases))


@dataclass
class _Held:
    """What is known of an array until the last step has taken it."""

    array: np.ndarray
    layout: str
    shown: Shown = field(default_factory=Shown)


def look_into(plan: Plan, pixel_values: np.ndarray, params: Mapping[str, np.ndarray]) -> Iterator[StepView]:
    """Run a plan and yield what is shown of each step; arrays are let go as soon as no step takes them."""
    last_use = {name: step.name for step in plan for name in step.inputs}
    held = {"pixel_values": _Held(pixel_values, "NCHW")}
    sizes = MapSizes()
    for step in plan:
        taken = [held[name] for name in step.inputs]
        start = time.perf_counter()
        array = run_step(step, [one.array for one in taken], params)
        seconds = time.perf_counter() - start
        made = _Held(array, step.layout, show(array, step.layout, sizes, most=None if ends_stage(step) else MOST))
        shapes = {step.name: array.shape, **{name: held[name].array.shape for name in step.inputs}}
        yield _view(step, taken[0], made, params, seconds, multiply_adds(step, shapes, _shapes(step, params)), sizes)
        held[step.name] = made
        for name in step.inputs:
            if last_use.get(name) == step.name:
                held.pop(name, None)


def _shapes(step: Step, params: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a step's parameters."""
    return {full: params[full].shape for full in step.params.values()}


def _view(
    step: Step,
    taken: _Held,
    made: _Held,
    params: Mapping[str, np.ndarray],
    seconds: float,
    cost: int,
    sizes: MapSizes,
) -> StepView:
    """Return what is shown of a step, which took one array first, and made one."""
    array, before, sheet = made.array, taken.shown, made.shown.sheet
    if sheet is not None and is_channelwise(step):
        before = show(taken.array, taken.layout, sizes, sheet.channels)
    has_kernels = sheet is not None and step.operation == "depthwise_conv2d"
    has_token = made.layout == "NTD" and (size := sizes.of(array.shape[1])) and size[0] * size[1] < array.shape[1]
    return StepView(
        step,
        array.shape,
        sum(params[full].size for full in step.params.values()),
        cost,
        seconds,
        before,
        made.shown,
        make_sheet(params[step.params["weight"]][:, 0].astype(np.float64), sheet.channels)
        if sheet is not None and has_kernels
        else None,
        {
            name: (bars(params[full]), largest({"value": params[full].reshape(-1)}))
            for name, full in step.params.items()
            if step.operation in ("layer_scale", "grn_apply")
        },
        largest({name: grn_strength(x)[0, :, 0, 0] for name, x in (("before", taken.array), ("after", array))})
        if step.operation == "grn_apply"
        else None,
        show_attention(array, sizes) if step.operation == "softmax" and step.layout == "NhTS" else None,
        array[0, 0].copy() if has_token else None,
    )


def find_reasons(
    model: ImageClassifier,
    quick: ImageClassifier,
    x: np.ndarray,
    photo: Picture,
    scores: np.ndarray,
    labels: Sequence[str],
) -> Iterator[Reason]:
    """Yield what the scores of the likeliest classes rest on."""
    size = photo.pixels.shape[:2]
    numbers = np.argsort(-scores, kind="stable")[:CLASSES].tolist()
    maps = [map_of_stage(model, stage) for stage in range(_stages(model))]
    falls = occlusions(quick, x, numbers, scores)
    for number, fall, found in zip(
        numbers, falls, gradients_of_classes(model, [PIXELS, *maps], x, numbers), strict=True
    ):
        yield Reason(
            labels[number],
            float(scores[number]),
            heat(fall, size),
            heat(np.abs(found[PIXELS][1]).max(axis=1)[0], size),
            tuple(heat(weighted(*found[name])[0], size) for name in maps),
        )


def _stages(model: ImageClassifier) -> int:
    """Return how many stages a model has."""
    return sum(map(ends_stage, make_plan(model.config, model.task)))


def _changes(x: np.ndarray, processor: ConvNextImageProcessor) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the pixel values (1, C, H, W) as they are, and changed in ways that should not change the answer."""
    yield UNCHANGED, x
    yield "mirrored", np.ascontiguousarray(x[..., ::-1])
    if x.shape[1] == 3:
        mean, std = mean_and_std(processor, 3)
        yield "in grey", (((x * std + mean).mean(axis=1, keepdims=True) - mean) / std).astype(x.dtype)
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
