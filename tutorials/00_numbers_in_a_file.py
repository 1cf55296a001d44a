# %% [markdown]
# # 00 · Numbers in a file
#
# A network is a formula that turns a picture into a few numbers, here ten, one for each class (ship, frog and so on);
# the largest names the class. What was learned is a list of arrays with names. A *port*, the same network written anew,
# must read each with its name, shape, number format and byte order. A mistake here gives numbers that look like weights
# and are not, and every later test fails for a reason that is nowhere near it.
#
# You need NumPy; no lesson comes before this one. Afterwards you can open a safetensors file without any library, find
# a layer in it, and prove that you read it correctly.

# %%
import json
import struct

import numpy as np

from npconv.files.safetensors import load_file
from showing import sample, show_pictures, show_source, show_table

# %% [markdown]
# ## Eight bytes, a header, the numbers
#
# npconv comes with a small network. Its numbers, called *weights* or *parameters*, were found by *training*: changed
# little by little until the *loss*, one number for how wrong the answers are, was small. To use them afterwards is
# *inference*; a port needs only that. They are in one file of the format *safetensors*. The first eight bytes are a
# whole number: the length of the header that follows. The number is unsigned and *little-endian*: its lowest byte comes
# first. `struct` calls that `<Q`.

# %%
path = sample("ship.png").parents[1] / "convnextv2-cifar10" / "model.safetensors"
data = path.read_bytes()
(header_length,) = struct.unpack("<Q", data[:8])
print(f"{len(data):,} bytes, of which the header has {header_length:,}")
assert 8 + header_length < len(data)

# %% [markdown]
# With the other byte order the same eight bytes would be an absurd number. This is the check that a reader must make
# first: a header can never be longer than its file.

# %%
(wrong_length,) = struct.unpack(">Q", data[:8])
print(f"read with the highest byte first: {wrong_length:,}")
assert wrong_length > len(data)

# %% [markdown]
# The header is JSON. For each array (the file calls it a *tensor*) it holds the number format, the shape, and where its
# bytes begin and end. The offsets count from the end of the header, not from the beginning of the file.
# `__metadata__`, where there is one, is a note for the reader and no array.

# %%
header = json.loads(data[8 : 8 + header_length])
header.pop("__metadata__", None)
rows = [[name, entry["dtype"], str(entry["shape"]), *entry["data_offsets"]] for name, entry in header.items()]
show_table(["name", "format", "shape", "begin", "end"], rows[:8])
print(f"... {len(rows)} arrays")

# %% [markdown]
# Nothing lies between the arrays and nothing after them: the first begins at 0 and the last ends with the file. In this
# file they also stand in the order of the header; do not rely on that, but on the offsets. The length of each follows
# from its shape. `F16` is *float16*, a number of two bytes with about three decimal digits.

# %%
position = 0
for entry in header.values():
    begin, end = entry["data_offsets"]
    assert entry["dtype"] == "F16"
    assert begin == position
    assert end - begin == 2 * np.prod(entry["shape"])
    position = end
assert 8 + header_length + position == len(data)

# %% [markdown]
# ## One array
#
# Cut the bytes out, say what they are (`<f2`: little-endian, floating-point, two bytes), and give them the shape. The
# last axis changes fastest: that is NumPy's own order ("C order").


# %%
def read_array(name):
    """Return an array of the file."""
    entry = header[name]
    begin, end = entry["data_offsets"]
    content = data[8 + header_length + begin : 8 + header_length + end]
    return np.frombuffer(content, dtype="<f2").reshape(entry["shape"])


bias = read_array("classifier.bias")
print(bias)
assert bias.shape == (10,)

# %% [markdown]
# ## Find the stem
#
# The *stem* is the first layer of the network. It takes small squares of the picture and makes 40 numbers of each. A
# picture has three colours: so the stem's array must have an axis of length 3. Only one array of four axes has it.

# %%
found = [name for name, entry in header.items() if len(entry["shape"]) == 4 and entry["shape"][1] == 3]
print(found, header[found[0]]["shape"])
assert len(found) == 1
assert header[found[0]]["shape"] == [40, 3, 2, 2]

# %% [markdown]
# Its axes are (outputs, colours, rows, columns): PyTorch's order, which nearly all checkpoints of ConvNeXt have.
# TensorFlow and JAX keep the same numbers as (rows, columns, colours, outputs). **Transposing moves the numbers;
# reshaping only cuts them anew.** A reshape to the right shape does not complain, and every number is in a wrong place.

# %%
stem = read_array(found[0]).astype(np.float32)
transposed = stem.transpose(2, 3, 1, 0)
reshaped = stem.reshape(2, 2, 3, 40)
assert transposed.shape == reshaped.shape
assert transposed[1, 0, 2, 7] == stem[7, 2, 1, 0]
assert (transposed != reshaped).mean() > 0.9

# %% [markdown]
# Each output has a pattern of 2 x 2 pixels in three colours: its *kernel*. Here are all 40, in rows of eight, and first
# those whose pixels have nearly one hue. Read properly, fourteen have; misplaced, not one.


# %%
def hue(kernels):
    """Return how much the pixels of each kernel point one way in the space of colours: 1 if they do, 0 if any way."""
    return np.linalg.norm((kernels / np.linalg.norm(kernels, axis=1, keepdims=True)).mean(axis=(2, 3)), axis=1)


def sheet(kernels):
    """Return a picture of all kernels."""
    brightness = 0.5 + 0.5 * kernels / np.abs(kernels).max(axis=(1, 2, 3), keepdims=True)
    framed = np.pad(brightness[(-hue(kernels)).argsort()], ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=1)
    grid = framed.reshape(5, 8, 3, 3, 3)  # (row, column, colour, y, x)
    return grid.transpose(0, 3, 1, 4, 2).reshape(15, 24, 3)


misplaced = reshaped.transpose(3, 2, 0, 1)
pictures = {"read properly": sheet(stem), "reshaped by mistake": sheet(misplaced)}
show_pictures(pictures, "The kernels of the stem, those of one hue first; right, the same numbers misplaced", size=300)
assert [(hue(kernels) > 0.8).sum() for kernels in (stem, misplaced)] == [14, 0]

# %% [markdown]
# There is a number for what the eye sees. A picture's neighbouring pixels are alike, so trained kernels have order: the
# four pixels of a colour go together. The variance within each 2 x 2 square, as a share of the whole variance, is
# smaller where the numbers are in their places.

# %%
share = float(stem.var(axis=(2, 3)).mean() / stem.var())
wrong_share = float(misplaced.var(axis=(2, 3)).mean() / stem.var())
print(f"variance within the squares: {share:.2f}, misplaced: {wrong_share:.2f}")
assert share < 0.9 * wrong_share

# %% [markdown]
# ## The library's reader
#
# `npconv.files.safetensors.load_file` does the same, and checks what a hostile or damaged file could do: overlapping
# arrays, a header longer than the file, sizes that overflow.

# %%
show_source(load_file)
tensors = load_file(path)
assert tensors.keys() == header.keys()
for name in tensors:
    assert np.array_equal(tensors[name], read_array(name))

# %% [markdown]
# **For a port:** compare names, shapes, the sum of absolute values and a few single elements, such as `a[1, 0, 2, 3]`,
# with those of the *reference*, the implementation to agree with. A sum alone does not notice numbers in wrong places.
#
# ## Exercises
#
# 1. How many numbers (parameters) does the network have?
# 2. Write `read(data, name)`: the array of that name from the bytes of a safetensors file, for F16 and F32.
# 3. `BF16` is the upper half of a float32: the same sign and exponent, fewer digits. NumPy lacks it. Write a function
#    that takes its bytes and returns the float32 array (one axis).

# %%
from exercises.lesson_00 import check_1, check_2, check_3

my_count = None  # your number
check_1(my_count)

# %%
my_read = None  # your function
check_2(my_read)

# %%
my_bf16 = None  # your function
check_3(my_bf16)
