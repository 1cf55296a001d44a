"""The option ``--names``: what a port calls its tensors, as the name of a library or a file."""

from __future__ import annotations

from npconv.errors import GoldenError, WeightsError
from npconv.messages import escape

HELP = (
    "the library whose names MINE has: timm, facebook, torchvision, microsoft, keras, open_clip or mmpretrain; or a "
    "JSON file of {name in MINE: name in REFERENCE}"
)


def read_names(words: str) -> dict[str, str] | str:
    """Return the name of a library, or the map of names in a JSON file."""
    from npconv.convert.modules import module_dialects
    from npconv.files.disk import map_file, parse_json

    if words in module_dialects():
        return words
    libraries = ", ".join(module_dialects())
    try:
        names = parse_json(map_file(words), escape(words))
    except WeightsError as error:
        raise GoldenError(
            f"{escape(words)}: cannot be read ({error}); give --names a JSON file or one of {libraries}"
        ) from error
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise GoldenError(f"{escape(words)}: expected a JSON object of {{name in MINE: name in REFERENCE}}")
    return names
