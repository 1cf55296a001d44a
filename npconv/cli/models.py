"""``npconv models``: the models that come with npconv, the published ones, and how to use others."""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npconv.cli.output import table, to_json, write
from npconv.errors import ModelNotFoundError
from npconv.models import FAMILIES

if TYPE_CHECKING:
    from npconv.models.publishing import Published

DESCRIPTION = """\
List the embedded models and the published ones, and say how to use others.
"""

OTHERS = """\
Other ConvNeXt, ConvNeXt V2 and CvT classifiers work as well. For MODEL, give:
  a directory   with config.json, preprocessor_config.json, model.safetensors
  a file        ending in .safetensors, with the two .json files beside it
  a hub id      such as facebook/convnextv2-tiny-1k-224: taken from the cache,
                or downloaded to it once if huggingface_hub is installed
                (pip install huggingface_hub); where it has no safetensors,
                converted once into {own}
The cache is {cache}
"""

NOT_KNOWN = "not known"

#: A model card is a page or two.
LARGEST_CARD = 100_000


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser("models", help="list the embedded and the published models", description=DESCRIPTION)
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", metavar="FORMAT", help="text or json (default text)"
    )
    parser.add_argument("word", nargs="?", default="", metavar="WORD", help="only names with WORD in them, such as cvt")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the list."""
    from npconv.files.disk import embedded_models
    from npconv.hub.catalogue import catalogue, suggestion
    from npconv.hub.download import hub_cache, own_cache
    from npconv.messages import quoted

    word = args.word.casefold()
    embedded = embedded_models()
    found = [describe(name) for name in embedded if word in name]
    published = [checkpoint for checkpoint in catalogue() if word in checkpoint.name]
    if word and not found and not published:
        hint = suggestion(args.word, tuple(embedded))
        raise ModelNotFoundError(f"expected a part of a model's name, but none has {quoted(args.word)} in it{hint}")
    if args.format == "json":
        listed = {"embedded": found, "catalogue": [dataclasses.asdict(checkpoint) for checkpoint in published]}
        write(sys.stdout, to_json({**listed, "hub_cache": str(hub_cache())}, indent=2) + "\n")
        return 0
    blocks = [embedded_lines(found)] if found or not word else []
    blocks += [family_lines(family, published) for family in FAMILIES]
    text = "\n\n".join("\n".join(lines) for lines in blocks if lines)
    others = "" if word else "\n" + OTHERS.format(cache=hub_cache(), own=own_cache())
    write(sys.stdout, text + "\n" + others)
    return 0


def embedded_lines(found: list[dict[str, Any]]) -> list[str]:
    """Return the table of the embedded models."""
    header = ["name", "family", "parameters", "input", "classes", "accuracy", "licence"]
    rows = [header, *(cells(model) for model in found)]
    return ["Embedded models", *table(rows, right=(2, 4, 5), indent=2)] if found else ["No model is embedded."]


def family_lines(family: str, published: list[Published]) -> list[str]:
    """Return the table of the published models of a family; empty if there are none."""
    listed = [checkpoint for checkpoint in published if checkpoint.family == family]
    if not listed:
        return []
    rows = [["name", "parameters", "input", "preparation", "classes", "weights"]]
    rows += [
        [
            checkpoint.name,
            f"{checkpoint.parameters:,}",
            str(checkpoint.input),
            checkpoint.preparation or NOT_KNOWN,
            f"{checkpoint.classes:,}",
            checkpoint.formats[0] if checkpoint.formats else NOT_KNOWN,
        ]
        for checkpoint in listed
    ]
    has_classes = any(checkpoint.classes for checkpoint in listed)
    if not has_classes:
        rows = [[*row[:4], *row[5:]] for row in rows]
    licence = f"licence {listed[0].licence} by their cards, {listed[0].first_licence} by their authors"
    lines = table(rows, right=(1, 2, 4) if has_classes else (1, 2), indent=2)
    return [f"{FAMILIES[family].title} on the hub, {licence}", *lines]


def describe(name: str) -> dict[str, Any]:
    """Return what there is to know about an embedded model; None for what its files do not say."""
    from npconv.api import AutoConfig
    from npconv.api.sizes import size_in
    from npconv.files.disk import locate
    from npconv.models.summary import layer_table

    folder = locate(name)
    config = AutoConfig.from_pretrained(name)
    height, width = size_in(config, folder)
    facts = card_facts(folder)
    accuracy = re.search(r"\btype: accuracy, value: (\d{1,3}(?:\.\d{1,4})?)\b", facts)
    licence = re.search(r"^license: *([\w.-]+) *$", facts, re.MULTILINE)
    return {
        "name": name,
        "family": FAMILIES[config.model_type].title,
        "parameters": sum(row.parameters for row in layer_table(config, height, width)),
        "input": [height, width],
        "classes": list(config.id2label.values()),
        "top_1_percent": float(accuracy[1]) if accuracy else None,
        "licence": licence[1] if licence else None,
    }


def card_facts(folder: Path) -> str:
    """Return what a model card begins with, between two lines of dashes: facts in YAML; empty if there are none."""
    try:
        with (folder / "README.md").open(encoding="utf-8") as file:
            card = file.read(LARGEST_CARD)
    except (OSError, ValueError):
        return ""
    return card.partition("\n---\n")[0] if card.startswith("---\n") else ""


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
