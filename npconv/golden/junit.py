"""A comparison as a JUnit report, which every CI system shows: each tensor is a test."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET

from npconv.errors import GoldenError
from npconv.golden.compare import Comparison, Difference
from npconv.golden.report import verdict
from npconv.messages import escape


def to_junit(comparison: Comparison, explanation: str = "", *, name: str = "npconv diff") -> bytes:
    """Return the report as XML.

    The explanation of the first divergence stands in that test's failure; `name` is that of the suite and of its tests'
    class.
    """
    counts = {
        "tests": str(len(comparison.differences) + len(comparison.missing)),
        "failures": str(sum(difference.diverges for difference in comparison.differences)),
        "errors": "0",
        "skipped": str(len(comparison.missing)),
    }
    suite = ET.Element("testsuite", {"name": escape(name), **counts})
    for difference in comparison.differences:
        case = ET.SubElement(suite, "testcase", {"classname": escape(name), "name": escape(difference.name)})
        if difference.diverges:
            failure = ET.SubElement(case, "failure", {"type": "divergence", "message": escape(_message(difference))})
            if comparison.first is difference:
                failure.text = "\n".join(escape(line) for line in (verdict(comparison), *explanation.splitlines()))
    for missing in comparison.missing:
        case = ET.SubElement(suite, "testcase", {"classname": escape(name), "name": escape(missing)})
        ET.SubElement(case, "skipped", {"message": "missing in MINE"})
    ET.indent(suite)
    document: bytes = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def write_junit(path: str | os.PathLike[str], document: bytes) -> None:
    """Write a report."""
    try:
        with open(path, "wb") as file:
            file.write(document)
    except (OSError, ValueError) as error:
        raise GoldenError(f"{os.fspath(path)!r}: cannot be written ({error}); check --junit") from error


def _message(difference: Difference) -> str:
    """Return a failure in one line."""
    where = f"; {difference.whereabouts}" if difference.whereabouts else ""
    return f"max error {difference.max_abs:.3g}, tolerance {difference.tolerance:.3g}{where}"
