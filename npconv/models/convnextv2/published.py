"""The published sizes and checkpoints of ConvNeXt V2, and numbers that they are known by.

Sources: facebookresearch/ConvNeXt-V2, whose README excepts the weights from its MIT licence; for the names, files and
cards on the hub, the conversion script of transformers and the repositories' pages (2023 to 2025).
"""

from __future__ import annotations

from npconv.models.convnext.published import architecture
from npconv.models.publishing import Logits, Publisher

LICENCE = "as published in facebookresearch/ConvNeXt-V2: the weights CC-BY-NC, not for commercial use"

ATTO = architecture("ConvNeXt V2 atto", [2, 2, 6, 2], 40, 3_708_400)
FEMTO = architecture("ConvNeXt V2 femto", [2, 2, 6, 2], 48, 5_233_240)
PICO = architecture("ConvNeXt V2 pico", [2, 2, 6, 2], 64, 9_066_280)
NANO = architecture("ConvNeXt V2 nano", [2, 2, 8, 2], 80, 15_623_800)
TINY = architecture("ConvNeXt V2 tiny", [3, 3, 9, 3], 96, 28_635_496)
BASE = architecture("ConvNeXt V2 base", [3, 3, 27, 3], 128, 88_717_800)
LARGE = architecture("ConvNeXt V2 large", [3, 3, 27, 3], 192, 197_956_840)
HUGE = architecture("ConvNeXt V2 huge", [3, 3, 27, 3], 352, 660_289_640)

ARCHITECTURES = (ATTO, FEMTO, PICO, NANO, TINY, BASE, LARGE, HUGE)

BENCHED = {"convnextv2-tiny": TINY, "convnextv2-atto": ATTO}

_hub = Publisher("convnextv2", licence="apache-2.0", first_licence="CC-BY-NC-4.0").checkpoint

#: Those called 22k were fine-tuned on the 1,000 classes like the others.
CHECKPOINTS = (
    _hub("facebook/convnextv2-atto-1k-224", ATTO, formats=("bin", "h5")),
    _hub("facebook/convnextv2-femto-1k-224", FEMTO),
    _hub("facebook/convnextv2-pico-1k-224", PICO),
    _hub("facebook/convnextv2-nano-1k-224", NANO, formats=("bin", "h5")),
    _hub("facebook/convnextv2-nano-22k-224", NANO),
    _hub("facebook/convnextv2-nano-22k-384", NANO, input=384),
    _hub("facebook/convnextv2-tiny-1k-224", TINY),
    _hub("facebook/convnextv2-tiny-22k-224", TINY, formats=("bin", "h5")),
    _hub("facebook/convnextv2-tiny-22k-384", TINY, input=384),
    _hub("facebook/convnextv2-base-1k-224", BASE),
    _hub("facebook/convnextv2-base-22k-224", BASE),
    _hub("facebook/convnextv2-base-22k-384", BASE, input=384, formats=("safetensors", "bin")),
    _hub("facebook/convnextv2-large-1k-224", LARGE),
    _hub("facebook/convnextv2-large-22k-224", LARGE),
    _hub("facebook/convnextv2-large-22k-384", LARGE, input=384),
    _hub("facebook/convnextv2-huge-1k-224", HUGE),
    _hub("facebook/convnextv2-huge-22k-384", HUGE, input=384, formats=("bin",)),
    _hub("facebook/convnextv2-huge-22k-512", HUGE, input=512, formats=("bin",)),
)

#: From the integration tests and the converter of transformers.
LOGITS = (
    Logits(
        "facebook/convnextv2-tiny-1k-224",
        TINY,
        {"Pillow": (0.9996, 0.1966, -0.4386), "torchvision": (0.9989, 0.1953, -0.4382)},
    ),
)
