"""What occlusion takes and gives; that its numbers are right is asked in ``test_page``."""

from __future__ import annotations

import numpy as np
import pytest
from support.builders import BARE_MODELS, CLASSIFIERS, CONFIGS, filled_model, pictures

import npconv
from npconv.pictures import Heatmap, occlusion

X = pictures(batch=1, height=16, width=12)


def test_it_is_a_picture_and_the_same_by_number_and_name_and_with_either_engine():
    model = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"])
    fast = CLASSIFIERS["convnext"](CONFIGS["convnext"], model.state_dict(), engine="fast")
    found = occlusion(model, X, 2)
    assert isinstance(found, Heatmap)
    assert found.shape == (16, 12)
    np.testing.assert_array_equal(occlusion(model, X, "LABEL_2"), found)
    # the engines differ by rounding in float32, which a score of at most 1 shows in its seventh digit
    np.testing.assert_allclose(occlusion(fast, X, 2), found, atol=1e-5)
    likeliest = int(model(X).logits.argmax())
    np.testing.assert_array_equal(occlusion(model, X), occlusion(model, X, likeliest))


@pytest.mark.parametrize("family", CONFIGS)
def test_a_model_without_classes_is_refused(family):
    for model in (BARE_MODELS[family](CONFIGS[family]), None, "convnext"):
        with pytest.raises(npconv.InputError, match=r"expected a classifier with classes, got a .* without"):
            occlusion(model, X)


def test_several_pictures_and_what_is_none_are_refused():
    model = CLASSIFIERS["convnext"](CONFIGS["convnext"])
    with pytest.raises(npconv.InputError, match="expected pixel_values of one picture"):
        occlusion(model, pictures(batch=2), 0)
    with pytest.raises(npconv.InputError, match="expected a NumPy or CuPy array, got NoneType"):
        occlusion(model, None, 0)
