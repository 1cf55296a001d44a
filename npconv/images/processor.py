"""The image processor of the ConvNeXt family, with the arguments, defaults and values of the one in transformers."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, ClassVar, TypeVar

import numpy as np
from PIL import Image

from npconv.errors import ConfigError, InputError, NpconvWarning
from npconv.images.batch import BatchFeature, stack
from npconv.images.decode import check_pixel_count
from npconv.images.inputs import FIRST, LAST, check_data_format, each_picture, pixels_of, take_picture
from npconv.images.saved import Saved
from npconv.images.settings import (
    SETTING_NAMES,
    STEPS,
    WITHOUT_EFFECT,
    Listed,
    Settings,
    enum_value,
    resize_crop_normalize,
    resize_picture,
)
from npconv.images.single_steps import SingleSteps
from npconv.images.transforms import check_size, holds_fractions
from npconv.messages import quoted, shown
from npconv.tensors import check_tensor_type

Self = TypeVar("Self", bound="ConvNextImageProcessor")

TYPE_NAME = "ConvNextImageProcessor"
TYPE_NAMES = (TYPE_NAME, "ConvNextImageProcessorFast", "ConvNextImageProcessorPil", "ConvNextFeatureExtractor")

#: Fields of a file that say what it is for; they are written anew.
TYPE_KEYS = ("image_processor_type", "feature_extractor_type", "processor_class")


class ConvNextImageProcessor(SingleSteps, Saved):
    """Make model inputs of pictures: resize, crop, rescale to 0..1, normalise.

    Parameters
    ----------
    do_resize : bool
        Resize (and crop) to a square of ``size["shortest_edge"]``.
    size : dict or int
        ``{"shortest_edge": 384}``; 384 means the same. From 384 on the picture is warped to that square. Below, its
        shorter edge becomes ``int(shortest_edge / crop_pct)`` and the square is cropped from the middle. `crop_mode`
        says otherwise; with one, ``{"height": 224, "width": 320}`` is a size as well.
    crop_pct : float
        Share of the shorter edge that is kept below 384. Default 224 / 256.
    resample : int or str
        Filter of Pillow, as a number or a name. Default bicubic (3), as in transformers since December 2025; before, it
        was bilinear (2). Published checkpoints say which.
    do_rescale : bool
        Multiply by `rescale_factor`. For arrays that are 0..1 already, set it to False.
    rescale_factor : float
        Default 1 / 255.
    do_normalize : bool
        Subtract `image_mean` and divide by `image_std`.
    image_mean, image_std : float or list of float
        One number for all channels or one for each. Default 0.5.
    do_center_crop : bool, optional
        Crop to `crop_size` after resizing.
    crop_size : dict or int, optional
        ``{"height": 224, "width": 224}``; 224 means the same.
    do_convert_rgb : bool, optional
        True makes RGB of every picture, False of none. Unset, what does not fit `image_mean` is converted, by the rules
        at the top of ``npconv/images/inputs.py``.
    crop_mode : str, optional
        What timm does at any size, in its words: resize by `crop_pct` to ``"center"``, cover the size and keep the
        aspect, ``"border"``, fit into it, or ``"squash"``, warp; then crop. Unset, as `size` says. Unknown to
        transformers, as are the next three.
    crop_rounding : str, optional
        Where a crop begins whose distance from the edge is no whole number: ``"floor"``, as in transformers and by
        default, or ``"half_even"``, as in timm and torchvision. One pixel apart.
    crop_fill : int or list of int, optional
        Value from 0 to 255 of the border around a picture that is smaller than the crop, for all channels or for each.
        Default 0.
    resize_order : str, optional
        Which axis is resized first, on which some pixels depend: ``"horizontal"``, as Pillow does up to 12.1,
        ``"vertical"``, or as ``"pillow12.2"`` or ``"pillow13"`` chooses. By default as the installed Pillow does.
    **other_fields
        Kept, and written back by :meth:`to_dict`.

    Raises
    ------
    InputError
        If a value is invalid.

    Notes
    -----
    ``None`` stands for the default everywhere. The values are those of ``ConvNextImageProcessorPil`` in transformers
    with the same version of Pillow, bit for bit; the Torchvision processor there resizes a little differently.
    """

    model_input_names = ("pixel_values",)

    #: Names of the class in files, that to write first.
    type_names: ClassVar[tuple[str, ...]] = TYPE_NAMES
    #: Defaults that are not those of `Settings`.
    defaults: ClassVar[Mapping[str, Any]] = {}

    do_resize: bool
    size: dict[str, int]
    crop_pct: float
    resample: int
    do_rescale: bool
    rescale_factor: float
    do_normalize: bool
    image_mean: float | tuple[float, ...]
    image_std: float | tuple[float, ...]
    do_center_crop: bool | None
    crop_size: dict[str, int] | None
    do_convert_rgb: bool | None
    crop_mode: str | None
    crop_rounding: str | None
    crop_fill: float | tuple[float, ...] | None
    resize_order: str | None
    other_fields: dict[str, Any]

    def __init__(
        self,
        /,
        do_resize: bool | None = None,
        size: Mapping[str, int] | int | None = None,
        crop_pct: float | None = None,
        resample: int | str | None = None,
        do_rescale: bool | None = None,
        rescale_factor: float | None = None,
        do_normalize: bool | None = None,
        image_mean: Any = None,
        image_std: Any = None,
        do_center_crop: bool | None = None,
        crop_size: Any = None,
        do_convert_rgb: bool | None = None,
        crop_mode: str | None = None,
        crop_rounding: str | None = None,
        crop_fill: Any = None,
        resize_order: str | None = None,
        **other_fields: Any,
    ) -> None:
        given = {name: value for name, value in _settings_among(locals()).items() if value is not None}
        self.__dict__.update(asdict(Settings(**{**self.defaults, **given})))
        self.other_fields = {name: value for name, value in other_fields.items() if name not in TYPE_KEYS}

    def __call__(self, images: Any, *args: Any, **kwargs: Any) -> BatchFeature:
        """Call :meth:`preprocess`."""
        return self.preprocess(images, *args, **kwargs)

    def preprocess(
        self,
        images: Any,
        do_resize: bool | None = None,
        size: Mapping[str, int] | int | None = None,
        crop_pct: float | None = None,
        resample: int | str | None = None,
        do_rescale: bool | None = None,
        rescale_factor: float | None = None,
        do_normalize: bool | None = None,
        image_mean: Any = None,
        image_std: Any = None,
        return_tensors: Any = None,
        data_format: str | None = FIRST,
        input_data_format: str | None = None,
        *,
        do_center_crop: bool | None = None,
        crop_size: Any = None,
        do_convert_rgb: bool | None = None,
        crop_mode: str | None = None,
        crop_rounding: str | None = None,
        crop_fill: Any = None,
        resize_order: str | None = None,
        max_memory: int | None = None,
        device: Any = None,
        **without_effect: Any,
    ) -> BatchFeature:
        """Make model inputs of one picture or many.

        Parameters
        ----------
        images : PIL picture, path, bytes, array, tensor, or a list or tuple of these
            Arrays and tensors are (H, W), (H, W, C), (C, H, W) or batches with one axis more, with values from 0 to
            255, or from 0 to 1 together with ``do_rescale=False``.
        do_resize, size, crop_pct, resample, do_rescale, rescale_factor, do_normalize, image_mean, image_std, \
do_center_crop, crop_size, do_convert_rgb, crop_mode, crop_rounding, crop_fill, resize_order : optional
            Take the place of the processor's own setting in this call.
        return_tensors : str, optional
            ``"np"`` for one array; ``"pt"``, ``"tf"``, ``"jax"`` or ``"mlx"`` for one tensor of PyTorch, TensorFlow,
            JAX or MLX, where that is installed. Unset, one array where all pictures come out in one shape, as they do
            after resizing; a list of arrays where they do not.
        data_format : str, optional
            Layout of the result: ``"channels_first"``, ``"channels_last"``, or None for that of the input.
        input_data_format : str, optional
            Layout of arrays: ``"channels_first"``, ``"channels_last"`` or, for (H, W), ``"none"``. If unset, it is
            inferred; see ``take_picture`` in ``npconv/images/inputs.py``.
        max_memory : int, optional
            What reading one picture may take, in bytes; see :func:`open_image`.
        device : str, int or torch.device, optional
            Where the result is to be; see :meth:`BatchFeature.to`.
        **without_effect
            Further arguments of transformers that have no effect on this processor.

        Returns
        -------
        BatchFeature
            ``pixel_values``: float32 array or tensor of shape (N, C, H, W). Without rescaling and normalisation, uint8;
            without resizing and rescaling, floats keep their own dtype.

        Raises
        ------
        ImageError
            If a picture cannot be read, or would exceed ``MAX_PIXELS`` once resized.
        InputError
            If an argument or an array is invalid.
        UnavailableError
            If the library whose tensors are asked for is not installed, or the device is not there.

        Warns
        -----
        NpconvWarning
            If a picture with values from 0 to 1 is about to be divided by 255, or its channel axis is ambiguous.
        """
        if return_tensors is not None:
            check_tensor_type(return_tensors)  # to fail before the work
        check_data_format(data_format)
        unknown = sorted(set(without_effect) - set(WITHOUT_EFFECT))
        if unknown:
            raise InputError(f"expected settings ({', '.join(SETTING_NAMES)}), got {', '.join(unknown)}")
        settings = self.settings(_settings_among(locals()))
        self.check_complete(settings)
        pixel_values = []
        for picture in each_picture(images):
            taken, layout = take_picture(picture, settings, input_data_format, max_memory)
            prepared = self.prepare(taken, settings)
            last = enum_value(data_format or layout) == LAST
            pixel_values.append(np.ascontiguousarray(np.moveaxis(prepared, 0, -1) if last else prepared))
        together = stack(pixel_values, enum_value(return_tensors))
        batch = BatchFeature({"pixel_values": together}, return_tensors)
        return batch if device is None else batch.to(device=device)

    @staticmethod
    def check_complete(settings: Settings) -> None:
        """Raise `InputError` if a value is missing that one of the steps needs."""
        settings.check_complete()

    @classmethod
    def prepare(cls, image: np.ndarray | Image.Image, settings: Settings) -> np.ndarray:
        """Apply the steps that the settings ask for to one picture, (C, H, W) or of Pillow's.

        A picture that would exceed ``MAX_PIXELS`` once resized is an `ImageError`; a step that cannot be applied, or
        whose result overflows, an `InputError`.
        """
        size = (image.height, image.width) if isinstance(image, Image.Image) else image.shape[1:]
        steps = list(cls.list_steps(settings, *size))
        if isinstance(image, Image.Image):
            # Where resizing comes first, Pillow need not make an array of its picture and a picture of the array.
            if steps and steps[0][1] == "resize" and image.mode in ("L", "RGB"):
                image = resize_picture(image, **steps.pop(0)[2])
            else:
                image = pixels_of(image)
        if settings.do_rescale and holds_fractions(image):
            warnings.warn(
                "the values of a picture are 0 to 1 already and will be rescaled once more; set do_rescale=False",
                NpconvWarning,
                stacklevel=3,
            )
        if np.any(settings.crop_fill or 0) and image.dtype.kind == "f" and image.max() <= 1:
            raise InputError("expected values from 0 to 255 with a crop_fill, got floats up to 1; multiply them by 255")
        for _, step, arguments in steps:
            with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
                image = STEPS[step](image, **arguments)
        if not np.isfinite(image).all():
            raise InputError("the values overflow; check rescale_factor, image_mean and image_std")
        return image

    @staticmethod
    def list_steps(settings: Settings, height: int, width: int) -> Iterator[Listed]:
        """Yield what is done to a picture of some size with some settings."""
        return resize_crop_normalize(settings, height, width)

    def steps(self, height: int, width: int) -> list[Listed]:
        """Return what is done to a picture of some size; a missing or invalid setting or size is an `InputError`."""
        height, width = check_size((height, width))
        check_pixel_count(height, width, "a picture")
        settings = self.settings()
        self.check_complete(settings)
        return list(self.list_steps(settings, height, width))

    @classmethod
    def from_dict(cls: type[Self], config: Mapping[str, Any], **overrides: Any) -> Self:
        """Make a processor of a mapping as :meth:`to_dict` gives it; see :meth:`from_pretrained`."""
        if not isinstance(config, Mapping):
            raise ConfigError(f"expected a mapping of settings, got {type(config).__name__}")
        type_name = type_name_of(config) or cls.type_names[0]
        if type_name not in cls.type_names:
            raise ConfigError(
                f"expected the settings of a {cls.type_names[0]}, got those of a {quoted(type_name)}, which "
                "npconv lacks; prepare the pictures as that one does and give the model the arrays"
            )
        _check_overrides(overrides, config)
        return cls(**{**config, **{name: value for name, value in overrides.items() if value is not None}})

    def to_dict(self) -> dict[str, Any]:
        """Return the settings, other fields and type as they are written to a file; unset ones are left out."""
        settings = asdict(self.settings())
        known = {name: value for name, value in settings.items() if value is not None}
        return {**self.other_fields, **known, "image_processor_type": self.type_names[0]}

    def to_json_string(self) -> str:
        """Return :meth:`to_dict` as JSON, keys sorted; a field that JSON cannot hold is an `InputError`."""
        try:
            return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"
        except (TypeError, ValueError) as error:
            raise InputError(f"expected fields that JSON can hold, got others ({error}); remove them") from error

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the settings that are made, then those that are not."""
        from npconv.html import element, folded, note, note_table

        made = {name: value for name, value in self.to_dict().items() if name != "image_processor_type"}
        left = sorted(name for name, value in vars(self).items() if value is None)
        table = note_table((name, shown(value)) for name, value in made.items())
        return note(type(self).__name__, "", table, folded(f"{len(left)} left open", element("div", ", ".join(left))))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({vars(self)})"

    def settings(self, overrides: Mapping[str, Any] | None = None) -> Settings:
        """Return the settings of a call: an override where there is one, else the attribute.

        An invalid value is an `InputError`.
        """
        given = {name: value for name, value in (overrides or {}).items() if value is not None}
        return Settings(**{**_settings_among(vars(self)), **given})


def type_name_of(config: Mapping[str, Any]) -> Any:
    """Return what kind of image processor settings are of, if they say so."""
    return config.get("image_processor_type") or config.get("feature_extractor_type")


#: The name of the same class in older versions of transformers.
ConvNextFeatureExtractor = ConvNextImageProcessor


def _settings_among(names: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of some variables that are settings."""
    return {name: names[name] for name in SETTING_NAMES}


def _check_overrides(overrides: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Raise `InputError` for an override that is no setting."""
    unknown = sorted(set(overrides) - set(SETTING_NAMES) - set(config))
    if unknown:
        raise InputError(f"expected settings ({', '.join(SETTING_NAMES)}), got {', '.join(unknown)}")
