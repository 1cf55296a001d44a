"""Every public function of the room with arguments of every wrong kind: a result, or an error of this project."""

import io
import itertools
import os
import warnings
from collections import Counter

import numpy as np
import pytest
from PIL import Image

import npconv.images
from npconv.errors import InputError, NpconvError
from npconv.images import ConvNextImageProcessor, center_crop
from npconv.images.folder import natural_key

GOOD = np.arange(3 * 5 * 7, dtype=np.uint8).reshape(3, 5, 7)


class Odd:
    """An object like nothing else, whose text cannot be had."""

    def __repr__(self):
        raise RuntimeError("no text")


#: What stands in the place of a picture, a size, a factor, ...
WRONG = [
    None, True, 0, 1, -1, 10, 2.5, 10**30, -(10**30), float("nan"), float("inf"), 1j, "", "abc", "é\n", b"", b"abc",
    bytearray(b"abc"), [], (), {}, [1], (1, 2), (2, 2), (0, 1), (-1, 5), (1.5, 2), (None, 2), ("a", "b"), (1, 2, 3),
    ((1, 2), 3), [[1], [2, 3]], {"height": 2, "width": 3}, {1, 2}, object(), Odd(), range(2), iter([3, 4]), len, int,
    np.uint8(3), np.float32(2), np.array(3), np.zeros(0), np.zeros(3), np.zeros((0, 2, 2)), np.zeros((2, 2)), GOOD,
    np.zeros((1, 2, 2, 2)), np.zeros((3, 2, 2), complex), np.array([[["a"]]]), np.array([[[None]]], object),
    np.full((3, 2, 2), np.nan), np.zeros((2, 2, 2), bool), np.zeros((3, 2, 2), "M8[s]"), np.zeros(2, "i4,f4"),
    np.ma.masked_all((3, 2, 2)), Image.new("RGB", (2, 3)), Image.new("RGB", (0, 3)), io.BytesIO(b"x"), io.StringIO("x"),
]  # fmt: skip

#: Functions by name: what a right call looks like.
RIGHT = {
    "center_crop": (GOOD, (2, 2), "floor", 0),
    "convert_to_rgb": (Image.new("L", (2, 3)),),
    "normalize": (GOOD, 0.5, [0.5] * 3),
    "open_image": (Image.new("L", (2, 3)),),
    "pictures_in": (os.path.dirname(__file__),),
    "resample_filter": (3,),
    "rescale": (GOOD, 1 / 255),
    "resize": (GOOD, (2, 2), 3, "vertical"),
    "resize_and_crop": (GOOD, 2, 0.875, 3),
    "scale_shortest_edge": (GOOD, 3),
}

#: Methods of a processor, and names of their arguments that are tried one by one.
PREPARING = (
    "do_resize", "size", "crop_pct", "resample", "do_rescale", "rescale_factor", "do_normalize", "image_mean",
    "image_std", "return_tensors", "data_format", "input_data_format", "do_center_crop", "crop_size", "do_convert_rgb",
    "crop_mode", "crop_rounding", "crop_fill", "resize_order",
)  # fmt: skip


def outcome(function, *arguments, **options):
    """Return what a call comes to: its kind, or the error if it is not one of the project's."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            function(*arguments, **options)
        except NpconvError as error:
            assert "\n" not in str(error)  # noqa: PT017 - any of them may come
            return "refused"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return "done"


def check(outcomes):
    raw = {call: came for call, came in outcomes.items() if came not in ("refused", "done")}
    assert [f"{call}: {came}" for call, came in raw.items()] == []
    assert Counter(outcomes.values())["refused"] > 5


def described(value):
    return "Odd" if isinstance(value, Odd) else f"{type(value).__name__} {value!r}"[:60]


def test_every_public_function_is_tried():
    there = {name for name in npconv.images.__all__ if callable(getattr(npconv.images, name))}
    classes = {name for name in there if isinstance(getattr(npconv.images, name), type)}
    assert there - classes == set(RIGHT)


@pytest.mark.parametrize("name", RIGHT)
def test_functions(name):
    function, right = getattr(npconv.images, name), RIGHT[name]
    outcomes = {}
    for place, value in itertools.product(range(len(right)), WRONG):
        arguments = [*right[:place], value, *right[place + 1 :]]
        outcomes[place, described(value)] = outcome(function, *arguments)
    check(outcomes)


def test_functions_in_pairs():
    outcomes = {}
    for name, right in RIGHT.items():
        for first, second in itertools.product(WRONG, WRONG) if len(right) > 1 else ():
            arguments = (first, second, *right[2:])
            outcomes[name, described(first), described(second)] = outcome(getattr(npconv.images, name), *arguments)
    check(outcomes)


@pytest.mark.parametrize("option", PREPARING)
def test_settings_of_a_processor(option):
    outcomes = {}
    for value in WRONG:
        if option not in ("return_tensors", "data_format", "input_data_format"):
            outcomes["init", described(value)] = outcome(ConvNextImageProcessor, **{option: value})
        outcomes["call", described(value)] = outcome(ConvNextImageProcessor(size=8), GOOD, **{option: value})
    check(outcomes)


def test_pictures_of_a_processor():
    processors = [ConvNextImageProcessor(size=8, do_convert_rgb=flag) for flag in (None, True, False)]
    processors.append(ConvNextImageProcessor(do_resize=False, do_rescale=False, do_normalize=False))
    check({(number, described(value)): outcome(p, value) for number, p in enumerate(processors) for value in WRONG})
    check({described(value): outcome(processors[0], [GOOD, value]) for value in WRONG})


def test_files_of_a_processor(tmp_path):
    processor = ConvNextImageProcessor()
    for function in (
        ConvNextImageProcessor.from_pretrained,
        ConvNextImageProcessor.from_dict,
        processor.save_pretrained,
    ):
        tried = [value for value in WRONG if not isinstance(value, str | bytes | int | float)]  # these may be paths
        check({described(value): outcome(function, value) for value in tried})
    check({described(value): outcome(ConvNextImageProcessor(size=224).steps, value, 5) for value in WRONG})
    assert outcome(natural_key, "") == "done"


def test_a_crop_by_one_number_says_what_is_expected():
    with pytest.raises(InputError, match=r"expected \(height, width\) in pixels, both at least 1, got 10"):
        center_crop(GOOD, 10)
    assert center_crop(GOOD, (3, 3)).shape == (3, 3, 3)  # as advised
