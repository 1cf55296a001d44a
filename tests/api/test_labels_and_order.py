"""Small decisions that a sampled mutation found untold: one label, equal scores, sorted keys."""

from __future__ import annotations

import json

import numpy as np
import pytest

from npconv import ConvNextConfig, ConvNextImageProcessor
from npconv.api.classification import best_labels
from npconv.api.loss import image_classification_loss, infer_problem_type
from npconv.golden.formats import to_text


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_the_labels_of_one_number_may_have_an_axis_for_it(shape):
    config = ConvNextConfig(num_labels=1)
    logits, labels = np.array([[1.0], [2.0], [5.0]]), np.array([0.0, 4.0, 5.0])
    assert infer_problem_type(labels, config) == "regression"
    assert image_classification_loss(logits, labels.reshape(shape), config) == (1 + 4 + 0) / 3


def test_several_numbers_are_compared_one_by_one():
    config = ConvNextConfig(num_labels=2, problem_type="regression")
    logits, labels = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 0.0], [3.0, 8.0]])
    assert image_classification_loss(logits, labels, config) == (4 + 16) / 4
    with pytest.raises(ValueError, match=r"."):
        image_classification_loss(logits, labels.reshape(-1), config)


def test_equal_scores_keep_the_order_of_the_classes():
    config = ConvNextConfig(num_labels=200)
    logits = np.zeros(200)
    logits[::7] = 1.0
    best = [answer["label"] for answer in best_labels(logits, config, top_k=200)]
    order = [*range(0, 200, 7), *(n for n in range(200) if n % 7)]
    assert best == [config.id2label[n] for n in order]


def test_what_is_written_has_its_keys_in_order():
    config = ConvNextConfig(id2label={1: "b", 0: "a"}, zebra=1, apple=2)
    processor = ConvNextImageProcessor(size=8, zebra=1, apple=2)
    for text in (config.to_json_string(), processor.to_json_string(), to_text({"b": {"d": 1, "c": 2}, "a": 3})):
        told = json.loads(text, object_pairs_hook=list)
        assert [name for name, _ in told] == sorted(name for name, _ in told)
    assert to_text({"b": {"d": 1, "c": 2}, "a": 3}) == '{"a":3,"b":{"c":2,"d":1}}'
