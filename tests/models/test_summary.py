"""The layer table: against the parameter shapes, against what a running model does, and against the papers."""

import math
from importlib import import_module
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.families import CLASSES, MODULES

from npconv import ConfigError, ConvNextConfig, ConvNextV2Config, CvtConfig, InputError
from npconv.models import PretrainedConfig
from npconv.models.convnext import variants
from npconv.models.convnext.configuration import STEM_TYPES
from npconv.models.parameters import count_parameters, is_buffer
from npconv.models.summary import LayerRow, layer_table

V1, V2 = ConvNextConfig, ConvNextV2Config
SMALL = [3, 3, 27, 3]

#: Configuration (1000 classes), parameters, and 10**9 multiply-adds at 224 x 224 as published: tables 1, 8 and 9 of the
#: ConvNeXt paper, table 8 of the V2 paper, table 3 of the CvT paper.
PUBLISHED = {
    "convnext tiny": (V1(num_labels=1000), 28_589_128, 4.5),
    "convnext small": (V1(depths=SMALL, num_labels=1000), 50_223_688, 8.7),
    "convnext base": (V1(depths=SMALL, hidden_sizes=[128, 256, 512, 1024], num_labels=1000), 88_591_464, 15.4),
    "convnext large": (V1(depths=SMALL, hidden_sizes=[192, 384, 768, 1536], num_labels=1000), 197_767_336, 34.4),
    "convnext xlarge": (V1(depths=SMALL, hidden_sizes=[256, 512, 1024, 2048], num_labels=1000), 350_196_968, 60.9),
    "convnextv2 atto": (V2(depths=[2, 2, 6, 2], hidden_sizes=[40, 80, 160, 320], num_labels=1000), 3_708_400, 0.55),
    "convnextv2 femto": (V2(depths=[2, 2, 6, 2], hidden_sizes=[48, 96, 192, 384], num_labels=1000), 5_233_240, 0.78),
    "convnextv2 pico": (V2(depths=[2, 2, 6, 2], hidden_sizes=[64, 128, 256, 512], num_labels=1000), 9_066_280, 1.37),
    "convnextv2 nano": (V2(depths=[2, 2, 8, 2], hidden_sizes=[80, 160, 320, 640], num_labels=1000), 15_623_800, 2.45),
    "convnextv2 tiny": (V2(num_labels=1000), 28_635_496, 4.47),
    "convnextv2 base": (V2(depths=SMALL, hidden_sizes=[128, 256, 512, 1024], num_labels=1000), 88_717_800, 15.4),
    "convnextv2 large": (V2(depths=SMALL, hidden_sizes=[192, 384, 768, 1536], num_labels=1000), 197_956_840, 34.4),
    "convnextv2 huge": (V2(depths=SMALL, hidden_sizes=[352, 704, 1408, 2816], num_labels=1000), 660_289_640, 115),
    "cvt-13": (CvtConfig(num_labels=1000), 19_997_480, 4.5),
    "cvt-21": (CvtConfig(depth=[1, 4, 16], num_labels=1000), 31_622_696, 7.1),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_sums_are_those_of_the_papers(name: str) -> None:
    config, parameters, giga_multiply_adds = PUBLISHED[name]
    table = layer_table(config, 224, 224)
    assert sum(row.parameters for row in table) == parameters
    # The papers round to two or three digits, half a unit in 4.5 being 1.1 %; CvT's are cut off (4.57, 7.18).
    assert sum(row.multiply_adds for row in table) == pytest.approx(giga_multiply_adds * 1e9, rel=0.016)


def test_parameters_are_those_of_the_other_sizes_of_reference() -> None:
    w24 = CvtConfig(depth=[2, 2, 20], embed_dim=[192, 768, 1024], num_heads=[3, 12, 16], num_labels=1000)
    assert sum(row.parameters for row in layer_table(w24, 384, 384)) == 277_196_392
    many_classes = ConvNextConfig(num_labels=21841)
    assert sum(row.parameters for row in layer_table(many_classes, 224, 224)) == 44_615_857


ACTIVATIONS = st.sampled_from(["gelu", "gelu_new", "quick_gelu", "relu", "silu"])


@st.composite
def staged_cases(draw: st.DrawFn) -> tuple[PretrainedConfig, int, int]:
    """A ConvNeXt or V2 and the size of a picture, sometimes too small for it."""
    stages = draw(st.integers(1, 3))
    edge, kernel = st.integers(1, 5), st.sampled_from([1, 3, 7, 9])
    stem_type = draw(st.sampled_from(["patch", *STEM_TYPES]))
    fields = {
        "num_channels": draw(st.integers(1, 4)),
        "patch_size": draw(edge | st.lists(edge, min_size=2, max_size=2)) if stem_type == "patch" else 4,
        "stem_type": stem_type,
        "kernel_sizes": draw(kernel | st.lists(kernel, min_size=stages, max_size=stages)),
        "norm_eps": draw(st.sampled_from([1e-6, 1e-5])),
        "head_norm_first": draw(st.booleans()),
        "head_hidden_size": draw(st.none() | st.integers(1, 5)),
        "norm_type": draw(st.sampled_from(["layer_norm", "rms_norm", "simple_norm"])),
        "output_stride": draw(st.sampled_from([None, 8, 16, 32])),
        "num_stages": stages,
        "hidden_sizes": draw(st.lists(st.integers(2, 6), min_size=stages, max_size=stages)),
        "depths": draw(st.lists(st.integers(0, 2), min_size=stages, max_size=stages).filter(any)),
        "hidden_act": draw(ACTIVATIONS),
        "layer_norm_eps": draw(st.sampled_from([1e-12, 1e-6])),
        "num_labels": draw(st.integers(0, 3)),
    }
    fields["pooling"] = draw(st.sampled_from(["avg", "max", "avgmax", *["catavgmax"] * fields["head_norm_first"]]))
    height, width = draw(st.integers(2, 40)), draw(st.integers(2, 40))
    if draw(st.booleans()):
        return ConvNextV2Config(**fields), height, width
    return ConvNextConfig(**fields, layer_scale_init_value=draw(st.sampled_from([-1.0, 0.0, 1e-6]))), height, width


@st.composite
def cvt_cases(draw: st.DrawFn) -> tuple[CvtConfig, int, int]:
    """A CvT and the size of a picture, sometimes too small for it, or a CvT that cannot run at all."""
    stages = draw(st.integers(1, 3))

    def each(values: st.SearchStrategy) -> list:
        return draw(st.lists(values, min_size=stages, max_size=stages))

    heads, kernels = each(st.integers(1, 3)), each(st.sampled_from([1, 3, 5]))
    widths = [count * draw(st.integers(1, 3)) for count in heads]
    config = CvtConfig(
        num_channels=draw(st.integers(1, 4)),
        patch_sizes=each(st.integers(1, 5) | st.just([3, 2])),
        patch_stride=each(st.integers(1, 3)),
        patch_padding=each(st.integers(0, 2)),
        embed_dim=widths,
        num_heads=heads,
        depth=each(st.integers(1, 2)),
        mlp_ratio=each(st.sampled_from([1.0, 2.5, 4.0])),
        attention_drop_rate=[0.0] * stages,
        drop_rate=[0.0] * stages,
        drop_path_rate=[0.0] * stages,
        qkv_bias=each(st.booleans()),
        cls_token=[width == widths[-1] and draw(st.booleans()) for width in widths],
        qkv_projection_method=each(st.sampled_from(["dw_bn", "avg", "linear"])),
        kernel_qkv=kernels,
        padding_kv=each(st.integers(0, 2)),
        stride_kv=each(st.integers(1, 3)),
        padding_q=[kernel // 2 for kernel in kernels],
        stride_q=each(st.sampled_from([1, 1, 1, 1, 2])),
        hidden_act=draw(ACTIVATIONS),
        num_labels=draw(st.integers(0, 3)),
    )
    return config, draw(st.integers(2, 30)), draw(st.integers(2, 30))


@given(staged_cases() | cvt_cases())
def test_parameters_are_those_of_the_shapes(case: tuple[PretrainedConfig, int, int]) -> None:
    config, _, _ = case
    shapes = MODULES[config.model_type].image_classification_shapes(config)
    table = table_or_none(config, 1000, 1000)
    if table is None:  # a CvT whose queries are fewer than its positions
        return
    assert sum(row.parameters for row in table) == count_parameters(shapes)
    for row in table:
        own = {name: shape for name, shape in shapes.items() if name == row.name or name.rpartition(".")[0] == row.name}
        assert row.parameters == sum(math.prod(shape) for name, shape in own.items() if not is_buffer(name)), row
    assert len({row.name for row in table}) == len(table)


@given(staged_cases() | cvt_cases())
def test_rows_are_the_steps_of_a_running_model(case: tuple[PretrainedConfig, int, int]) -> None:
    config, height, width = case
    model = CLASSES[config.model_type, "image_classification"](config)
    pixel_values = np.random.default_rng(0).standard_normal((2, config.num_channels, height, width), np.float32)
    table = table_or_none(config, height, width)
    with pytest.MonkeyPatch.context() as patch:
        recorder = Recorder(patch)
        if table is None:
            with pytest.raises(InputError):
                model(pixel_values)
            return
        model(pixel_values)
    silent = ("layer scale", "class token")  # these, and the average of tokens, are no functions of npconv.layers
    rows = [row[1:] for row in table if row.kind not in silent and row.name != "mean"]
    assert rows == [row[1:] for row in recorder.rows]


@pytest.mark.parametrize(("pooling", "size"), [("avg", 2), ("max", 2), ("avgmax", 2), ("catavgmax", 4)])
def test_pooled_features_are_the_last_row_of_a_model_without_classes(pooling, size) -> None:
    fields = {"hidden_sizes": [2], "depths": [1], "num_stages": 1, "num_labels": 0}
    config = ConvNextConfig(**fields, pooling=pooling, head_norm_first=True)
    assert layer_table(config, 8, 8)[-1].output_shape == (size,)


@given(staged_cases() | cvt_cases())
def test_maps_of_the_stages_are_the_hidden_states(case: tuple[PretrainedConfig, int, int]) -> None:
    config, height, width = case
    table = table_or_none(config, height, width)
    if table is None:
        return
    model = CLASSES[config.model_type, "image_classification"](config)
    pixel_values = np.zeros((1, config.num_channels, height, width), np.float32)
    outputs = model(pixel_values, output_hidden_states=True)
    maps = [row.output_shape for row in table if row.name.endswith((".projection", "embeddings.layernorm", "_layer.1"))]
    if config.model_type != "cvt":
        maps.insert(1, maps[0])  # the stem and the first stage, which has no downsampling
    assert maps == [state.shape[1:] for state in outputs.hidden_states]
    assert table[-1].output_shape == outputs.logits.shape[1:] or (config.num_labels == 0 and config.model_type == "cvt")


def table_or_none(config: PretrainedConfig, height: int, width: int) -> list[LayerRow] | None:
    """The table, or None where it says that the model cannot run."""
    try:
        return layer_table(config, height, width)
    except InputError:
        return None


class Recorder:
    """Writes a row for every call of a layer function by the models."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.rows: list[LayerRow] = []
        models = [import_module(f"npconv.models.{family}.model") for family in MODULES]
        for module in (*models, variants):
            for name in ("conv2d", "depthwise_conv2d", "pointwise_conv2d", "average_pool2d"):
                self.wrap(patch, module, name, self.window)
            for name in ("global_average_pool", "global_max_pool"):
                self.wrap(patch, module, name, self.pool)
            for name in ("halfway", "join_features"):
                self.wrap(patch, module, name, self.both)
            for name in ("layer_norm", "batch_norm", "global_response_norm"):
                self.wrap(patch, module, name, self.norm)
            self.wrap(patch, module, "linear", self.linear)
            self.wrap(patch, module, "multi_head_attention", self.attention)
            if norm_layer := getattr(module, "norm_layer", None):
                patch.setattr(
                    module, "norm_layer", lambda name, of=norm_layer: self.recording(of(name), name, self.norm)
                )
            if activation := getattr(module, "activation", None):
                patch.setattr(module, "activation", lambda name, of=activation: self.activation(name, of(name)))

    def wrap(self, patch: pytest.MonkeyPatch, module: ModuleType, name: str, describe) -> None:
        """Replace a function of a model file, where it has it, by one that records."""
        if function := getattr(module, name, None):
            patch.setattr(module, name, self.recording(function, name, describe))

    def recording(self, function, name: str, describe):
        """Return a function that records its calls."""

        def recording(x, *args, **kwargs):
            y = function(x, *args, **kwargs)
            weights = [kwargs[key] for key in ("weight", "bias") if kwargs.get(key) is not None]
            kind, setting, multiply_adds = describe(name, x, y, *args, **kwargs)
            self.rows.append(
                LayerRow("", kind, setting, y.shape[1:], sum(w.size for w in weights), multiply_adds // len(x))
            )
            return y

        return recording

    def pool(self, name, x, y):
        """Describe a pooling over all positions."""
        return {"global_average_pool": "average", "global_max_pool": "maximum"}[name], "over H and W", 0

    def both(self, name, x, y, other):
        """Describe what is made of two poolings."""
        return {"halfway": "mean of both", "join_features": "both joined"}[name], "average and maximum", 0

    def window(
        self, name, x, y, weight=None, bias=None, stride=1, padding=0, dilation=1, kernel_size=None, ceil_mode=None
    ):
        """Describe a convolution or average."""
        kernel = (kernel_size, kernel_size) if weight is None else weight.shape[2:] or (1, 1)
        kinds = {"conv2d": "conv", "depthwise_conv2d": "depthwise", "pointwise_conv2d": "conv"}
        kind = f"{kinds.get(name, 'average')} {kernel[0]}x{kernel[1]}"
        vertical, horizontal = stride if isinstance(stride, list | tuple) else (stride, stride)
        words = []
        if (vertical, horizontal) != (1, 1):
            words.append(f"stride {vertical}" if vertical == horizontal else f"stride {vertical}x{horizontal}")
        if padding:
            words.append(f"padding {padding}")
        if dilation > 1:
            words.append(f"dilation {dilation}")
        return kind, " ".join(words), 0 if weight is None else y.size * weight[0].size

    def norm(self, name, x, y, *, eps, **_):
        """Describe a normalization."""
        kinds = {"layer_norm": "layer norm", "batch_norm": "batch norm", "global_response_norm": "response norm"}
        kinds |= {"rms_norm": "RMS norm", "simple_norm": "simple norm"}
        return kinds[name], f"eps {eps:g}", 0

    def linear(self, name, x, y, weight, bias=None):
        """Describe a linear layer."""
        return "linear", "", y.size * weight.shape[1]

    def attention(self, name, query, y, key, value, *, num_heads, scale, **_):
        """Describe the products of attention."""
        assert scale == query.shape[-1] ** -0.5
        setting = f"heads {num_heads} scale {query.shape[-1]}**-0.5"
        return "attention", setting, 2 * query.size * key.shape[1]

    def activation(self, name, activate):
        """Describe an activation when it is called."""

        def recording(x):
            self.rows.append(LayerRow("", "activation", name, x.shape[1:], 0, 0))
            return activate(x)

        return recording


def test_a_callable_activation_is_called_by_its_name() -> None:
    def steps(x):
        return x

    table = layer_table(ConvNextConfig(hidden_sizes=[2], depths=[1], num_stages=1, hidden_act=steps), 8, 8)
    assert [row.setting for row in table if row.kind == "activation"] == ["steps"]


@pytest.mark.parametrize("size", [(0, 32), (32, -1), (31, 32)])
def test_pictures_that_are_too_small_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=r"at least 1 x 1|does not fit"):
        layer_table(ConvNextConfig(), *size)


def test_another_configuration_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"ConvNeXt V2.* or .*, got PretrainedConfig"):
        layer_table(PretrainedConfig(), 32, 32)


def test_the_largest_model_takes_no_memory_and_no_time() -> None:
    config = CvtConfig(
        depth=[2000] * 3, embed_dim=[10**6] * 3, num_heads=[1] * 3, cls_token=[False] * 3, drop_path_rate=[0.0] * 3
    )
    table = layer_table(config, 10**6, 10**6)
    assert len(table) == 3 * (2 + 2000 * 16) + 3
    assert max(row.multiply_adds for row in table) > 10**20
