"""The processor: arguments, results, refusals and files."""

import json
from enum import Enum

import numpy as np
import pytest
from PIL import Image

import npconv
from npconv.errors import ConfigError, ImageError, InputError, ModelNotFoundError, NpconvWarning
from npconv.images import ConvNextFeatureExtractor, ConvNextImageProcessor, resize_and_crop

# size=2, crop_pct=0.7 and the class defaults on the picture of conftest.py, as float32 by ConvNextImageProcessorPil of
# transformers 5.23 with Pillow 13.0.
GOLDEN_2X2 = "a8a727bf868505bff0f070bda098983d888888bdb0a8a83d00f1703dc0a0a03ca0a0a0bc0081803b808080bb0081803b"


class TestPreprocess:
    def test_golden(self, photo):
        pixel_values = ConvNextImageProcessor(size=2, crop_pct=0.7)(photo).pixel_values
        assert (pixel_values.shape, pixel_values.dtype) == ((1, 3, 2, 2), np.float32)
        assert pixel_values.astype("<f4").tobytes().hex() == GOLDEN_2X2

    def test_by_hand(self):
        image = Image.new("RGB", (500, 400), (255, 0, 51))
        pixel_values = ConvNextImageProcessor(image_mean=[0.5, 0.5, 0], image_std=[0.5, 0.25, 1])(image)["pixel_values"]
        assert pixel_values.shape == (1, 3, 384, 384)
        for channel, value in enumerate((1, -2, np.float32(51 / 255))):
            assert (pixel_values[0, channel] == value).all()

    @pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK", "YCbCr"])
    @pytest.mark.parametrize(
        "settings",
        [
            {"size": 20},
            {"size": 384, "resample": "bilinear"},
            {"size": 20, "resize_order": "vertical"},
            {"size": {"height": 20, "width": 9}, "crop_mode": "squash", "crop_pct": 1, "resize_order": "horizontal"},
            {"do_resize": False},
        ],
    )
    def test_a_picture_comes_out_as_its_array(self, mode, settings):
        """Those of some modes are resized without an array between."""
        values = np.random.default_rng(0).integers(0, 256, (90, 30, 4), np.uint8)
        picture = Image.fromarray(values).convert("RGB").convert(mode)
        if mode in ("LA", "RGBA"):
            picture.putalpha(Image.fromarray(values[..., 3]))
        processor = ConvNextImageProcessor(do_convert_rgb=False, do_normalize=False, **settings)
        of_array = processor(np.asarray(picture), input_data_format="none" if mode == "L" else "channels_last")
        np.testing.assert_array_equal(processor(picture).pixel_values, of_array.pixel_values)

    def test_every_argument_overrides_and_none_does_not(self, photo):
        own = {
            "do_resize": True,
            "size": {"shortest_edge": 8},
            "crop_pct": 0.9,
            "resample": 2,
            "do_rescale": True,
            "rescale_factor": 0.5,
            "do_normalize": True,
            "image_mean": [1, 2, 3],
            "image_std": [4, 5, 6],
            "do_center_crop": True,
            "crop_size": {"height": 5, "width": 6},
            "do_convert_rgb": True,
        }
        other = {
            "do_resize": False,
            "size": 7,
            "crop_pct": 0.5,
            "resample": "box",
            "do_rescale": False,
            "rescale_factor": 2,
            "do_normalize": False,
            "image_mean": 9,
            "image_std": 8,
            "do_center_crop": False,
            "crop_size": 3,
        }
        processor = ConvNextImageProcessor(**own)
        before = processor.to_dict()
        expected = processor(photo).pixel_values
        assert expected.shape == (1, 3, 5, 6)
        np.testing.assert_array_equal(processor(photo, **dict.fromkeys(own)).pixel_values, expected)
        for name, value in other.items():
            overridden = processor(photo, **{name: value}).pixel_values
            assert not np.array_equal(overridden, expected), name
            twin = ConvNextImageProcessor(**{**own, name: value})
            np.testing.assert_array_equal(overridden, twin(photo).pixel_values)
        assert processor.to_dict() == before

    def test_documented_order_of_positional_arguments(self, photo):
        given = (True, {"shortest_edge": 6}, 0.8, 2, True, 0.01, True, [0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
        expected = ConvNextImageProcessor(*given)(photo).pixel_values
        again = ConvNextImageProcessor().preprocess(photo, *given, "np", "channels_last", None).pixel_values
        np.testing.assert_array_equal(again.transpose(0, 3, 1, 2), expected)

    def test_changed_attributes_count(self, photo):
        processor = ConvNextImageProcessor()
        processor.size = 6
        processor.do_normalize = False
        assert processor(photo).pixel_values.shape == (1, 3, 6, 6)
        assert processor.to_dict()["size"] == {"shortest_edge": 6}

    def test_batches(self, photo, pixels, tmp_path):
        photo.save(tmp_path / "photo.png")
        processor = ConvNextImageProcessor(size=6)
        one = processor(photo).pixel_values
        for images in (
            [photo, pixels],
            (tmp_path / "photo.png", pixels.transpose(1, 2, 0)),
            np.stack([pixels, pixels]),
        ):
            np.testing.assert_array_equal(processor(images).pixel_values, np.concatenate([one, one]))

    def test_unset_stacks_one_shape_and_lists_several(self, pixels):
        processor = ConvNextImageProcessor(do_resize=False)
        several = [pixels, pixels[:, 1:]]
        result = processor(several).pixel_values
        assert [array.shape for array in result] == [(3, 11, 17), (3, 10, 17)]
        assert processor([pixels, pixels]).pixel_values.shape == (2, 3, 11, 17)
        with pytest.raises(InputError, match=r"expected pictures of one shape .* got \(3, 10, 17\) and \(3, 11, 17\)"):
            processor(several, return_tensors="np")

    def test_result_owns_writable_contiguous_memory(self, pixels):
        for arguments in ({}, {"do_rescale": False, "do_normalize": False, "do_resize": False}):
            result = ConvNextImageProcessor(size=6)(pixels, **arguments).pixel_values
            assert result.flags.c_contiguous
            result[...] = 0
        assert pixels.any()

    @pytest.mark.parametrize(
        ("arguments", "dtype"),
        [
            ({}, np.float32),
            ({"do_rescale": False}, np.float32),
            ({"do_normalize": False}, np.float32),
            ({"do_rescale": False, "do_normalize": False}, np.uint8),
        ],
    )
    def test_dtype(self, pixels, arguments, dtype):
        for image in (pixels, pixels.astype(np.float64)):
            assert ConvNextImageProcessor(size=6, **arguments)(image).pixel_values.dtype == dtype

    def test_data_format(self, photo, pixels):
        processor = ConvNextImageProcessor(size=6)
        first = processor(photo).pixel_values
        last = first.transpose(0, 2, 3, 1)

        class Last(str, Enum):
            LAST = "channels_last"

        np.testing.assert_array_equal(processor(photo, data_format="channels_last").pixel_values, last)
        np.testing.assert_array_equal(processor(pixels, data_format=Last.LAST).pixel_values, last)
        np.testing.assert_array_equal(processor(photo, data_format=None).pixel_values, last)
        np.testing.assert_array_equal(processor(pixels, data_format=None).pixel_values, first)

    @pytest.mark.parametrize("channels", [1, 2, 5])
    def test_models_of_other_channel_counts(self, channels):
        image = np.random.default_rng(5).integers(0, 256, (channels, 9, 13), dtype=np.uint8)
        mean = [0.1 * (channel + 1) for channel in range(channels)]
        processor = ConvNextImageProcessor(size=6, image_mean=mean, image_std=[0.5] * channels)
        resized = resize_and_crop(image, 6, 0.875, 3).astype(np.float32)
        expected = (resized / np.float32(255) - np.float32(mean)[:, None, None]) / np.float32(0.5)
        for twin in (image, image.transpose(1, 2, 0)):
            # float32 division instead of one float64 product: one rounding of a value below 4
            np.testing.assert_allclose(processor(twin).pixel_values[0], expected, atol=1e-6)

    def test_center_crop(self, pixels):
        arguments = {"do_resize": False, "do_rescale": False, "do_normalize": False, "do_center_crop": True}
        result = ConvNextImageProcessor(**arguments)(pixels, crop_size={"height": 5, "width": 8}).pixel_values
        np.testing.assert_array_equal(result[0], pixels[:, 3:8, 4:12])

    def test_arguments_without_effect(self, photo):
        processor = ConvNextImageProcessor(size=6)
        ignored = {"device": "cpu", "disable_grouping": True, "do_pad": True, "default_to_square": True}
        np.testing.assert_array_equal(processor(photo, **ignored).pixel_values, processor(photo).pixel_values)

    @pytest.mark.parametrize("fill", [7, [0, 0, 7]])
    def test_a_border_of_bytes_around_shares_of_1_is_refused(self, pixels, fill):
        shares = (pixels / 255.0).astype(np.float32)
        processor = ConvNextImageProcessor(size=24, do_rescale=False, crop_fill=fill)
        with pytest.raises(InputError, match="expected values from 0 to 255 with a crop_fill, got floats up to 1"):
            processor(shares)
        for other, filled in ((shares, 0), (shares, [0, 0, 0]), (pixels, fill), (np.float32(pixels), fill)):
            ConvNextImageProcessor(size=24, do_rescale=False, crop_fill=filled)(other)

    def test_already_scaled_values_warn(self, pixels):
        fractions = pixels / 255
        processor = ConvNextImageProcessor(size=6)
        with pytest.warns(NpconvWarning, match="0 to 1 already and will be rescaled once more; set do_rescale=False"):
            processor(fractions)
        result = processor(fractions, do_rescale=False).pixel_values
        # resized in uint8 after cutting, where pixels / 255 * 255 may come out one lower
        np.testing.assert_allclose(result, processor(pixels).pixel_values, atol=2 * 2 / 255)


class TestRefused:
    @pytest.mark.parametrize("framework", ["torch", "numpy", "PT", True, 3, ["pt"]])
    def test_unknown_tensors(self, photo, framework):
        with pytest.raises(InputError, match=r"expected return_tensors to be one of 'pt', 'tf', 'np', 'jax', 'mlx'"):
            ConvNextImageProcessor()(photo, return_tensors=framework)

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            ({"data_format": "last"}, "expected data_format 'channels_first' or 'channels_last', got 'last'"),
            ({"sizes": 3, "crop": 1}, "expected settings .*, got crop, sizes"),
            ({"size": {"height": 3, "width": 3}}, "expected a size such as 224"),
            ({"image_mean": [0.5, 0.5]}, "expected a mean of 3 entries for a picture of 3 channels, got 2"),
            ({"image_std": [0.5] * 4}, "expected a std of 3 entries for a picture of 3 channels, got 4"),
            ({"rescale_factor": 1e300}, "the values overflow"),
            ({"image_std": 1e-44, "image_mean": 1e30}, "the values overflow"),
            ({"size": 1, "crop_pct": 2}, "at least 1 pixel"),
        ],
    )
    def test_arguments(self, photo, arguments, reason):
        with pytest.raises(InputError, match=reason):
            ConvNextImageProcessor(size=6)(photo, **arguments)

    @pytest.mark.parametrize(
        ("image", "reason"),
        [
            (np.full((3, 4, 4), 256), "got 256 to 256"),
            (np.full((3, 4, 4), 2.5), "got fractions up to 2.5"),
            (np.full((3, 4, 4), np.nan), "got NaN or infinity"),
            ([], "expected at least one picture, got none"),
            ([(), []], "expected at least one picture, got none"),
            (np.zeros((0, 3, 4, 4), np.uint8), "expected at least one picture, got none"),
            ([[None]], "got NoneType"),
        ],
    )
    def test_pictures(self, image, reason):
        with pytest.raises(InputError, match=reason):
            ConvNextImageProcessor(size=6)(image)

    @pytest.mark.parametrize(
        ("shape", "arguments"),
        [
            ((3, 1, 100_000), {"size": 256}),
            ((3, 4, 4), {"size": 224, "crop_pct": 1e-9}),
            ((3, 4, 4), {"size": 224, "crop_pct": 5e-324}),
            ((3, 4, 4), {"size": 89_000_000}),
            ((3, 4, 4), {"size": 4, "do_center_crop": True, "crop_size": 30_000}),
            ((1, 1_000_000, 1), {"size": 384, "image_mean": 0}),
        ],
    )
    def test_sizes_that_would_not_fit_in_memory(self, shape, arguments):
        with pytest.raises(ImageError, match="more than the limit of 89478485"):
            ConvNextImageProcessor(**arguments)(np.zeros(shape, np.uint8), input_data_format="channels_first")


class TestFiles:
    def test_published_forms_load(self, tmp_path, published):
        file = tmp_path / "preprocessor_config.json"
        file.write_text(json.dumps(published))
        for path in (tmp_path, str(tmp_path), file):
            processor = ConvNextImageProcessor.from_pretrained(path)
            assert processor.size == {"shortest_edge": 224 if published["crop_pct"] else 384}
            assert processor.crop_pct == 0.875
            assert processor.resample == published["resample"]
            assert processor.image_mean == (0.485, 0.456, 0.406)
            assert processor.to_dict()["image_processor_type"] == "ConvNextImageProcessor"

    def test_overrides(self, tmp_path):
        ConvNextImageProcessor(size=224, crop_pct=0.9).save_pretrained(tmp_path)
        processor = ConvNextImageProcessor.from_pretrained(tmp_path, size=192, crop_pct=None, use_fast=False)
        assert (processor.size, processor.crop_pct) == ({"shortest_edge": 192}, 0.9)
        with pytest.raises(InputError, match=r"unknown argument 'crop_percent'; .*mean 'crop_pct'"):
            ConvNextImageProcessor.from_pretrained(tmp_path, crop_percent=0.9)

    def test_round_trip_with_unknown_fields(self, tmp_path):
        config = {
            "default_to_square": False,
            "crop_size": None,
            "note": {"by": ["me", 1]},
            "images": "x",
            "size": {"shortest_edge": 9},
        }
        processor = ConvNextImageProcessor.from_dict(config)
        assert processor.other_fields["note"] == {"by": ["me", 1]}
        (written,) = processor.save_pretrained(tmp_path / "new" / "directory")
        with open(written, encoding="utf-8") as file:
            again = json.load(file)
        assert again["note"] == {"by": ["me", 1]}
        assert again["images"] == "x"
        assert again["default_to_square"] is False
        assert again["size"] == {"shortest_edge": 9}
        assert ConvNextImageProcessor.from_pretrained(written).to_dict() == processor.to_dict()
        assert json.loads(processor.to_json_string()) == again
        assert "note" in repr(processor)

    @pytest.mark.parametrize("name", ["", "Fast", "Pil"])
    def test_type_names(self, name):
        ConvNextImageProcessor.from_dict({"image_processor_type": f"ConvNextImageProcessor{name}"})
        ConvNextImageProcessor.from_dict({"image_processor_type": "ConvNextFeatureExtractor"})

    @pytest.mark.parametrize("key", ["image_processor_type", "feature_extractor_type"])
    @pytest.mark.parametrize("name", ["ViTImageProcessor", "ViTFeatureExtractor", ["x"], "a\nb"])
    def test_other_types(self, key, name):
        with pytest.raises(
            ConfigError, match="expected the settings of a ConvNextImageProcessor, got those of a"
        ) as caught:
            ConvNextImageProcessor.from_dict({key: name})
        assert "\n" not in str(caught.value)

    def test_newer_type_field_wins(self):
        ConvNextImageProcessor.from_dict(
            {"image_processor_type": "ConvNextImageProcessor", "feature_extractor_type": "ViTFeatureExtractor"}
        )

    def test_broken_files_name_themselves(self, tmp_path):
        file = tmp_path / "preprocessor_config.json"
        for config in ({"crop_pct": -1}, {"image_processor_type": "CLIPImageProcessor"}, {"size": "x"}):
            file.write_text(json.dumps(config))
            with pytest.raises(ConfigError, match=r"preprocessor_config.json: expected"):
                ConvNextImageProcessor.from_pretrained(tmp_path)

    def test_missing_files_are_named(self, tmp_path):
        with pytest.raises(ModelNotFoundError, match=r"found no .*preprocessor_config\.json; copy it"):
            ConvNextImageProcessor.from_pretrained(tmp_path)
        with pytest.raises(ModelNotFoundError, match="no model 'no-such-model'"):
            ConvNextImageProcessor.from_pretrained("no-such-model")

    def test_not_a_mapping(self):
        with pytest.raises(ConfigError, match="expected a mapping of settings, got list"):
            ConvNextImageProcessor.from_dict([1])

    def test_what_cannot_be_written(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="cannot be written"):
            ConvNextImageProcessor().save_pretrained(tmp_path / "file")
        with pytest.raises(InputError, match="expected fields that JSON can hold"):
            ConvNextImageProcessor(note={1, 2}).to_json_string()

    def test_old_name(self):
        assert ConvNextFeatureExtractor is ConvNextImageProcessor


class TestOtherFaces:
    """Names, methods and files that processors of transformers have as well."""

    def test_older_names(self):
        assert npconv.ConvNextFeatureExtractor is ConvNextImageProcessor
        auto = npconv.AutoFeatureExtractor.from_pretrained("convnextv2-cifar10")
        assert auto.to_dict() == npconv.AutoImageProcessor.from_pretrained("convnextv2-cifar10").to_dict()

    def test_settings_are_attributes(self):
        processor = npconv.ConvNextImageProcessor(size={"shortest_edge": 224}, crop_pct=0.9)
        assert (processor.size["shortest_edge"], processor.crop_pct) == (224, 0.9)
        assert list(processor.image_mean) == list(processor.image_std) == [0.5] * 3
        assert (processor.do_resize, processor.do_rescale, processor.do_normalize) == (True,) * 3

    def test_a_file_of_its_own(self, tmp_path):
        processor = ConvNextImageProcessor(size=96)
        processor.to_json_file(tmp_path / "new" / "own.json")
        assert (tmp_path / "new" / "own.json").read_text("utf-8") == processor.to_json_string()
        assert ConvNextImageProcessor.from_json_file(tmp_path / "new" / "own.json").to_dict() == processor.to_dict()
        for wrong in (3, None, tmp_path):
            with pytest.raises(InputError, match=r"expected a file to write to|cannot be written"):
                processor.to_json_file(wrong)

    def test_each_step_by_itself(self, photo):
        processor = ConvNextImageProcessor(size=8, crop_pct=0.8)
        pixels = np.asarray(photo)
        resized = processor.resize(pixels)
        np.testing.assert_array_equal(
            resized, processor(pixels, do_rescale=False, do_normalize=False, data_format=None).pixel_values[0]
        )
        assert (resized.shape, resized.dtype) == ((8, 8, 3), np.uint8)
        assert processor.resize(pixels, {"shortest_edge": 5}, data_format="channels_first").shape == (3, 5, 5)
        np.testing.assert_array_equal(processor.rescale(pixels, scale=0.5), pixels.astype(np.float32) / 2)
        fractions = processor.rescale(pixels)
        np.testing.assert_array_equal(
            processor.normalize(fractions, mean=[0.5, 0.25, 0], std=0.5), (fractions - np.float32([0.5, 0.25, 0])) * 2
        )
        edge = min(pixels.shape[:2]) - 1
        cropped = processor.center_crop(pixels, {"height": edge, "width": edge})
        assert cropped.shape == (edge, edge, 3)
        with pytest.raises(InputError, match="expected settings"):
            processor.center_crop(pixels, 3, sizes=4)

    def test_the_steps_are_what_a_call_does(self, photo):
        processor = ConvNextImageProcessor(size=8)
        by_hand = processor.normalize(processor.rescale(processor.resize(photo)), data_format="channels_first")
        np.testing.assert_array_equal(by_hand, processor(photo).pixel_values[0])
