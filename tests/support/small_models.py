"""Small models of the three families, for what is measured on them."""

from npconv.models import ConvNextConfig, ConvNextV2Config, CvtConfig

STAGED = {"hidden_sizes": [24, 48], "depths": [2, 2], "num_stages": 2, "num_labels": 5}

#: Of CvT, stage i has more than i blocks: transformers asks for that.
CONFIGS = {
    "convnext": ConvNextConfig(**STAGED),
    "convnextv2": ConvNextV2Config(**STAGED),
    "cvt": CvtConfig(embed_dim=[24, 48, 48], num_heads=[1, 2, 2], depth=[1, 2, 3], num_labels=5),
}
