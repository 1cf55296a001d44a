"""What a caller may hand over, and how its channel axis is found."""

import numpy as np
import pytest
from PIL import ExifTags, Image

from npconv.errors import ImageError, InputError, NpconvWarning
from npconv.images.decode import convert_to_rgb
from npconv.images.inputs import each_picture, picture_to_array
from npconv.images.settings import Settings

ONE = Settings(image_mean=[0.5], image_std=[0.5])
THREE = Settings()
FIVE = Settings(image_mean=[0.5] * 5, image_std=[0.5] * 5)
ANY = Settings(image_mean=0.5, image_std=0.5)


def ramp(*shape):
    return (np.arange(np.prod(shape)) % 251).astype(np.uint8).reshape(shape)


class TestEachPicture:
    def test_nesting(self):
        a, b, c = (np.full((3, 2, 2), number) for number in range(3))
        assert list(each_picture("a.png")) == ["a.png"]
        for images in ([a, b, c], (a, b, c), [[a, b], [c]], [[a], b, (c,)], np.stack([a, b, c]), [np.stack([a, b]), c]):
            np.testing.assert_array_equal(np.stack(list(each_picture(images))), np.stack([a, b, c]))


class TestArrays:
    @pytest.mark.parametrize(
        ("shape", "settings", "layout"),
        [
            ((3, 5, 7), THREE, "channels_first"),
            ((5, 7, 3), THREE, "channels_last"),
            ((1, 7, 3), THREE, "channels_last"),  # the length of image_mean decides
            ((4, 7, 3), THREE, "channels_last"),
            ((3, 7, 1), THREE, "channels_first"),
            ((3, 5, 7), ANY, "channels_first"),
            ((5, 7, 1), ANY, "channels_last"),
            ((5, 7, 4), ANY, "channels_last"),
            ((5, 7, 9), FIVE, "channels_first"),
            ((9, 7, 5), FIVE, "channels_last"),
            ((9, 7, 1), ONE, "channels_last"),
        ],
    )
    def test_layout(self, shape, settings, layout):
        image = ramp(*shape)
        array, found = picture_to_array(image, settings)
        assert found == layout
        expected = image if layout == "channels_first" else image.transpose(2, 0, 1)
        np.testing.assert_array_equal(array, expected)

    @pytest.mark.parametrize(
        ("shape", "settings"), [((3, 5, 3), THREE), ((1, 5, 4), ANY), ((5, 6, 5), FIVE), ((1, 6, 1), ONE)]
    )
    def test_ambiguous_layout_takes_the_first_axis_and_warns(self, shape, settings):
        with pytest.warns(NpconvWarning, match="both ends of the shape .* could be the channels"):
            array, layout = picture_to_array(ramp(*shape), settings)
        assert layout == "channels_first"
        assert array.shape == shape

    @pytest.mark.parametrize(("given", "shape"), [("channels_first", (3, 5, 3)), ("channels_last", (3, 3, 5))])
    def test_given_layout_is_believed(self, given, shape):
        array, layout = picture_to_array(ramp(3, 5, 3), ANY, given)
        assert layout == given
        assert array.shape == shape

    def test_member_of_an_enumeration_as_layout(self):
        class Last:
            value = "channels_last"

        assert picture_to_array(ramp(4, 5, 3), ANY, Last)[1] == "channels_last"

    @pytest.mark.parametrize("given", [None, "none", "channels_first", "channels_last"])
    def test_grey(self, given):
        image = ramp(4, 5)
        np.testing.assert_array_equal(picture_to_array(image, ONE, given)[0], image[None])
        np.testing.assert_array_equal(picture_to_array(image, THREE, given)[0], np.stack([image] * 3))

    def test_rgba_is_laid_over_white(self):
        image = np.uint8([[[100]], [[0]], [[255]], [[51]]])
        np.testing.assert_array_equal(picture_to_array(image, THREE, "channels_first")[0].ravel(), [224, 204, 255])
        fractions = np.array([0.5, 0, 1, 0.25]).reshape(4, 1, 1)
        np.testing.assert_array_equal(picture_to_array(fractions, THREE, "channels_first")[0].ravel(), [0.875, 0.75, 1])

    def test_rgba_floats_beyond_1(self):
        with pytest.raises(InputError, match=r"expected RGBA floats from 0 to 1, got 2.0 to 2.0"):
            picture_to_array(np.full((4, 2, 2), 2.0), THREE)

    @pytest.mark.parametrize("convert", [None, False])
    def test_without_normalisation_or_with_false_arrays_stay_as_they_are(self, convert):
        settings = Settings(do_normalize=convert is not None, do_convert_rgb=convert)
        for shape in ((1, 5, 6), (4, 5, 6)):
            np.testing.assert_array_equal(picture_to_array(ramp(*shape), settings)[0], ramp(*shape))

    def test_convert_rgb_makes_rgb_whatever_the_mean(self):
        assert picture_to_array(ramp(1, 5, 6), Settings(image_mean=0.5, do_convert_rgb=True))[0].shape == (3, 5, 6)

    @pytest.mark.parametrize(
        ("image", "reason"),
        [
            (ramp(5), r"expected an array of \(H, W\), \(H, W, C\) or \(C, H, W\), none of them 0, got \(5,\)"),
            (ramp(1, 2, 3, 4, 5), "none of them 0"),
            (ramp(3, 0, 4), "none of them 0"),
            (ramp(2, 5, 6), r"expected 1, 3 or 4 channels on the first or last axis, got the shape \(2, 5, 6\)"),
            (np.array([["a", "b"]]), "got <U1"),
            (np.zeros((3, 2, 2), complex), "got complex128"),
            (np.zeros((3, 2, 2), object), "got object"),
            (np.full((3, 2, 2), np.nan), "got NaN or infinity"),
            (np.full((3, 2, 2), -np.inf, np.float16), "got NaN or infinity"),
            (None, "got NoneType"),
            ([[1, 2], [3, 4]], "got list"),
            (7, "got int"),
        ],
    )
    def test_refused(self, image, reason):
        with pytest.raises(InputError, match=reason):
            picture_to_array(image, THREE)

    @pytest.mark.parametrize(
        ("given", "shape"), [("channels", (3, 4, 5)), ("none", (3, 4, 5)), (1, (4, 5)), ("", (4, 5))]
    )
    def test_unknown_layout(self, given, shape):
        with pytest.raises(InputError, match="expected input_data_format 'channels_first', 'channels_last' or"):
            picture_to_array(ramp(*shape), THREE, given)


class TestPictures:
    def test_rgb_is_untouched_and_not_turned(self, photo):
        exif = photo.getexif()
        exif[ExifTags.Base.Orientation] = 6
        for settings in (THREE, ONE, ANY, Settings(do_convert_rgb=False)):
            if settings is not ONE:
                array, layout = picture_to_array(photo, settings)
                assert layout == "channels_last"
                np.testing.assert_array_equal(array, np.asarray(photo).transpose(2, 0, 1))

    @pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"])
    def test_other_modes_become_rgb_for_three_means_and_grey_for_one(self, photo, mode):
        image = photo.convert("L").convert(mode) if mode in ("LA", "I", "F", "I;16") else photo.convert(mode)
        rgb = np.asarray(convert_to_rgb(image))
        np.testing.assert_array_equal(picture_to_array(image, THREE)[0], rgb.transpose(2, 0, 1))
        grey = picture_to_array(image, ONE)[0]
        assert grey.shape == (1, 11, 17)
        np.testing.assert_array_equal(grey[0], np.asarray(Image.fromarray(rgb).convert("L")))

    @pytest.mark.parametrize(
        ("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4), ("CMYK", 4), ("P", 3), ("1", 3), ("I;16", 3)]
    )
    def test_one_number_for_all_channels_keeps_intensities(self, photo, mode, channels):
        image = photo.convert("L").convert(mode) if mode == "I;16" else photo.convert(mode)
        assert picture_to_array(image, ANY)[0].shape == (channels, 11, 17)

    def test_convert_rgb_false_gives_what_numpy_sees(self, photo):
        palette = photo.convert("P")
        array = picture_to_array(palette, Settings(do_convert_rgb=False))[0]
        np.testing.assert_array_equal(array, np.asarray(palette)[None])

    def test_path_and_bytes_are_turned_upright(self, photo, tmp_path):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 3
        path = tmp_path / "photo.png"
        photo.save(path, exif=exif)
        expected = np.asarray(photo)[::-1, ::-1].transpose(2, 0, 1)
        for source in (path, str(path), path.read_bytes()):
            np.testing.assert_array_equal(picture_to_array(source, THREE)[0], expected)

    def test_truncated_picture_that_is_not_yet_loaded(self, photo, tmp_path):
        path = tmp_path / "cut.png"
        photo.resize((200, 200)).save(path)
        path.write_bytes(path.read_bytes()[:300])
        with Image.open(path) as image, pytest.raises(ImageError, match=r"cut\.png: damaged, cannot be decoded"):
            picture_to_array(image, THREE)

    def test_missing_path(self):
        with pytest.raises(ImageError, match=r"nowhere\.png: cannot be opened"):
            picture_to_array("nowhere.png", THREE)
