"""Pipelines in general: a function of pictures that decodes, prepares and runs, here or in other processes."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from npconv.api.choices import WITHOUT_EFFECT, choose_device, processor_of
from npconv.api.heads import BareModel
from npconv.api.inputs import check_batch_size, each, is_single, is_tensor, sendable
from npconv.errors import InputError
from npconv.files.saving_arguments import refuse_upload
from npconv.forks import Lock
from npconv.images import BatchFeature, ConvNextImageProcessor, open_image
from npconv.images.decode import is_url, picture_name
from npconv.images.remote import fetch
from npconv.messages import listed
from npconv.models import PretrainedConfig
from npconv.workers.batches import GIVEN_UP, Work

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from npconv.api.together import Together
    from npconv.workers.loader import Loader
    from npconv.workers.pool import WorkerPool

#: Stands for an argument that was not given, where None means something.
UNSET: Any = object()

#: So many pictures, one in a call, are run here before workers are started for the next: that takes 0.5 s.
WORTH_WORKERS = 16

#: Options of a call that say how pictures are made ready; the others say what is made of what the model gives.
PREPARING = ("image_processor_kwargs", "max_memory", "timeout")

#: Held where the workers of a pipeline begin: there are none twice, and two that share them would wait for each other.
_BEGINNING = Lock()


class Pipeline:
    """A function of pictures: decode, prepare, run the model, say what came out. Made by :func:`pipeline`, or directly.

    Worker processes are started when they are first needed and kept until :meth:`close`, the end of a ``with`` block,
    or the end of this process, however it ends.

    Parameters
    ----------
    model : model
        A loaded one; or a callable that loads it when it is first needed in this process.
    image_processor : ConvNextImageProcessor, optional
        That of the place where the model was loaded from when unset.
    batch_size : int, optional
        Pictures that pass the model together; 1 when unset.
    workers, share, together
        See :func:`pipeline`; `share` makes of what runs the work elsewhere what loads the pipeline there, and with
        `together` its workers can run the model on one picture together.
    device : int, str or torch.device, optional
        Where a loaded model is moved to; see :func:`pipeline`.
    feature_extractor
        The older name of `image_processor`.
    **options
        What a call does that does not say; :data:`WITHOUT_EFFECT` are taken as well.

    Raises
    ------
    ConfigError, InputError
        If the model is not for this task, an option is unknown or no image processor can be found.
    """

    #: What :func:`pipeline` calls it.
    task: ClassVar[str]
    #: Names of the options of a call, and their values where neither the call nor the pipeline says.
    options: ClassVar[dict[str, Any]]
    #: Pictures need none.
    tokenizer = None

    def __init__(
        self,
        model: BareModel[Any] | Callable[[], BareModel[Any]],
        image_processor: ConvNextImageProcessor | None = None,
        *,
        batch_size: int | None = None,
        workers: int | Executor = 1,
        share: Callable[[Executor], Loader] | None = None,
        together: bool = False,
        device: Any = None,
        feature_extractor: ConvNextImageProcessor | None = None,
        **options: Any,
    ) -> None:
        if unknown := [name for name in options if name not in self.options and name not in WITHOUT_EFFECT]:
            raise InputError(f"expected options from {', '.join(self.options)}; got {unknown[0]!r}")
        if isinstance(model, BareModel):
            self.check_model(model)
        elif not callable(model):
            raise InputError(f"expected a loaded model, got {type(model).__name__}; pipeline() loads one by its name")
        self._model = model
        if device is not None and (chosen := choose_device(device)) != self.device:
            self.model.to(chosen)
        given = feature_extractor if image_processor is None else image_processor
        self.image_processor = processor_of(self.model) if given is None else given
        self.batch_size = 1 if batch_size is None else check_batch_size(batch_size)
        self.workers = int(workers) if isinstance(workers, np.integer) else workers
        self._share = share
        self._pool: WorkerPool | None = None
        self._can_work_together = together and isinstance(self.workers, int)
        self._together: Together | None = None
        self._singles = 0
        self.__dict__.update({name: options.get(name, value) for name, value in self.options.items()})

    @staticmethod
    def load_model(name: Any, **arguments: Any) -> BareModel[Any]:
        """Load what the pipeline runs; the arguments are those of ``from_pretrained``."""
        raise NotImplementedError

    @classmethod
    def check_model(cls, model: BareModel[Any]) -> None:
        """Refuse a loaded model that is not for this task; nothing unless a task has a say."""

    @staticmethod
    def check_config(config: PretrainedConfig) -> None:
        """Refuse the configuration of such a model, and say once what it lacks; nothing unless a task has a say."""

    def preprocess(self, image: Any, timeout: float | None = None, **image_processor_kwargs: Any) -> BatchFeature:
        """Return what the model takes, of one picture.

        Parameters
        ----------
        image : picture
            As in a call.
        timeout : float, optional
            Of a URL: seconds that fetching may take, 60 when unset.
        **image_processor_kwargs
            Of the image processor; ``max_memory`` is one of them, see `open_image`.

        Returns
        -------
        BatchFeature
            ``pixel_values``: float32 array (1, C, H, W).

        Raises
        ------
        ImageError, InputError
            If it cannot be fetched or read, or is an array of several.
        """
        if isinstance(image, Mapping):
            names = listed(list(map(str, image)))
            raise InputError(f"expected a picture, got a dict of {names}; of a data set give the column with pictures")
        if getattr(image, "ndim", 0) > 3:
            raise InputError(f"expected an array of one picture, got shape {image.shape}; give a list of pictures")
        if is_url(image):
            image = fetch(image, timeout)
        if not isinstance(image, str | os.PathLike | bytes) and not is_tensor(image):
            image = open_image(image, max_memory=image_processor_kwargs.get("max_memory"))
        # The processor opens the others itself, and lets go of the picture before it resizes its copy.
        return self.image_processor(image, **image_processor_kwargs)

    def prepare(self, image: Any, **arguments: Any) -> np.ndarray:
        """Return the pixel values (C, H, W) of one picture; the arguments are those of :meth:`preprocess`."""
        return self.preprocess(image, **arguments)["pixel_values"][0]

    def forward(self, model_inputs: Mapping[str, Any]) -> Any:
        """Return what the model gives for inputs from :meth:`preprocess`."""
        if self._can_work_together and len(pixel_values := model_inputs["pixel_values"]) == 1:
            self._singles += 1
            if self._singles > WORTH_WORKERS or self._pool is not None:
                outputs = self._working_together().run(self.loader(), pixel_values)
                if outputs is not None:
                    return outputs
        return self._forward(model_inputs)

    def _forward(self, model_inputs: Mapping[str, Any]) -> Any:
        """Do the work of :meth:`forward`: what a subclass of a user's has in its place."""
        return self.model(model_inputs["pixel_values"], return_dict=True)

    def _working_together(self) -> Together:
        """Return what has the workers run the model on a picture together."""
        from npconv.api.together import Together

        pool = self._own_pool()
        with _BEGINNING.held():
            if self._together is None:
                self._together = Together(pool, _outputs)
            return self._together

    def postprocess(self, model_outputs: Any, **options: Any) -> Any:
        """Return the result of a picture, given what the model gives for it alone."""
        raise NotImplementedError

    def run(self, pixel_values: Sequence[np.ndarray], **options: Any) -> list[Any]:
        """Return the result of each of some pictures, given their pixel values, which are of one shape."""
        outputs = self.forward({"pixel_values": np.stack(pixel_values)})
        return [self.postprocess(_row(outputs, place), **options) for place in range(len(pixel_values))]

    #: What a result is made of.
    numbers: ClassVar[str]

    def flaw(self, value: Any, dtype_option: str = "dtype=") -> str:
        """Return what is wrong with the result of a picture; an empty text if all its numbers are finite.

        `dtype_option` is how another dtype is asked for.
        """
        if self.is_finite(value):
            return ""
        wrong = self.model.not_finite
        if wrong:
            places = listed([f"{count} in {name}" for name, count in wrong.items()])
            return f"{self.numbers} are not finite, as the weights hold NaN or infinity: {places}; take another file"
        wider = {"float16": "float32", "float32": "float64"}.get(self.model.dtype.name)
        way = f"; try {dtype_option}{wider}" if wider else ", the widest; are these the weights of this model?"
        return f"{self.numbers} are not finite: numbers overflowed inside the model in {self.model.dtype}{way}"

    def is_finite(self, value: Any) -> bool:
        """Say whether all numbers of a picture's result are finite; a subclass may give out anything."""
        if isinstance(value, Mapping):
            value = list(value.values())
        if isinstance(value, list | tuple):
            return all(map(self.is_finite, value))
        return not isinstance(value, float) or math.isfinite(value)

    @property
    def model(self) -> Any:
        """The model in this process."""
        if not isinstance(self._model, BareModel):
            self._model = self._model()
        return self._model

    @property
    def device(self) -> Any:
        """Where the model computes."""
        return self.model.device

    @property
    def dtype(self) -> np.dtype:
        """What the model computes in."""
        return self.model.dtype

    @property
    def torch_dtype(self) -> np.dtype:
        """The older name of :attr:`dtype`."""
        return self.dtype

    @property
    def feature_extractor(self) -> ConvNextImageProcessor:
        """The older name of the image processor."""
        return self.image_processor

    def predict(self, inputs: Any) -> Any:
        """Call the pipeline, as scikit-learn names it."""
        return self(inputs)  # type: ignore[operator]  # each kind has a call of its own

    transform = predict

    push_to_hub = refuse_upload

    def save_pretrained(self, directory: str | Path | None = None, **arguments: Any) -> None:
        """Write the model and the image processor into a folder; the arguments are those of the model's own.

        Raises
        ------
        NpconvError
            If the files cannot be written.
        """
        self.model.save_pretrained(directory, **arguments)
        own = {name: value for name, value in arguments.items() if name != "state_dict"}
        self.image_processor.save_pretrained(directory, **own)

    def __repr__(self) -> str:
        is_loaded = isinstance(self._model, BareModel)
        shown = f"{type(self._model).__name__}, {self.dtype}, {self.device}" if is_loaded else "loaded by the workers"
        return f"{type(self).__name__}(model: {shown}; batch_size: {self.batch_size})"

    def executor(self) -> Executor | None:
        """Return what runs the work outside of this process; starts nothing by itself."""
        if self._share is None:
            return None
        return self._own_pool() if isinstance(self.workers, int) else self.workers

    def _own_pool(self) -> WorkerPool:
        """Return the worker processes of this pipeline."""
        from npconv.workers.pool import WorkerPool  # only here: most calls start none

        with _BEGINNING.held():
            if self._pool is None:
                assert isinstance(self.workers, int)
                self._pool = WorkerPool(self.workers)
            return self._pool

    def loader(self) -> Callable[[], Any]:
        """Return what gives this pipeline to those who do its work: in this process itself, elsewhere loaded anew.

        Raises
        ------
        NpconvError
            If the model cannot be loaded.
        """
        executor = self.executor()
        return (lambda: self) if executor is None or self._share is None else self._share(executor)

    def close(self) -> None:
        """End the worker processes at once, if there are any; they are started anew when they are needed again."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool.shutdown()
            self._pool = self._together = None

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _call(self, pictures: Any, batch_size: int | None, options: Mapping[str, Any]) -> Any:
        """Return the result of a picture, the list of those of a list, or an iterator over those of an iterable."""
        size = check_batch_size(self.batch_size if batch_size is None else batch_size)
        if isinstance(pictures, list | tuple):
            return list(self._stream(pictures, size, options))
        if is_single(pictures):
            return next(self._stream([pictures], 1, options))
        results = self._stream(each(pictures), size, options)
        return SizedResults(results, len(pictures)) if hasattr(pictures, "__len__") else results

    def _stream(self, images: Iterable[Any], batch_size: int, options: Mapping[str, Any]) -> Iterator[Any]:
        """Yield the result of each picture, a batch at a time; what fits in one batch is not worth starting workers."""
        remaining = iter(images)
        first = [] if self._share is None else list(islice(remaining, batch_size + 1))
        if len(first) > batch_size:
            listed = map(partial(sendable, max_memory=options.get("max_memory")), chain(first, remaining))
            work = PictureWork(self.loader(), options)
            batches = work.share(listed, batch_size=batch_size, executor=self.executor())
        else:
            work = PictureWork(lambda: self, options)
            batches = work.share(chain(first, remaining), batch_size=batch_size)
        yield from chain.from_iterable(batches)


class SizedResults(Iterator[Any]):
    """Results of a data set, one after another, as many as it says."""

    def __init__(self, results: Iterator[Any], size: int) -> None:
        self._results = results
        self._size = size

    def __next__(self) -> Any:
        return next(self._results)

    def __len__(self) -> int:
        return self._size


class PictureWork(Work[Any, Any]):
    """Pictures to the results of a pipeline, with the `options` of the call; the first that fails ends it."""

    def __init__(self, load: Callable[[], Any], options: Mapping[str, Any]) -> None:
        super().__init__(load)
        self.options = options

    def prepare(self, tool: Pipeline, item: Any) -> np.ndarray:
        """Return the pixel values of a picture."""
        given = {name: self.options.get(name) for name in ("max_memory", "timeout")}
        given = {name: value for name, value in given.items() if value is not None}
        return tool.prepare(item, **{**given, **(self.options.get("image_processor_kwargs") or {})})

    def run(self, tool: Pipeline, items: Sequence[Any], arrays: Sequence[np.ndarray]) -> list[Any]:
        """Return the results of pictures, given their pixel values."""
        options = {name: value for name, value in self.options.items() if name not in PREPARING}
        with np.errstate(over="ignore", invalid="ignore"):  # what comes out as no numbers is an error below
            values = tool.run(arrays, **options)
        if flaw := next(filter(None, map(tool.flaw, values)), ""):
            raise InputError(flaw)
        return values

    def failed(self, item: Any, error: Exception) -> Any:
        """Raise the error; one by which a picture was given up says which."""
        if type(error).__name__ not in GIVEN_UP:
            raise error
        from npconv.workers.pool import WorkerError

        raise WorkerError(f"{picture_name(item) if isinstance(item, str | Path) else 'a picture'}: {error}") from error


def _outputs(pipeline: Pipeline, pixel_values: np.ndarray) -> Any:
    """Return what the model of a worker's pipeline gives."""
    with np.errstate(over="ignore", invalid="ignore"):  # as in `PictureWork.run`, where this is a part of it
        return pipeline._forward({"pixel_values": pixel_values})


def _row(output: Any, place: int) -> Any:
    """Return what a model gives for one of the pictures of a batch."""

    def cut(value: Any) -> Any:
        return tuple(map(cut, value)) if isinstance(value, tuple) else value[place : place + 1]

    return replace(output, **{name: cut(value) for name, value in vars(output).items() if value is not None})
