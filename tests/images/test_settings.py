"""The forms that settings may have, and every value that is refused."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from npconv.errors import ConfigError, InputError, ModelNotFoundError
from npconv.images.settings import MAX_FILE_BYTES, Settings, read_settings


class TestForms:
    def test_defaults(self):
        settings = Settings()
        assert settings.size == {"shortest_edge": 384}
        assert settings.crop_pct == 224 / 256
        assert settings.resample == 3
        assert settings.rescale_factor == 1 / 255
        assert settings.image_mean == settings.image_std == (0.5, 0.5, 0.5)
        assert settings.do_resize is settings.do_rescale is settings.do_normalize is True
        assert settings.do_center_crop is settings.crop_size is settings.do_convert_rgb is None

    def test_none_stands_for_the_default(self):
        assert Settings(size=None, crop_pct=None, do_resize=None, image_mean=None) == Settings()

    @pytest.mark.parametrize(
        ("size", "expected"),
        [
            (224, {"shortest_edge": 224}),
            (np.int32(224), {"shortest_edge": 224}),
            ({"shortest_edge": 224, "longest_edge": 400}, {"shortest_edge": 224, "longest_edge": 400}),
            ({"shortest_edge": 224, "height": None}, {"shortest_edge": 224}),
        ],
    )
    def test_size(self, size, expected):
        assert Settings(size=size).size == expected

    @pytest.mark.parametrize("crop_size", [(5, 7), [5, 7], {"height": 5, "width": 7}])
    def test_crop_size(self, crop_size):
        assert Settings(do_center_crop=True, crop_size=crop_size).crop_size == {"height": 5, "width": 7}
        assert Settings(crop_size=5).crop_size == {"height": 5, "width": 5}

    @pytest.mark.parametrize("resample", [2, Image.Resampling.BILINEAR, "bilinear", "BILINEAR"])
    def test_resample(self, resample):
        assert Settings(resample=resample).resample == 2
        assert type(Settings(resample=resample).resample) is int

    @pytest.mark.parametrize(
        ("mean", "expected", "channels"),
        [
            ([0.1, 0.2, 0.3], (0.1, 0.2, 0.3), 3),
            (np.array([0.25, 0.5]), (0.25, 0.5), 2),
            (np.float32(0.5), 0.5, None),
            (0, 0.0, None),
            ([1], (1.0,), 1),
        ],
    )
    def test_image_mean(self, mean, expected, channels):
        settings = Settings(image_mean=mean)
        assert settings.image_mean == expected
        assert settings.channels == channels


class TestRefused:
    @pytest.mark.parametrize("name", ["do_resize", "do_rescale", "do_normalize", "do_center_crop", "do_convert_rgb"])
    @pytest.mark.parametrize("value", [1, "false", [], 0.0])
    def test_switches(self, name, value):
        with pytest.raises(InputError, match=f"expected {name} to be true or false, got"):
            Settings(**{name: value})

    @pytest.mark.parametrize("name", ["crop_pct", "rescale_factor", "image_mean", "image_std"])
    @pytest.mark.parametrize(
        "value", ["0.5", math.nan, math.inf, True, 10**400, pytest.param(10**5000, id="huge"), {}, [[]], 1j]
    )
    def test_numbers(self, name, value):
        with pytest.raises(InputError, match=r"to be a finite number, got|to have one entry a channel, got") as caught:
            Settings(**{name: value})
        assert len(str(caught.value)) < 200

    @pytest.mark.parametrize("value", [0, -0.875])
    def test_crop_pct(self, value):
        with pytest.raises(InputError, match="expected crop_pct to be above 0"):
            Settings(crop_pct=value)

    @pytest.mark.parametrize("name", ["image_mean", "image_std"])
    @pytest.mark.parametrize("value", [[0.5, "x"], (1, None), np.array([1, np.nan]), np.zeros((2, 2)), [True]])
    def test_entries(self, name, value):
        with pytest.raises(InputError, match=f"expected every entry of {name} to be a finite number"):
            Settings(**{name: value})

    @pytest.mark.parametrize("name", ["image_mean", "image_std"])
    def test_no_entries(self, name):
        with pytest.raises(InputError, match=f"expected {name} to have one entry a channel, got none"):
            Settings(**{name: []})

    @pytest.mark.parametrize("std", [0, 0.0, [0.2, 0, 0.2], [1e-320, 1, 1]])
    def test_zero_std(self, std):
        with pytest.raises(InputError, match="expected image_std without zeros"):
            Settings(image_std=std)

    @pytest.mark.parametrize(
        "edge", [0, -4, 2.5, 224.0, "224", True, math.nan, 10**10, pytest.param(10**5000, id="huge"), [1, 2, 3]]
    )
    def test_size(self, edge):
        for size in (edge, {"shortest_edge": edge}):
            with pytest.raises(InputError, match=r"expected size\['shortest_edge'\] to be a number of pixels from 1"):
                Settings(size=size)

    @pytest.mark.parametrize("size", [(224, 224), {"height": 224, "width": 224}, {"longest_edge": 300}, {}])
    def test_size_without_a_shortest_edge(self, size):
        with pytest.raises(InputError, match=r"expected a size such as 224 or ."):
            Settings(size=size).check_complete()
        Settings(size=size, do_resize=False).check_complete()

    @pytest.mark.parametrize("crop_size", [None, {"height": 3}, {"shortest_edge": 3}])
    def test_crop_size(self, crop_size):
        with pytest.raises(InputError, match="expected a crop_size such as 224 for do_center_crop"):
            Settings(do_center_crop=True, crop_size=crop_size).check_complete()
        Settings(crop_size=crop_size).check_complete()

    def test_resample(self):
        with pytest.raises(InputError, match="expected a resampling filter"):
            Settings(resample="cubic")


class TestReadSettings:
    def test_file_and_directory(self, tmp_path):
        file = tmp_path / "preprocessor_config.json"
        file.write_text('{"size": 224}')
        for path in (file, tmp_path):
            assert read_settings(path) == (file, {"size": 224})

    def test_combined_file_of_newer_versions(self, tmp_path):
        (tmp_path / "preprocessor_config.json").write_text('{"size": 224}')
        combined = tmp_path / "processor_config.json"
        combined.write_text('{"processor_class": "Some"}')
        assert read_settings(tmp_path)[1] == {"size": 224}
        combined.write_text('{"image_processor": {"size": 192}}')
        assert read_settings(tmp_path) == (combined, {"size": 192})

    def test_missing(self, tmp_path):
        for path in (tmp_path, tmp_path / "none", tmp_path / "none.json"):
            with pytest.raises(ModelNotFoundError, match=r"expected a directory with preprocessor_config.json"):
                read_settings(path)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "cannot read it"),
            (b"{", "cannot read it"),
            (b"\xff\xfe\x00", "cannot read it"),
            (b"[" * 100_000, "cannot read it"),
            (b"[1]", "expected a JSON object"),
            (b"null", "expected a JSON object"),
            (json.dumps({"a": "x" * MAX_FILE_BYTES}).encode(), "at most 1000000 bytes"),
        ],
    )
    def test_broken(self, tmp_path, content, reason):
        file = tmp_path / "preprocessor_config.json"
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=reason) as caught:
            read_settings(file)
        assert "\n" not in str(caught.value)
        assert str(file) in str(caught.value)
