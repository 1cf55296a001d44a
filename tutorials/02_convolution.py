# %% [markdown]
# # 02 · Convolution: seven loops, and one matrix product
#
# A convolution moves a small window over a map and takes a weighted sum at each place. Libraries compute it in very
# different ways and must agree to the last digits. Who ports a network must know three things of each convolution: what
# exactly it sums, where the windows begin, and which axis of the weights means what.
#
# You need lessons 00 and 01. Afterwards you can write a convolution from its definition, compute it as one matrix
# product, predict the shape and the cost of its result, and replace the stem of a ConvNeXt by a reshape.

# %%
import numpy as np
from scipy import signal

import npconv
from npconv.layers import conv2d
from showing import sample, show_pictures, show_source, show_table

# %% [markdown]
# ## Maps, channels, kernels
#
# A *map* is an array (N, C, H, W): N pictures, C *channels*, H x W positions. The x of lesson 01 is a map of three
# channels, the colours. The *stem*, the first part of a ConvNeXt, is a convolution and then a LayerNorm (lesson 04);
# its convolution makes 40 channels of x. The weight is
# (O, C, kh, kw): for each of the O output channels a *kernel* with one number for each channel and place in the window.
# Its *bias* has one number for each output channel.

# %%
model = npconv.AutoModelForImageClassification.from_pretrained("convnextv2-cifar10", dtype="float64")
processor = npconv.AutoImageProcessor.from_pretrained("convnextv2-cifar10")
x = processor(sample("ship.png"))["pixel_values"].astype(np.float64)
stem = model.params["convnextv2"]["embeddings"]["patch_embeddings"]
weight = stem["weight"]
bias = stem["bias"]
assert weight.shape == (40, 3, 2, 2)

# %% [markdown]
# ## Seven loops
#
# This is the definition: a loop for each of the four axes of the result (n, o, i, j), and three for the sum in a window
# (c, u, v). The *stride* is the step from one window to the next.


# %%
def convolve(x, weight, bias, stride):
    """Return the convolution by its definition."""
    pictures, channels, height, width = x.shape
    outputs, _, kernel_h, kernel_w = weight.shape
    rows = (height - kernel_h) // stride + 1
    columns = (width - kernel_w) // stride + 1
    y = np.zeros((pictures, outputs, rows, columns))
    for n in range(pictures):
        for o in range(outputs):
            for i in range(rows):
                for j in range(columns):
                    total = bias[o]
                    for c in range(channels):
                        for u in range(kernel_h):
                            for v in range(kernel_w):
                                total += weight[o, c, u, v] * x[n, c, i * stride + u, j * stride + v]
                    y[n, o, i, j] = total
    return y


by_loops = convolve(x, weight, bias, stride=2)
assert by_loops.shape == (1, 40, 16, 16)

# %% [markdown]
# The innermost line runs N x O x H' x W' x C x kh x kw times. These *multiply-adds* are the usual measure of cost.

# %%
multiply_adds = by_loops.size * weight[0].size
print(f"{multiply_adds:,} multiply-adds")
assert multiply_adds == 40 * 16 * 16 * 3 * 2 * 2

# %% [markdown]
# The maps that come out are what the rest of the network sees. Here are the four that vary most.

# %%
spread = by_loops[0].std(axis=(1, 2))
strongest = np.argsort(spread)[::-1][:4]
maps = {f"channel {channel}": by_loops[0, channel] for channel in strongest}
show_pictures(maps, "Four of the 40 channels after the stem, 16 x 16 positions: dark is low, yellow is high", size=140)

# %% [markdown]
# Mathematicians call this *cross-correlation*; in their convolution the kernel is turned around. Networks do not turn
# it, but `scipy.signal.convolve` does. Here is output channel 0, with stride 2, by SciPy:

# %%
correlated = signal.correlate(x[0], weight[0], mode="valid")[0, ::2, ::2] + bias[0]
turned = signal.convolve(x[0], weight[0], mode="valid")[0, ::2, ::2] + bias[0]
assert np.abs(correlated - by_loops[0, 0]).max() < 1e-12
assert np.abs(turned - by_loops[0, 0]).max() > 0.01

# %% [markdown]
# ## One matrix product
#
# Loops in Python are slow, matrix products are fast. So all windows are copied into the columns of one large matrix
# (*im2col*, image to columns). Each kernel is a row of another. Their product is the result.

# %%
windows = np.lib.stride_tricks.sliding_window_view(x, (2, 2), axis=(2, 3))
windows = windows[0, :, ::2, ::2]  # (C, H', W', kh, kw)
columns = windows.transpose(0, 3, 4, 1, 2).reshape(3 * 2 * 2, 16 * 16)
kernels = weight.reshape(40, 3 * 2 * 2)
product = kernels @ columns + bias[:, None]
y = product.reshape(1, 40, 16, 16)
assert np.abs(y - by_loops).max() < 1e-12

# %% [markdown]
# The order (C, kh, kw) must be the same in both matrices. With another order everything fits and nothing is right:

# %%
other_order = windows.transpose(3, 4, 0, 1, 2).reshape(3 * 2 * 2, 16 * 16)
wrong = kernels @ other_order + bias[:, None]
assert wrong.shape == product.shape
assert np.abs(wrong - product).max() > 0.1

# %% [markdown]
# `conv2d` of the library does just that. It adds *padding*, zeros around the map, and *groups*, which lesson 03 needs.
# `@shapes` says which lengths must agree, a letter for each axis, and refuses arrays that do not fit.

# %%
show_source(conv2d)
assert np.abs(conv2d(x, weight, bias, stride=2) - by_loops).max() < 1e-12

# %% [markdown]
# Padding p on each side, kernel k and stride s make (H + 2p - k) // s + 1 positions of H. A padded map is a larger map:

# %%
rng = np.random.default_rng(0)
kernel = rng.normal(size=(4, 3, 3, 3))
no_bias = np.zeros(4)
framed = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
rows = []
for stride in (1, 2):
    result = conv2d(x, kernel, stride=stride, padding=1)
    expected = convolve(framed, kernel, no_bias, stride)
    assert np.abs(result - expected).max() < 1e-12
    assert result.shape[2] == (32 + 2 - 3) // stride + 1
    copied = 3 * 3 * 3 * result.shape[2] * result.shape[3]
    rows.append([stride, result.shape[2], copied, copied / x.size])
show_table(["stride", "positions a side", "numbers in the columns", "times the input"], rows)
assert rows[0][3] == 9

# %% [markdown]
# The last column is the price of im2col: a 3 x 3 window at stride 1 copies each number nine times.
#
# ## The stem's convolution is a reshape
#
# Where the stride is the kernel's size, windows neither overlap nor leave a gap: the picture is cut into patches. Then
# no window needs to be gathered. A reshape, a transposition and a matrix product are the whole convolution
# (*patchify*).

# %%
patches = x.reshape(3, 16, 2, 16, 2)  # (C, H', kh, W', kw)
patches = patches.transpose(0, 2, 4, 1, 3).reshape(12, 256)
assert np.array_equal(patches, columns)
assert patches.size == x.size

# %% [markdown]
# **For a port:** check a new convolution with unequal height and width, a kernel that is not symmetric, and a stride
# that does not divide the size. A square map with a symmetric kernel hides exchanged axes.
#
# ## Exercises
#
# 1. `positions(size, kernel, stride, padding)`: how many positions has the result along one axis?
# 2. `patchify(x, weight, bias)`: a convolution whose stride is its kernel's size k (square), for any N, without conv2d.
# 3. How many multiply-adds has the stem of ConvNeXt-T: 224 x 224 pixels, 96 kernels of 4 x 4, stride 4?

# %%
from exercises.lesson_02 import check_1, check_2, check_3

my_positions = None  # your function
check_1(my_positions)

# %%
my_patchify = None  # your function
check_2(my_patchify)

# %%
my_multiply_adds = None  # your number
check_3(my_multiply_adds)
