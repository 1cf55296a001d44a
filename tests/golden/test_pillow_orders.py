"""Traces of two versions of Pillow: what differs is named, and each says which versions made it."""

import copy

import numpy as np
import pytest
from PIL import Image

from npconv.golden.compare import compare
from npconv.golden.diagnose import diagnose
from npconv.golden.origin import origin
from npconv.golden.preprocessing import layouts, record_preprocessing
from npconv.golden.report import to_text
from npconv.golden.trace_file import Trace
from npconv.images import ConvNextImageProcessor
from npconv.images.versions import library_versions
from tests.images.test_passes import tall_picture

ORDERS = {"resize-horizontal-first": "horizontal", "resize-vertical-first": "vertical"}


def traced(pillow, order):
    """Return the trace that a version of Pillow leaves of preparing a tall picture."""
    picture = Image.fromarray(np.ascontiguousarray(np.moveaxis(tall_picture(), 0, -1)))
    processor = ConvNextImageProcessor(size=48, crop_pct=0.8, resize_order=order)
    arrays, about = record_preprocessing(processor, picture)
    about["settings"].pop("resize_order")
    versions = {**library_versions(), "pillow": pillow, "resize_order": order}
    found = Trace({"photo": "p", "preprocessing": about, "layouts": layouts(arrays), "versions": versions})
    for name, array in arrays.items():
        found.add(name, array)
    return found


@pytest.mark.parametrize(("mistake", "mine"), ORDERS.items())
@pytest.mark.parametrize("is_old", [False, True], ids=["", "reference without an order"])
def test_diff_says_that_another_pillow_resized(mistake, mine, is_old):
    theirs = "vertical" if mine == "horizontal" else "horizontal"
    reference, port = traced("A.0", theirs), traced("B.0", mine)
    if is_old:  # a trace of npconv 0.1, recorded where Pillow resizes as the reference here
        old = copy.deepcopy(reference.about)
        resized = old["preprocessing"]["steps"]["steps"][0]["attributes"]
        assert resized.pop("order") == theirs
        reference.about = old
    comparison = compare(reference, port)
    assert comparison.first.name == "preprocessing.resized"
    suspects = [suspect for suspect in diagnose(comparison) if suspect.fits]
    assert suspects[0].mistake.name == mistake
    assert suspects[0].residual == 0
    text = " ".join(to_text(comparison, origin(comparison), suspects).split())
    assert "fits another version of Pillow" in text
    assert f"the {mine} pass of resizing comes first" in text
    assert "pillow A.0" in text
    assert "pillow B.0" in text


def test_a_trace_names_the_pass_and_can_be_checked_with_any_pillow():
    for order in ORDERS.values():
        reference = traced("A.0", order)
        assert reference.about["preprocessing"]["steps"]["steps"][0]["attributes"]["order"] == order
        assert compare(reference, traced("A.0", order)).first is None


def test_all_that_makes_numbers_is_named():
    versions = library_versions()
    assert {"npconv", "numpy", "blas", "scipy", "pillow", "resize_order"} <= set(versions)
    assert any(name.startswith("libjpeg") for name in versions)
    assert all(isinstance(version, str) and version for version in versions.values())
