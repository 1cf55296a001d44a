# %% [markdown]
# # 07 · From ResNet to ConvNeXt, one change at a time
#
# The paper (https://arxiv.org/abs/2201.03545) turns ResNet-50, the standard network of 2015, into ConvNeXt-T, step by
# step. Each step is one change of configuration. For a port, learn to count parameters and multiply-adds by hand: a
# wrong count is the first sign of a wrong layer.
#
# You need lessons 03 (costs of convolutions) and 06 (the block). Afterwards you can work out what a change of width,
# kernel or depth costs, and say where the parameters and the multiply-adds of a ConvNeXt are.

# %%
from dataclasses import dataclass, replace

import numpy as np

import npconv
from npconv.layers import global_average_pool, global_max_pool, halfway, join_features
from npconv.models.summary import layer_table
from showing import show_bars, show_table

# %% [markdown]
# ## Counting one convolution
#
# With `groups`, each output sees `inputs / groups` channels; a depthwise convolution has as many groups as channels. A
# weight is used at each position of the output. `extra` counts the numbers beside the weights for each output: a bias
# is 1, a normalization 2. They cost parameters, and no multiply-add that papers count. Pictures are 224 x 224.


# %%
def convolution(inputs, outputs, kernel, size, *, groups=1, extra=1):
    """Return parameters and multiply-adds of a convolution with size x size outputs."""
    weights = outputs * (inputs // groups) * kernel**2
    return np.array([weights + extra * outputs, weights * size**2])


# %% [markdown]
# ## The configuration
#
# Four stages work on maps of 56, 28, 14 and 7 positions a side, with twice the channels each time. ResNet's block has C
# channels inside and 4C outside; in the *inverted* block it is the other way round. A stage's first block halves the
# map, and a 1x1 convolution beside it, the *shortcut*, brings the residual to the new shape. ResNet has BatchNorm in
# place of LayerNorm: it normalizes by averages stored in training.


# %%
@dataclass(frozen=True)
class Network:
    """What the steps change."""

    depths: tuple = (3, 4, 6, 3)
    stem_kernel: int = 7  # 7: stride 2, then pooling with stride 2; 4: stride 4
    depthwise: bool = False
    width: int = 64
    inverted: bool = False
    spatial_first: bool = False  # the k x k convolution before the two 1x1 convolutions, instead of between them
    kernel: int = 3
    norms: int = 3  # in a block
    batch_norm: bool = True  # a convolution before it has no bias
    own_downsampling: bool = False  # LayerNorm and a 2x2 convolution between stages, in place of strides and shortcuts
    layer_scale: bool = False


def block(network, inputs, inside, outside, size_in, size):
    """Return the cost of one block, without its shortcut."""
    normed = 2 if network.batch_norm else 3
    extra = normed if network.norms == 3 else 1
    middle = inputs if network.spatial_first else inside
    groups = middle if network.depthwise else 1
    spatial = convolution(middle, middle, network.kernel, size, groups=groups, extra=normed)
    first = convolution(inputs, inside, 1, size if network.spatial_first else size_in, extra=extra)
    second = convolution(inside, outside, 1, size, extra=extra + network.layer_scale)
    return spatial + first + second


def cost(network):
    """Return parameters and multiply-adds of a whole network."""
    normed = 2 if network.batch_norm else 3
    total = convolution(3, network.width, network.stem_kernel, 112 if network.stem_kernel == 7 else 56, extra=normed)
    channels, size_before = network.width, 56
    for stage, depth in enumerate(network.depths):
        width, size = network.width * 2**stage, 56 // 2**stage
        inside, outside = (4 * width, width) if network.inverted else (width, 4 * width)
        if network.own_downsampling and stage > 0:
            total = total + convolution(channels, outside, 2, size) + [2 * channels, 0]
            channels, size_before = outside, size
        if channels != outside:
            total = total + convolution(channels, outside, 1, size, extra=normed)
        for _ in range(depth):
            total = total + block(network, channels, inside, outside, size_before, size)
            channels, size_before = outside, size
    return total + convolution(channels, 1000, 1, 1) + [0 if network.batch_norm else 2 * channels, 0]


# %% [markdown]
# ## The steps
#
# The accuracies (in %, on ImageNet) and the last column are the paper's, figure 2 and section 2; a G is 1e9. The other
# two columns are counted here. (The layer scale belongs to "the new way" of training. Only the last row counts it.)

# %%
STEPS = [
    ("ResNet-50, trained the new way", {}, 78.8, 4.1),
    ("blocks 3, 3, 9, 3", {"depths": (3, 3, 9, 3)}, 79.4, 4.5),
    ("stem of 4x4 patches", {"stem_kernel": 4}, 79.5, 4.4),
    ("depthwise 3x3", {"depthwise": True}, 78.3, 2.4),
    ("width 64 -> 96", {"width": 96}, 80.5, 5.3),
    ("inverted block", {"inverted": True}, 80.6, 4.6),
    ("depthwise convolution first", {"spatial_first": True}, 79.9, 4.1),
    ("kernel 3 -> 7", {"kernel": 7}, 80.6, 4.2),
    ("ReLU -> GELU, once in a block", {}, 81.3, 4.2),
    ("one normalization in a block", {"norms": 1}, 81.4, 4.2),
    ("BatchNorm -> LayerNorm", {"batch_norm": False}, 81.5, None),
    ("downsampling of its own", {"own_downsampling": True, "layer_scale": True}, 82.0, 4.5),
]
network, rows = Network(), []
for step, change, accuracy, published in STEPS:
    network = replace(network, **change)
    parameters, multiply_adds = cost(network)
    rows.append([step, int(parameters), round(multiply_adds / 1e9, 2), accuracy, published or "-"])
    assert published is None or abs(multiply_adds / 1e9 - published) < 0.06
show_table(["step", "parameters", "G multiply-adds", "accuracy", "G, paper"], rows)
show_bars({row[0]: row[2] for row in rows}, "What a network costs after each step", x_label="G multiply-adds")

# %% [markdown]
# Every figure of the paper is met, and the first row is ResNet-50 to the last parameter. The 7x7 kernel looks expensive
# and costs 2 %: it is depthwise. Depthwise convolutions halve the cost and lose accuracy; width spends what was saved.
# The inverted block is four times as wide inside and yet *cheaper*: the shortcuts now join C channels, not 4C.

# %%
g = [row[2] for row in rows]
assert rows[0][1] == 25_557_032
assert g[7] / g[6] < 1.03
assert g[3] < 0.55 * g[2] < 0.55 * g[4]
assert rows[3][3] < rows[2][3]
shortcuts = [convolution(2 * c, 4 * c, 1, 5376 // c)[1] for c in (192, 384, 768)]
assert sum(shortcuts) / 1e9 > g[4] - g[5] > 0

# %% [markdown]
# ## The end: ConvNeXt-T, counted by the library
#
# `layer_table` lists every layer of a configuration. Its sums are exactly those of our last row: 28,589,128 parameters
# and 4.5 G multiply-adds. Nine tenths are the two matrix products of the blocks. That is not the time: a depthwise
# layer does few multiply-adds for each number it reads. Measure before you make a port faster.

# %%
table = layer_table(npconv.ConvNextConfig(num_labels=1000), 224, 224)
counts = np.array([[row.parameters, row.multiply_adds] for row in table])
total = counts.sum(axis=0)
assert np.array_equal(total, cost(network))
assert np.array_equal(total, [28_589_128, 4_455_531_264])
kinds = np.array([row.kind for row in table])
pointwise = counts[kinds == "conv 1x1"].sum(axis=0) / total
depthwise = counts[kinds == "depthwise 7x7"].sum(axis=0) / total
show_table(["", "share of parameters", "of multiply-adds"], [["conv 1x1", *pointwise], ["depthwise 7x7", *depthwise]])
assert pointwise.min() > 0.89 > 0.03 > depthwise.max()

# %% [markdown]
# ## The head: why pictures may have any size
#
# Both networks end in an average over all positions, so the classifier has one weight for each channel and class,
# whatever the size of the map. Using all 7 x 7 positions would cost more parameters than the whole network.

# %%
maps = np.random.default_rng(0).normal(size=(2, 768, 7, 7))
assert np.allclose(global_average_pool(maps), sum(maps[:, :, i, j] for i in range(7) for j in range(7)) / 49)
assert global_average_pool(maps[:, :, :5, :3]).shape == (2, 768)
assert total[0] < 768 * 7 * 7 * 1000

# %% [markdown]
# Models of timm may take the maximum in its place, the mean of the two, or one after the other; no weight shows which.

# %%
average, maximum = global_average_pool(maps), global_max_pool(maps)
assert np.array_equal(maximum, maps.reshape(2, 768, 49).max(axis=2))
assert np.allclose(2 * halfway(average, maximum), average + maximum)
assert np.array_equal(join_features(average, maximum)[:, 768:], maximum)

# %% [markdown]
# ## Exercises
#
# 1. How many parameters does ConvNeXt-T have with 5x5 kernels? (A number; kernels and nothing else change.)
# 2. A ConvNeXt with 1000 classes and the depths 3, 3, 27, 3 has 197,767,336 parameters. What is its first width?

# %%
from exercises.lesson_07 import check_1, check_2

my_parameters = None  # your number
check_1(my_parameters)
my_width = None  # your number
check_2(my_width)
