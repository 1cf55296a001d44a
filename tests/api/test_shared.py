"""A classifier that gives parts of a batch to workers."""

from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import numpy as np
import pytest
from support.builders import CLASSIFIERS, CONFIGS, filled_model, pictures

import npconv
from npconv.api.shared import SharedClassifier


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"]).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_parts_of_a_batch_are_put_together(folder, batch, shared):
    x = pictures(batch)
    expected = npconv.AutoModelForImageClassification.from_pretrained(folder)(x).logits
    # float32 in another order of sums; logits are a few units large
    np.testing.assert_allclose(shared(x), expected, atol=1e-4)


@pytest.fixture(scope="module")
def shared(folder):
    with SharedClassifier(folder, workers=2) as classifier:
        yield classifier


def test_inputs_are_checked(shared, folder):
    with pytest.raises(npconv.InputError, match="floating-point"):
        shared(np.zeros((2, 3, 21, 17), np.uint8))
    with pytest.raises(npconv.InputError):
        shared(pictures(2, channels=5))
    with ThreadPoolExecutor(1) as executor:
        with SharedClassifier(folder, workers=executor) as other:
            assert other(pictures(2)).shape == (2, 4)
        assert executor.submit(int, "3").result() == 3  # the caller's own executor is not shut down


def test_an_executor_that_does_not_say_how_many_workers_it_has_gets_the_whole_batch(folder):
    with ThreadPoolExecutor(2) as executor, mock.patch.object(executor, "submit", wraps=executor.submit) as submit:
        with SharedClassifier(folder, workers=executor) as other:
            assert other(pictures(3)).shape == (3, 4)
        (_, _, part) = submit.call_args.args
        assert (submit.call_count, part.shape[0]) == (1, 3)
        executor.workers = 2
        with SharedClassifier(folder, workers=executor) as other:
            assert other(pictures(3)).shape == (3, 4)
        assert [len(call.args[2]) for call in submit.call_args_list[1:]] == [2, 1]
