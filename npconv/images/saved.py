"""An image processor in files: read from those of a model, written as transformers reads them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from npconv.errors import ConfigError, ImageError, InputError, WeightsError
from npconv.files.disk import SUFFIX, locate, write_file
from npconv.files.loading_arguments import USUAL_ORIGIN, Origin, refuse_unknown, sort_out
from npconv.files.saving_arguments import directory_to_write, refuse_upload
from npconv.images.settings import (
    COMBINED_FILE_NAME,
    FILE_NAME,
    SETTING_NAMES,
    WITHOUT_EFFECT,
    read_settings,
)

Self = TypeVar("Self", bound="Saved")


class Saved:
    """Base of :class:`ConvNextImageProcessor`, for what concerns its files."""

    from_dict: ClassVar[Callable[..., Any]]
    settings: Callable[..., Any]
    to_json_string: Callable[[], str]

    @classmethod
    def from_pretrained(cls: type[Self], model: str | os.PathLike[str] | None = None, **arguments: Any) -> Self:
        """Read the settings that belong to a model.

        Parameters
        ----------
        model : str or os.PathLike
            An embedded model's name, a directory with a ``preprocessor_config.json`` (or a ``processor_config.json``
            with an entry ``image_processor``), such a file, a ``.safetensors`` file beside it, or a hub id.
        **arguments
            Settings that replace those of the file; where it comes from, as in
            :meth:`npconv.api.base.PreTrainedModel.from_pretrained`; and ``return_unused_kwargs=True``, to be given a
            tuple of the processor and a dict of the arguments that mean nothing to it.

        Raises
        ------
        ConfigError
            If the file is broken, holds invalid values, or belongs to another kind of image processor.
        InputError
            If an argument is unknown.
        ModelNotFoundError
            If there is no such model or file.
        """
        model = arguments.pop("pretrained_model_name_or_path", model)
        return_unused = arguments.pop("return_unused_kwargs", False)
        origin, overrides = sort_out(arguments)
        file, config = find_settings(model, origin)
        known = {*SETTING_NAMES, *config}
        overrides = {
            name: value for name, value in overrides.items() if name not in (*WITHOUT_EFFECT, "device", "dtype")
        }
        unused = {name: overrides.pop(name) for name in [*overrides] if return_unused and name not in known}
        refuse_unknown(overrides, known, f"{cls.__name__}.from_pretrained", "a setting")
        try:
            processor = cls.from_dict(config, **overrides)
            processor.settings().check_amount()
        except (InputError, ConfigError, ImageError) as error:
            raise ConfigError(f"{file}: {error}") from error
        return (processor, unused) if return_unused else processor  # type: ignore[return-value]  # only if asked for

    def to_json_file(self, json_file_path: str | os.PathLike[str]) -> None:
        """Write :meth:`to_json_string` to a file; if it cannot be written there, that is an `InputError`."""
        if not isinstance(json_file_path, str | os.PathLike):
            raise InputError(f"expected a file to write to, got {type(json_file_path).__name__}")
        file, text = Path(json_file_path), self.to_json_string()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_file(file, [text.encode()])
        except (OSError, ValueError, WeightsError) as error:
            raise InputError(f"{file}: cannot be written ({error}); give another directory") from error

    @classmethod
    def from_json_file(cls: type[Self], json_file: str | os.PathLike[str]) -> Self:
        """Read a file that :meth:`to_json_file` wrote; see :meth:`from_pretrained`."""
        return cls.from_pretrained(json_file)

    push_to_hub = refuse_upload

    def save_pretrained(self, directory: str | os.PathLike[str] | None = None, **arguments: Any) -> list[str]:
        """Write ``preprocessor_config.json``, which transformers reads too, and return its path in a list.

        The arguments are those of :meth:`npconv.api.base.PreTrainedModel.save_pretrained`. If it cannot be written
        there, that is an `InputError`.
        """
        directory = directory_to_write(f"{type(self).__name__}.save_pretrained", directory, arguments)
        if directory is None:
            return []
        file = Path(directory) / FILE_NAME
        self.to_json_file(file)
        return [str(file)]


def find_settings(model: str | os.PathLike[str] | None, origin: Origin = USUAL_ORIGIN) -> tuple[Path, dict[str, Any]]:
    """Return the file with the settings that belong to a model, and its content; see `from_pretrained`."""
    if not isinstance(model, str | os.PathLike):
        raise InputError(f"expected the name or folder of a model, got {type(model).__name__}")
    if os.path.isfile(model) and not os.fspath(model).endswith(SUFFIX):
        return read_settings(Path(model))
    folder = os.path.join(model, origin.subfolder)
    if any(os.path.isfile(os.path.join(folder, name)) for name in (FILE_NAME, COMBINED_FILE_NAME)):
        return read_settings(Path(folder))
    path = locate(model, origin)
    return read_settings(path if path.is_dir() else path.parent)
