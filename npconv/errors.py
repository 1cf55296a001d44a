"""The errors and warnings of npconv.

Every error that bad input can cause belongs to :class:`NpconvError`. Its message is one line that says what was
expected, what came and what to try.

They are also what Python and other libraries raise in such a case, so that the ``except`` clauses of programs that were
written for those still catch them:

====================================  ====================================================================
``OSError`` (``FileNotFoundError``)   a model, or a file of one, that is not there; a ``config.json`` that is no JSON
``ValueError``                        a wrong value: of an argument, a configuration, a picture
``RuntimeError``                      arrays or weights whose shapes do not fit the model; a device that is not there
``ImportError``                       a package that is not installed
====================================  ====================================================================
"""


class NpconvError(Exception):
    """Base class of all npconv errors."""


class InputError(NpconvError, ValueError):
    """An array or argument of a call has the wrong shape, dtype or value."""


class ShapeError(InputError, RuntimeError):
    """Arrays of a call do not fit each other, or the weights."""


class ConfigError(NpconvError, ValueError):
    """A configuration describes no model that can be built."""


class ConfigNotFoundError(ConfigError, FileNotFoundError):
    """A model has no ``config.json``."""


class ConfigUnreadableError(ConfigError, OSError):
    """A file is not the JSON that it should be."""


class WeightsError(NpconvError):
    """Weights cannot be used: a file is missing or incomplete, or names and shapes do not match the model."""


class WeightsNotFoundError(WeightsError, FileNotFoundError):
    """A file of weights, or another that is read with them, is not there."""


class MisfitError(WeightsError, RuntimeError):
    """The names or shapes of weights are not those of the model."""


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


class ImageNotFoundError(ImageError, FileNotFoundError):
    """There is no picture at a path."""


class ModelNotFoundError(NpconvError, FileNotFoundError):
    """No embedded model, folder, file or cached hub model has the given name."""


class GoldenError(NpconvError, ValueError):
    """A trace or a case cannot be read, or two traces cannot be compared."""


class TraceNotFoundError(GoldenError, FileNotFoundError):
    """There is no trace at a path."""


class UnavailableError(NpconvError, RuntimeError):
    """Something optional is asked for and not there: an extra that is not installed, a device, an engine."""


class NotInstalledError(UnavailableError, ImportError):
    """A package that is asked for is not installed."""


class NpconvWarning(UserWarning):
    """Base class of npconv's warnings: the call went on, but you should know how."""
