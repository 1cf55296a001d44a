"""The names and layouts in which weights of ConvNeXt, ConvNeXt V2 and CvT are published, in both directions.

``detect(tensors)`` says which dialect a file is in, ``to_hugging_face(tensors, dialect)`` renames and lays out,
``infer_config(tensors, dialect=dialect)`` finds the configuration, and ``from_hugging_face(tensors, dialect)`` goes
back. All of it works on plain dicts of NumPy arrays. The dialects themselves are data, in the ``names.py`` of each
family.
"""

from npconv.convert.detect import UnsupportedError, detect, detect_all
from npconv.convert.dialect import Dialect, dialect, dialect_names
from npconv.convert.infer import OpenFieldsError, infer_config
from npconv.convert.translate import from_hugging_face, skipped, to_hugging_face

__all__ = [
    "Dialect",
    "OpenFieldsError",
    "UnsupportedError",
    "detect",
    "detect_all",
    "dialect",
    "dialect_names",
    "from_hugging_face",
    "infer_config",
    "skipped",
    "to_hugging_face",
]
