"""The errors and warnings of npconv.

Every error that bad input can cause belongs to :class:`NpconvError`. Its message is one line that says what was
expected, what came and what to try.
"""


class NpconvError(Exception):
    """Base class of all npconv errors."""


class InputError(NpconvError, ValueError):
    """An array or argument of a call has the wrong shape, dtype or value."""


class ConfigError(NpconvError, ValueError):
    """A configuration describes no model that can be built."""


class WeightsError(NpconvError):
    """Weights cannot be used: a file is missing or incomplete, or names and shapes do not match the model."""


class SafetensorsError(WeightsError, ValueError):
    """A safetensors file breaks the format.

    Parameters
    ----------
    reason : str
        The kind of damage, one of a fixed list of names such as ``"HeaderTooLarge"``.
    message : str
        What was expected, what the file holds and what to try.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason


class ImageError(NpconvError, ValueError):
    """A picture cannot be read or prepared."""


class ModelNotFoundError(NpconvError):
    """No embedded model, folder, file or cached hub model has the given name."""


class GoldenError(NpconvError, ValueError):
    """A trace or a case cannot be read, or two traces cannot be compared."""


class UnavailableError(NpconvError):
    """Something optional is asked for and not there: an extra that is not installed, a device, an engine."""


class NpconvWarning(UserWarning):
    """Base class of npconv's warnings: the call went on, but you should know how."""
