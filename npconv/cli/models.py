"""``npconv models``: the models that come with npconv, and how to use others."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from npconv.cli.info_text import FAMILIES
from npconv.cli.output import table, to_json, write

DESCRIPTION = """\
List the embedded models, and say how to use others.
"""

OTHERS = """\
Other ConvNeXt, ConvNeXt V2 and CvT classifiers work as well. For MODEL, give:
  a directory   with config.json, preprocessor_config.json, model.safetensors
  a file        ending in .safetensors, with the two .json files beside it
  a hub id      such as facebook/convnextv2-tiny-1k-224: taken from the cache,
                or downloaded to it once if huggingface_hub is installed
                (pip install huggingface_hub)
The cache is {cache}
"""

#: A model card is a page or two.
LARGEST_CARD = 100_000


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser("models", help="list the embedded models", description=DESCRIPTION)
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", metavar="FORMAT", help="text or json (default text)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the list."""
    from npconv.weights.locate import embedded_models, hub_cache

    found = [describe(name) for name in embedded_models()]
    if args.format == "json":
        write(sys.stdout, to_json({"embedded": found, "hub_cache": str(hub_cache())}, indent=2) + "\n")
        return 0
    header = ["name", "family", "parameters", "input", "classes", "accuracy", "licence"]
    rows = [header, *(cells(model) for model in found)]
    lines = ["Embedded models", *table(rows, right=(2, 4, 5), indent=2)] if found else ["No model is embedded."]
    write(sys.stdout, "\n".join(lines) + "\n\n" + OTHERS.format(cache=hub_cache()))
    return 0


def describe(name: str) -> dict[str, Any]:
    """Return what there is to know about an embedded model; None for what its files do not say.

    Parameters
    ----------
    name : str
        Of :func:`npconv.weights.embedded_models`.
    """
    from npconv.api import AutoConfig
    from npconv.cli.facts import input_size, read_processor
    from npconv.models.summary import layer_table
    from npconv.weights.locate import locate

    folder = locate(name)
    config = AutoConfig.from_pretrained(name)
    height, width = input_size(config, read_processor(folder))
    card = read_card(folder)
    accuracy = re.search(r"(\d{1,3}(?:\.\d{1,4})?) ?% top-1", card)
    licence = re.search(r"^license: *([\w.-]+) *$", card, re.MULTILINE)
    return {
        "name": name,
        "family": FAMILIES[config.model_type].name,
        "parameters": sum(row.parameters for row in layer_table(config, height, width)),
        "input": [height, width],
        "classes": list(config.id2label.values()),
        "top_1_percent": float(accuracy[1]) if accuracy else None,
        "licence": licence[1] if licence else None,
    }


def read_card(folder: Path) -> str:
    """Return the text of a model card; empty if there is none."""
    try:
        with (folder / "README.md").open(encoding="utf-8") as file:
            return file.read(LARGEST_CARD)
    except (OSError, ValueError):
        return ""


def cells(model: dict[str, Any]) -> list[str]:
    """Return the row of one model in the list."""
    height, width = model["input"]
    accuracy = model["top_1_percent"]
    return [
        model["name"],
        model["family"],
        f"{model['parameters']:,}",
        f"{height} x {width}",
        str(len(model["classes"])),
        "" if accuracy is None else f"{accuracy:g} %",
        model["licence"] or "",
    ]
