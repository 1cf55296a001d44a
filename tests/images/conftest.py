"""A picture drawn by a formula (no symmetry, no square, every channel different), and published settings files."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def pixels():
    """uint8, (3, 11, 17)."""
    y, x = np.mgrid[0:11, 0:17]
    return np.stack([15 * y + 3 * x, (7 * x * x + 31 * y) % 256, 255 * ((x // 2 + y // 3) % 2)]).astype(np.uint8)


@pytest.fixture
def photo(pixels):
    """The same as an RGB picture of Pillow."""
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


# The fields of the preprocessor_config.json of published checkpoints, by age.
OLD_FILES = {
    "first": {
        "crop_pct": 0.875,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "ConvNextFeatureExtractor",
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": 3,
        "size": 224,
    },
    "middle": {
        "crop_pct": None,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_processor_type": "ConvNextImageProcessor",
        "image_std": [0.229, 0.224, 0.225],
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": 384},
    },
    "fast": {
        "crop_pct": 0.875,
        "crop_size": None,
        "data_format": "channels_first",
        "default_to_square": False,
        "device": None,
        "disable_grouping": None,
        "do_center_crop": None,
        "do_convert_rgb": None,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_processor_type": "ConvNextImageProcessorFast",
        "image_std": [0.229, 0.224, 0.225],
        "input_data_format": None,
        "resample": 2,
        "rescale_factor": 0.00392156862745098,
        "return_tensors": None,
        "size": {"shortest_edge": 224},
    },
}


@pytest.fixture(params=OLD_FILES)
def published(request):
    """The content of each of these files."""
    return dict(OLD_FILES[request.param])
