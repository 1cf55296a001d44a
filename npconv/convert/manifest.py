"""``npconv_manifest.json``: where the files of a folder came from, and the hash of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npconv._version import __version__
from npconv.convert.dialects import Dialect
from npconv.errors import WeightsError
from npconv.files.disk import read_json
from npconv.messages import quoted
from npconv.models.decisions import lines

if TYPE_CHECKING:
    from npconv.convert.source import Source

MANIFEST = "npconv_manifest.json"
VERSION = 1


def manifest_text(
    source: Source, dialect: Dialect, dtype: str, hashes: Mapping[str, str], files: Mapping[str, str]
) -> str:
    """Return the manifest of a converted folder as JSON.

    Parameters
    ----------
    source : Source
    dialect : Dialect
        Of the source, with all that is needed to give its names back.
    dtype : str
        Of most numbers written.
    hashes, files : mapping of str to str
        Names of the files read, and of those written -> SHA-256.
    """
    content = {
        "format_version": VERSION,
        "written_by": f"npconv {__version__}",
        "source": {
            "name": source.name or None,
            "files": dict(hashes),
            "container": source.opened.container,
            "wrapping": source.opened.taken or None,
            "dialect": dialect.name,
            "prefix": dialect.prefix,
            "spellings": dict(dialect.spellings),
            "layouts": dict(dialect.layouts),
        },
        "dtype": dtype,
        "files": dict(sorted(files.items())),
        "decisions": lines(source.decisions),
    }
    return json.dumps(content, indent=2) + "\n"


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return the manifest of a folder.

    Raises
    ------
    WeightsError
        If there is none, or it is no such manifest.
    """
    path = directory / MANIFEST
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format_version") != VERSION:
        raise WeightsError(f"{quoted(path)} is no manifest of version {VERSION}; convert the model again")
    return content
