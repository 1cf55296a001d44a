"""A comparison as a JUnit report, which every CI system shows: each tensor is a test."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

from npconv.errors import GoldenError, WeightsError
from npconv.files.disk import write_file
from npconv.golden.compare import Comparison, Difference
from npconv.golden.report import verdict
from npconv.golden.sentences import ISLAND, island_in_words, weight_in_words
from npconv.messages import escape

_BEGINNING = b'<testsuite name="npconv diff" tests='


def to_junit(
    comparison: Comparison,
    explanation: str = "",
    *,
    also: Mapping[str, str] | None = None,
    name: str = "npconv diff",
) -> bytes:
    """Return the report as XML.

    The explanation of the first divergence stands in that test's failure, and those of mistakes after it, `also` by
    tensor, in theirs; what an island is stands in that test's output. `name` is that of the suite and of its tests'
    class.
    """
    differences = [*(weight.difference for weight in comparison.weights), *comparison.differences]
    said = {weight.difference.name: weight_in_words(weight) for weight in comparison.wrong_weights}
    said |= {name: f"{ISLAND}: {island_in_words(one)}" for one in comparison.islands for name in one.names}
    counts = {
        "tests": str(len(differences) + len(comparison.missing)),
        "failures": str(sum(difference.diverges for difference in differences)),
        "errors": "0",
        "skipped": str(len(comparison.missing)),
    }
    suite = ET.Element("testsuite", {"name": escape(name), **counts})
    for difference in differences:
        case = ET.SubElement(suite, "testcase", {"classname": escape(name), "name": escape(difference.name)})
        if difference.diverges:
            message = said.get(difference.name, _message(difference))
            failure = ET.SubElement(case, "failure", {"type": "divergence", "message": escape(message)})
            if difference.name in (also or {}):
                failure.text = escape(f"also born here: {(also or {})[difference.name]}")
            if comparison.first is difference:
                failure.text = "\n".join(escape(line) for line in (verdict(comparison), *explanation.splitlines()))
        elif difference.is_island:
            ET.SubElement(case, "system-out").text = escape(said.get(difference.name, ISLAND))
    for missing in comparison.missing:
        case = ET.SubElement(suite, "testcase", {"classname": escape(name), "name": escape(missing)})
        ET.SubElement(case, "skipped", {"message": "missing in MINE"})
    ET.indent(suite)
    document: bytes = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def write_junit(path: str | os.PathLike[str], document: bytes) -> None:
    """Write a report; a file appears whole."""
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe, standard output
            with open(path, "wb") as stream:
                stream.write(document)
        else:
            write_file(path, [document])
    except (OSError, ValueError, WeightsError) as error:
        raise GoldenError(f"{os.fspath(path)!r}: cannot be written ({error}); check --junit") from error


def is_report(path: Path) -> bool:
    """Tell whether a file is a report that `to_junit` made with the usual name."""
    with path.open("rb") as file:
        return _BEGINNING in file.read(200)


def _message(difference: Difference) -> str:
    """Return a failure in one line."""
    where = f"; {difference.whereabouts}" if difference.whereabouts else ""
    return f"max error {difference.max_abs:.3g}, tolerance {difference.tolerance:.3g}{where}"
