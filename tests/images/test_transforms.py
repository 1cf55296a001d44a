"""Each transform against hand-computed values or a naive twin."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from npconv.errors import ImageError, InputError
from npconv.images.transforms import (
    center_crop,
    holds_fractions,
    normalize,
    resample_filter,
    rescale,
    resize,
    resize_and_crop,
    scale_shortest_edge,
    size_for_crop,
)

# uint8 after resizing to a shorter edge of int(4 / 0.7) and cropping 4 x 4, by filter, for the picture of conftest.py:
# what ConvNextImageProcessorPil of transformers 5.23 gives with Pillow 13.0.
GOLDEN_4X4 = {
    0: "1821272d363f454b545d6369727b81875e1bdfdb9c591d19da975b5718d59995ffff00ff0000ff000000ff00ffff00ff",
    1: "121a2128323a4148545c636a767e858c639f978e9c788a7ba2669485618e7074978267a2787f8774747e8c6e958269a0",
    2: "151d242b323a4148545c636a767e858c65939a8b927985809b778b8b6f8a787098865fac797e8874757d8e6c948564a5",
    3: "131b2229323a4148545c636a767e858c639b978d9a75897ea06e9189659070709c865bb2777e8b70727d91679a855eae",
    4: "111920282f373e46545c636b7a82899154a67f9692649294a671997657bf586faa8055ff8080808071808e55aa8055ff",
    5: "131b2229333b4249545c636a757d848b5e9799919b688382a3768e8a5d9f6e6aab8945d2717c9364687a9f53a98947cf",
}

KERNELS = {
    "box": (0.5, lambda x: float(-0.5 < x <= 0.5)),
    "bilinear": (1, lambda x: max(1 - abs(x), 0)),
    "hamming": (1, lambda x: np.sinc(x) * (0.54 + 0.46 * math.cos(math.pi * x)) if abs(x) < 1 else 0),
    "bicubic": (
        2,
        lambda x: (
            1.5 * abs(x) ** 3 - 2.5 * x * x + 1
            if abs(x) < 1
            else -0.5 * abs(x) ** 3 + 2.5 * x * x - 4 * abs(x) + 2
            if abs(x) < 2
            else 0
        ),
    ),
    "lanczos": (3, lambda x: np.sinc(x) * np.sinc(x / 3) if abs(x) < 3 else 0),
}


def resize_axis_naively(image, length, name):
    """Weigh the pixels around each new one by the kernel, stretched when shrinking; round to uint8. Last axis."""
    support, kernel = KERNELS[name]
    scale = image.shape[-1] / length
    stretch = max(scale, 1)
    columns = []
    for new in range(length):
        centre = (new + 0.5) * scale
        first = max(int(centre - support * stretch + 0.5), 0)
        last = min(int(centre + support * stretch + 0.5), image.shape[-1])
        weights = np.array([kernel((x - centre + 0.5) / stretch) for x in range(first, last)])
        columns.append(image[..., first:last] @ (weights / weights.sum()))
    return np.clip(np.floor(np.stack(columns, axis=-1) + 0.5), 0, 255)


class TestResize:
    @pytest.mark.parametrize("name", KERNELS)
    @pytest.mark.parametrize("size", [(5, 7), (23, 31), (11, 40), (30, 17), (1, 1)])
    def test_naive_twin(self, pixels, name, size):
        across = resize_axis_naively(pixels, size[1], name)
        expected = resize_axis_naively(across.swapaxes(1, 2), size[0], name).swapaxes(1, 2)
        resized = resize(pixels, size, name)
        assert resized.dtype == np.uint8
        # Pillow's weights are rounded to 22 bits, so that a value near a half may round the other way, once an axis
        assert np.abs(resized - expected).max() <= 1
        assert (resized != expected).mean() < 0.02

    def test_nearest_takes_the_pixel_under_the_new_centre(self, pixels):
        rows = [int((row + 0.5) * 11 / 4) for row in range(4)]
        columns = [int((column + 0.5) * 17 / 29) for column in range(29)]
        np.testing.assert_array_equal(resize(pixels, (4, 29), 0), pixels[:, rows][:, :, columns])

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64, np.uint16, np.int16])
    def test_whole_numbers_of_any_dtype(self, pixels, dtype):
        resized = resize(pixels.astype(dtype), (5, 4), 3)
        assert resized.dtype == np.uint8
        np.testing.assert_array_equal(resized, resize(pixels, (5, 4), 3))

    def test_floats_from_0_to_1_pass_through_uint8(self):
        image = np.array([[[0.0, 0.5, 0.999, 1.0]]])
        expected = np.float32([[[0, 127 / 255, 254 / 255, 1]]])  # cut, not rounded
        resized = resize(image, (1, 4), 3)
        assert resized.dtype == np.float32
        np.testing.assert_array_equal(resized, expected)

    def test_float_zeros_and_ones_count_as_whole_numbers(self):
        image = np.array([[[0.0, 1.0, 1.0]]])
        np.testing.assert_array_equal(resize(image, (1, 3), 0), np.uint8([[[0, 1, 1]]]))
        assert not holds_fractions(image)

    @pytest.mark.parametrize("channels", [5, 6, 9])
    def test_many_channels_are_resized_one_by_one(self, channels):
        image = np.random.default_rng(3).integers(0, 256, (channels, 6, 9), dtype=np.uint8)
        resized = resize(image, (4, 5), 3)
        for channel in range(channels):
            np.testing.assert_array_equal(
                resized[channel : channel + 1], resize(image[channel : channel + 1], (4, 5), 3)
            )

    def test_four_channels_are_weighted_with_the_last(self):
        image = np.zeros((4, 1, 2), dtype=np.uint8)
        image[:, 0, 1] = (200, 100, 50, 255)  # opaque beside transparent: the colour must not darken
        resized = resize(image, (1, 1), "box")[:, 0, 0]
        np.testing.assert_allclose(resized, [200, 100, 50, 128], atol=1)  # premultiplied by 128 / 255 in 8 bits

    def test_leaves_its_input_alone_and_takes_read_only_views(self, pixels):
        view = pixels[:, ::2, ::-1]
        view.flags.writeable = False
        before = view.copy()
        resize(view, (3, 3), 3)
        np.testing.assert_array_equal(view, before)

    @pytest.mark.parametrize(
        ("image", "reason"),
        [
            (np.full((3, 2, 2), -1), "got -1 to -1"),
            (np.full((3, 2, 2), 256), "got 256 to 256"),
            (np.full((3, 2, 2), np.nan), "got nan to nan"),
            (np.full((3, 2, 2), np.inf), "got inf to inf"),
            (np.full((3, 2, 2), 1.5), "got fractions up to 1.5"),
            (np.zeros((2, 2), np.uint8), r"shape \(C, H, W\), none zero, got uint8 \(2, 2\)"),
            (np.zeros((3, 0, 2)), "none zero"),
            (np.zeros((3, 2, 2), complex), "got complex128"),
            ([[1]], "got list"),
        ],
    )
    def test_bad_values(self, image, reason):
        with pytest.raises(InputError, match=reason):
            resize(image, (2, 2), 3)

    @pytest.mark.parametrize("size", [(0, 2), (2, -1), (2.0, 2), (3,), (1, 2, 3)])
    def test_bad_size(self, pixels, size):
        with pytest.raises(InputError, match=r"expected \(height, width\) in pixels"):
            resize(pixels, size, 3)

    @pytest.mark.parametrize(("shape", "size"), [((3, 4, 4), (10**5, 10**5)), ((1, 500_000, 1), (384, 384))])
    def test_what_would_not_fit_in_memory(self, shape, size):
        with pytest.raises(ImageError, match="more than the limit of 89478485"):
            resize(np.zeros(shape, np.uint8), size, 3)


class TestResampleFilter:
    @pytest.mark.parametrize("filter_", list(Image.Resampling))
    def test_number_name_and_member(self, filter_):
        for resample in (filter_, filter_.value, np.int64(filter_.value), filter_.name, filter_.name.lower()):
            assert resample_filter(resample) is filter_

    @pytest.mark.parametrize("resample", [99, -1, "cubic", None, True, 3.5, [3]])
    def test_other_values(self, resample):
        with pytest.raises(InputError, match="one of 0 nearest, 1 lanczos, 2 bilinear, 3 bicubic, 4 box, 5 hamming"):
            resample_filter(resample)


class TestCenterCrop:
    def test_cuts_the_middle_and_gives_the_odd_pixel_to_the_end(self):
        image = np.arange(2 * 5 * 4).reshape(2, 5, 4)
        np.testing.assert_array_equal(center_crop(image, (2, 3)), image[:, 1:3, 0:3])

    def test_borders_a_small_picture_and_gives_the_odd_pixel_to_the_start(self):
        image = np.array([[[1, 2], [3, 4]]])
        np.testing.assert_array_equal(center_crop(image, (3, 5)), [[[0, 0, 0, 0, 0], [0, 0, 1, 2, 0], [0, 0, 3, 4, 0]]])

    @pytest.mark.parametrize(("length", "floor", "half_even"), [(5, 0, 0), (7, 1, 2), (9, 2, 2), (11, 3, 4), (8, 2, 2)])
    def test_where_an_odd_pixel_goes(self, length, floor, half_even):
        image = np.arange(length, dtype=float).reshape(1, 1, length)
        for rounding, first in (("floor", floor), ("half_even", half_even)):
            assert center_crop(image, (1, 4), rounding).tolist() == [[[*range(first, first + 4)]]]

    @pytest.mark.parametrize(("rounding", "above"), [("floor", 2), ("half_even", 1)])
    def test_where_an_odd_pixel_of_the_border_goes(self, rounding, above):
        found = center_crop(np.ones((2, 2, 2)), (5, 5), rounding, [3.0, 4.0])
        for channel, fill in zip(found, (3.0, 4.0), strict=True):
            expected = np.full((5, 5), fill)
            expected[above : above + 2, above : above + 2] = 1
            np.testing.assert_array_equal(channel, expected)

    def test_cuts_one_axis_and_borders_the_other(self):
        image = np.array([[[1, 2, 3, 4, 5]]])
        np.testing.assert_array_equal(center_crop(image, (2, 2)), [[[0, 0], [2, 3]]])

    @settings(deadline=None)
    @given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
    def test_keeps_dtype_and_as_many_pixels_as_fit(self, height, width, crop_height, crop_width):
        cropped = center_crop(np.ones((2, height, width), np.float16), (crop_height, crop_width))
        assert cropped.dtype == np.float16
        assert cropped.shape == (2, crop_height, crop_width)
        assert cropped.sum() == 2 * min(height, crop_height) * min(width, crop_width)

    def test_too_large(self, pixels):
        with pytest.raises(ImageError, match="the crop: 100000 x 1000 pixels, more than the limit"):
            center_crop(pixels, (100_000, 1000))


class TestScaleShortestEdge:
    @pytest.mark.parametrize(
        ("height", "width", "edge", "expected"),
        [
            (480, 640, 256, (256, 341)),
            (640, 480, 256.9, (341, 256)),
            (7, 7, 3, (3, 3)),
            (1, 9, 2, (2, 18)),
            (9, 1, 1, (9, 1)),
        ],
    )
    def test_sizes(self, height, width, edge, expected):
        assert scale_shortest_edge(np.zeros((1, height, width)), edge) == expected

    @pytest.mark.parametrize("edge", [0, 0.99, -3, math.nan])
    def test_edge_below_one_pixel(self, pixels, edge):
        with pytest.raises(InputError, match="at least 1 pixel"):
            scale_shortest_edge(pixels, edge)

    @pytest.mark.parametrize("edge", [256, 1e300, math.inf])
    def test_sliver_that_would_become_enormous(self, edge):
        with pytest.raises(ImageError, match="a 1 x 100000 picture resized to a shortest edge of"):
            scale_shortest_edge(np.zeros((1, 1, 100_000), np.uint8), edge)


class TestSizeForCrop:
    @pytest.mark.parametrize(
        ("mode", "shape", "target", "crop_pct", "expected"),
        [
            ("squash", (100, 200), (224, 112), 0.875, (256, 128)),
            ("squash", (100, 200), (224, 224), 0.9, (248, 248)),
            ("squash", (9, 9), (1, 1), 1.0, (1, 1)),
            ("center", (300, 401), (224, 224), 0.875, (256, 342)),
            ("center", (401, 300), (224, 224), 0.875, (342, 256)),
            ("center", (99, 200), (60, 80), 1.0, (60, 121)),
            ("center", (200, 99), (60, 80), 1.0, (162, 80)),
            ("border", (100, 200), (60, 80), 1.0, (40, 80)),
            ("border", (200, 99), (60, 80), 1.0, (60, 30)),
            ("border", (100, 200), (64, 64), 0.5, (64, 128)),
            ("border", (9, 1000), (64, 64), 1.0, (1, 64)),
        ],
    )
    def test_sizes(self, mode, shape, target, crop_pct, expected):
        assert size_for_crop(mode, shape, target, crop_pct) == expected

    def test_an_edge_that_would_vanish(self):
        with pytest.raises(ImageError, match="a 7 x 1000 picture within 64 x 64: its shorter edge would vanish"):
            size_for_crop("border", (7, 1000), (64, 64), 1.0)

    def test_a_size_below_one_pixel(self):
        with pytest.raises(InputError, match=r"expected a size of at least 1 pixel, got 0\.64; lower crop_pct"):
            size_for_crop("squash", (9, 9), (64, 128), 100.0)

    @pytest.mark.parametrize("mode", ["squash", "center", "border"])
    def test_a_size_that_would_be_enormous(self, mode):
        with pytest.raises(ImageError, match="a 9 x 9 picture resized to "):
            size_for_crop(mode, (9, 9), (224, 224), 1e-9)


class TestResizeAndCrop:
    @pytest.mark.parametrize("resample", GOLDEN_4X4)
    def test_golden(self, pixels, resample):
        result = resize_and_crop(pixels, 4, 0.7, resample)
        assert (result.shape, result.dtype) == ((3, 4, 4), np.uint8)
        assert np.ascontiguousarray(result).tobytes().hex() == GOLDEN_4X4[resample]

    def test_below_384_keeps_the_aspect_and_crops(self):
        image = np.zeros((1, 100, 300), np.uint8)
        image[:, :, 100:200] = 255  # the middle third becomes the whole crop
        assert (resize_and_crop(image, 383, 1.0, 0) == 255).all()

    def test_from_384_warps_and_ignores_crop_pct(self, pixels):
        np.testing.assert_array_equal(resize_and_crop(pixels, 384, 0.1, 2), resize(pixels, (384, 384), 2))

    def test_crop_pct_above_1_leaves_a_black_border(self):
        result = resize_and_crop(np.full((1, 10, 10), 9, np.uint8), 8, 2.0, 3)
        expected = np.zeros((1, 8, 8))
        expected[:, 2:6, 2:6] = 9
        np.testing.assert_array_equal(result, expected)

    @pytest.mark.parametrize("crop_pct", [0, -0.5, math.nan])
    def test_bad_crop_pct(self, pixels, crop_pct):
        with pytest.raises(InputError, match="expected a crop_pct above 0"):
            resize_and_crop(pixels, 4, crop_pct, 3)


class TestRescale:
    @pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64, np.float16])
    def test_product_in_float64_rounded_once(self, dtype):
        image = np.arange(256, dtype=dtype).reshape(1, 16, 16)
        rescaled = rescale(image, 1 / 255)
        assert rescaled.dtype == np.float32
        np.testing.assert_array_equal(rescaled.ravel(), [np.float32(value * (1 / 255)) for value in range(256)])

    def test_leaves_its_input_alone(self):
        image = np.ones((1, 2, 2))
        rescale(image, 3)
        assert (image == 1).all()


class TestNormalize:
    def test_by_hand(self):
        image = np.array([[[0.5]], [[0.25]], [[1.0]]], dtype=np.float32)
        result = normalize(image, [0.5, 0.5, 0.0], [0.25, 0.5, 2.0])
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result.ravel(), [0, -0.5, 0.5])

    def test_one_number_for_all_channels(self):
        np.testing.assert_array_equal(normalize(np.full((5, 1, 1), 4, np.uint8), 2, 0.5), np.full((5, 1, 1), 4.0))

    @pytest.mark.parametrize(
        ("dtype", "expected"), [(np.uint8, np.float32), (np.float16, np.float16), (np.float64, np.float64)]
    )
    def test_dtype(self, pixels, dtype, expected):
        assert normalize(pixels.astype(dtype), 1, 2).dtype == expected

    @pytest.mark.parametrize(("mean", "std"), [([1, 2], 1), (0, [1, 2, 3, 4]), ([1], 1)])
    def test_wrong_length(self, pixels, mean, std):
        with pytest.raises(InputError, match="of 3 entries for a picture of 3 channels, got"):
            normalize(pixels, mean, std)

    @pytest.mark.parametrize("std", [0, [1, 0, 1], 1e-60])
    def test_zero_std(self, pixels, std):
        with pytest.raises(InputError, match="expected a std without zeros in float32"):
            normalize(pixels, 0, std)
