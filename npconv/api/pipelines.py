"""From pictures to labels or features in one call."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np

from npconv.api.auto import AutoConfig, AutoImageProcessor
from npconv.api.choices import WITHOUT_EFFECT, check_kinds, choose_device, processor_of
from npconv.api.classification import ImageClassificationPipeline
from npconv.api.extraction import ImageFeatureExtractionPipeline
from npconv.api.heads import BareModel, ImageClassifier
from npconv.api.pictures import Pipeline
from npconv.backend import parse_device, parse_dtype
from npconv.errors import InputError
from npconv.files.loading_arguments import Origin, sort_out
from npconv.images import ConvNextImageProcessor
from npconv.messages import shown
from npconv.models import PretrainedConfig, family_of

if TYPE_CHECKING:
    from concurrent.futures import Executor

DEFAULT_MODEL = "convnextv2-cifar10"

#: Task -> the class of its pipeline.
PIPELINES: dict[str, type[Pipeline]] = {
    kind.task: kind for kind in (ImageClassificationPipeline, ImageFeatureExtractionPipeline)
}

#: How a model is given: by a name, or itself.
Model: TypeAlias = str | Path | BareModel[Any] | None


@overload
def pipeline(
    task: Literal["image-classification"], model: Model = None, **arguments: Any
) -> ImageClassificationPipeline: ...
@overload
def pipeline(
    task: Literal["image-feature-extraction"], model: Model = None, **arguments: Any
) -> ImageFeatureExtractionPipeline: ...
@overload
def pipeline(task: str | None = None, model: Model = None, **arguments: Any) -> Any: ...
def pipeline(
    task: str | None = None,
    model: Model = None,
    *,
    image_processor: str | Path | ConvNextImageProcessor | None = None,
    batch_size: int | None = None,
    workers: int | Executor = 1,
    feature_extractor: str | Path | ConvNextImageProcessor | None = None,
    config: str | Path | PretrainedConfig | None = None,
    device: Any = None,
    model_kwargs: Mapping[str, Any] | None = None,
    pipeline_class: type[Pipeline] | None = None,
    **arguments: Any,
) -> Any:
    """Make a function from pictures to labelled scores, or to features.

    Parameters
    ----------
    task : str, optional
        ``"image-classification"`` or ``"image-feature-extraction"``. When unset, what the model was made for.
    model : str, Path or model, optional
        As in ``AutoModelForImageClassification.from_pretrained``, or a model that is loaded already: a classifier, or
        for features a model without one. The embedded model when unset.
    image_processor : str, Path or processor, optional
        When unset, the model's own: that of the place where it is loaded from, or was.
    batch_size : int, optional
        Pictures that pass the model together; 1 when unset.
    workers : int or Executor
        Processes that share the work when there are more pictures than fit in a batch, and with the fast engine the
        weights in memory; 1 (or 0) means none but this one. Where pictures of one size come one by one, they work on
        each together, which is quicker than threads, once they have been started: by many pictures in a call, or after
        some calls of one. A script that uses them keeps its work under ``if __name__ == "__main__":``. Any
        ``concurrent.futures.Executor`` may take their place, such as one of ``distributed`` for several machines;
        `model` must then be found there under the same name. A model that is loaded already cannot be shared.
    feature_extractor
        The older name of `image_processor`.
    config : str, Path or configuration, optional
        In place of the model's own.
    device : int, str or torch.device, optional
        ``"cpu"`` or -1; ``"cuda"``, or from 0 on the GPU where there is one and else the CPU, with a warning. A loaded
        model is moved there.
    model_kwargs : mapping, optional
        More arguments of ``from_pretrained``.
    pipeline_class : type, optional
        In place of the task's own: a class made from it.
    **arguments
        What a call does that does not say: ``top_k``, ``function_to_apply``; or ``pool``, ``return_tensors``,
        ``image_processor_kwargs``, ``features``; and ``timeout``, ``max_memory``. And ``dtype``, ``revision``,
        ``engine`` and so on, as in ``from_pretrained``: the engine is the fast one when unset, where it can run: in
        float32 on the CPU. Arguments of transformers that mean nothing here are passed over.

    Returns
    -------
    ImageClassificationPipeline or ImageFeatureExtractionPipeline

    Raises
    ------
    NpconvError
        If the task is another one, an argument unknown, or the model cannot be loaded.
    """
    check_kinds(workers, model_kwargs, pipeline_class)
    origin, loading = _sort_out({**arguments, "config": config}, model_kwargs or {})
    if device is not None:
        loading["device"] = choose_device(device)
    elif "device" in loading:  # of a device map
        loading["device"] = parse_device(loading["device"])
    if isinstance(config, str | Path):
        loading["config"] = AutoConfig.from_pretrained(config, **origin.arguments())
    kind = pipeline_class or _kind(task, model, loading.get("config"), origin)
    settings = {name: arguments[name] for name in kind.options if name in arguments}
    settings |= {"batch_size": batch_size, "workers": workers}
    loading = {name: value for name, value in loading.items() if name not in settings}
    given = feature_extractor if image_processor is None else image_processor
    if isinstance(model, BareModel):
        return _of_loaded(kind, model, _processor(given, origin) or processor_of(model), loading, settings)
    name: Any = DEFAULT_MODEL if model is None else model
    processor = _processor(given, origin)
    if processor is None:
        processor = AutoImageProcessor.from_pretrained(name, **origin.arguments())
        origin = origin.downloaded()
    return _of_name(kind, name, processor, {**_with_engine(loading), **origin.arguments()}, settings)


def load_pipeline(kind: type[Pipeline], model: str, image_processor: ConvNextImageProcessor, **arguments: Any) -> Any:
    """Return a pipeline without workers: what each of the workers loads."""
    return kind(kind.load_model(model, **arguments), image_processor)


def _sort_out(given: Mapping[str, Any], model_kwargs: Mapping[str, Any]) -> tuple[Origin, dict[str, Any]]:
    """Return where a model comes from, and the other arguments that load it, without those that say nothing."""
    set_twice = [name for name in model_kwargs if given.get(name) is not None]
    if set_twice:
        raise InputError(f"expected {set_twice[0]} once, got it in model_kwargs as well; leave one out")
    origin, others = sort_out({**given, **model_kwargs})
    return origin, {n: value for n, value in others.items() if value is not None and n not in WITHOUT_EFFECT}


def _kind(task: str | None, model: Any, config: PretrainedConfig | None, origin: Origin) -> type[Pipeline]:
    """Return the class of pipelines for a task, or without one for what a model was made for."""
    if isinstance(task, str) and task in PIPELINES:
        return PIPELINES[task]
    if task is not None:
        raise InputError(f"expected task {' or '.join(map(repr, PIPELINES))}, got {shown(task)}")
    if isinstance(model, BareModel):
        is_classifier = isinstance(model, ImageClassifier)
    elif model is None:
        is_classifier = True
    else:
        config = AutoConfig.from_pretrained(model, **origin.arguments()) if config is None else config
        family = family_of(config)
        named = [task for task, name in family.class_names.items() if name in (config.architectures or ())]
        is_classifier = (named or [family.main_task])[0] == ImageClassifier.task
    return ImageClassificationPipeline if is_classifier else ImageFeatureExtractionPipeline


def _of_loaded(
    kind: type[Pipeline],
    model: BareModel[Any],
    processor: ConvNextImageProcessor,
    loading: dict[str, Any],
    settings: Mapping[str, Any],
) -> Pipeline:
    """Return the pipeline of a loaded model, to which loading arguments come too late."""
    kind.check_model(model)
    if _is_shared(settings["workers"]):
        raise InputError("expected the name or folder of a model beside workers, got a loaded one; they load it")
    device = loading.pop("device", None)
    if loading.get("config") is model.config:
        del loading["config"]
    dtype = loading.get("dtype", "auto")
    if str(dtype) == "auto" or parse_dtype(dtype) == model.dtype:
        loading.pop("dtype", None)
    if loading:
        raise InputError(f"expected no {', '.join(loading)} beside a loaded model; give them when loading it")
    kind.check_config(model.config)
    return kind(model, processor, device=device, **settings)


def _of_name(
    kind: type[Pipeline],
    name: str | Path,
    processor: ConvNextImageProcessor,
    loading: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> Pipeline:
    """Return the pipeline of a model that is loaded by its name, here or by workers."""
    if not _is_shared(settings["workers"]):
        loaded = kind.load_model(name, **loading)
        kind.check_config(loaded.config)
        return kind(loaded, processor, **settings)
    from npconv.api.folded import shared_loader  # only here: it loads what starts workers
    from npconv.workers.loader import Loader

    # To fail here, not in a worker.
    origin = sort_out(loading)[0]
    kind.check_config(loading.get("config") or AutoConfig.from_pretrained(name, **origin.arguments()))
    sent = {"kind": kind, "image_processor": processor, "threads": 1, **loading}
    Loader.of(load_pipeline, **sent)  # likewise
    load = partial(kind.load_model, name, **loading)
    share = partial(shared_loader, load=load_pipeline, model=name, **sent)
    # What a user's class does to a picture, or keeps of it, is done once, in this process.
    together = loading["engine"] == "fast" and kind in PIPELINES.values()
    return kind(load, processor, share=share, together=together, **settings)


def _is_shared(workers: int | Executor) -> bool:
    """Tell whether work is done outside of this process."""
    return not isinstance(workers, int | np.integer) or workers > 1


def _with_engine(loading: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments with an engine: the fast one, where it can run and no other is asked for."""
    dtype = loading.get("dtype", "float32")
    if str(dtype) != "auto":
        dtype = parse_dtype(dtype).name  # once, as it may have something to say
    is_fast = (dtype, loading.get("device", "cpu")) == ("float32", "cpu")
    return {"engine": "fast" if is_fast else "explicit", **loading, "dtype": dtype}


def _processor(given: Any, origin: Origin) -> ConvNextImageProcessor | None:
    """Return an image processor that is given, loaded if only its name is; the revision and so on are the model's."""
    if given is None or isinstance(given, ConvNextImageProcessor):
        return given
    return AutoImageProcessor.from_pretrained(
        given, **origin._replace(revision="main", subfolder="", variant=None).arguments()
    )
