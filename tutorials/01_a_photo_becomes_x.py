# %% [markdown]
# # 01 · A photo becomes x
#
# A network does not see a photo. It sees an array, usually called `x` or `pixel_values`, that several small steps have
# made of it. Each step is easy, and each has a wrong twin that also runs: colours in another order, another filter,
# another crop. A port with perfect layers and a wrong twin here gives worse answers, and no error says so.
#
# You need lesson 00. Afterwards you can take a processor's settings, do each step by hand, and find by the range of the
# values which step is missing.

# %%
import numpy as np
from PIL import Image

import npconv
from npconv.images import center_crop, normalize, open_image, rescale, resize, resize_and_crop, scale_shortest_edge
from showing import sample, show_pictures, show_source, show_table

# %% [markdown]
# ## Decode
#
# A picture file holds compressed numbers, and not always three a pixel: this one has a *palette*, one byte a pixel that
# points into a list of colours. `open_image` always gives RGB: red, green, blue, 8 bits each. It also turns photos
# upright as their EXIF block says, which not every reader does.

# %%
file = sample("ship.png")
stored = np.asarray(Image.open(file))
photo = open_image(file)
pixels = np.asarray(photo)
print(f"stored: {stored.shape}, decoded: {pixels.shape} {pixels.dtype}")
assert stored.shape == (240, 320)
assert pixels.shape == (240, 320, 3)

# %% [markdown]
# Files and Pillow put the colours last: (height, width, colour), *channels last*. The networks here take them first,
# (C, H, W). That is a transposition, never a reshape (lesson 00).

# %%
image = pixels.transpose(2, 0, 1)
assert image.shape == (3, 240, 320)
assert image[0, 10, 20] == pixels[10, 20, 0]

# %% [markdown]
# ## The settings
#
# Every checkpoint brings a file `preprocessor_config.json`. It is as much a part of the model as the weights.

# %%
processor = npconv.AutoImageProcessor.from_pretrained("convnextv2-cifar10")
names = ["size", "crop_pct", "resample", "rescale_factor", "image_mean", "image_std"]
show_table(["setting", "value"], [[name, str(getattr(processor, name))] for name in names])
edge = processor.size["shortest_edge"]
assert edge == 32

# %% [markdown]
# ## Resize and crop
#
# The network was trained on squares of 32 x 32 pixels. The shorter edge is scaled to `edge / crop_pct`, here
# 32 / 1.0, the longer one so that the ship keeps its proportions. Then the square in the middle is cut out. Edges and
# the start of the cut are rounded *down* (42.67 becomes 42): a port that rounds otherwise is off by a pixel.

# %%
show_source(resize_and_crop)
size = scale_shortest_edge(image, edge / processor.crop_pct)
resized = resize(image, size, processor.resample)
cropped = center_crop(resized, (edge, edge))
assert size == (32, 42)
assert resized.shape == (3, 32, 42)
assert np.array_equal(cropped, resized[:, :, 5:37])

# %% [markdown]
# `resample` is the filter; 3 is bicubic, Pillow's number for it. When shrinking, Pillow averages over all the pixels
# that a new one covers (*antialiasing*). OpenCV's and PyTorch's plain interpolation looks at a few neighbours only, and
# so does the filter "nearest" here. Pictures of the same size and name, and yet:

# %%
nearest = center_crop(resize(image, size, "nearest"), (edge, edge))
both = {"photo": photo, "bicubic, averaged": cropped.transpose(1, 2, 0), "nearest": nearest.transpose(1, 2, 0)}
show_pictures(both, "32 x 32 pixels by two filters: look at the windows and the containers", size=200, columns=3)
distance = np.abs(cropped.astype(float) - nearest)
assert distance.mean() > 3
assert distance.max() > 50

# %% [markdown]
# ## Rescale and normalize
#
# Whole numbers from 0 to 255 become 0 to 1. Then each colour loses its mean over the training pictures and is divided
# by its standard deviation, so that all three arrive with about the same spread around 0. That is what the stem's
# weights were trained on.

# %%
show_source(rescale)
show_source(normalize)

# %%
scaled = rescale(cropped, processor.rescale_factor)
normalized = normalize(scaled, processor.image_mean, processor.image_std)
x = normalized[None]
mean = np.array(processor.image_mean).reshape(3, 1, 1)
deviation = np.array(processor.image_std).reshape(3, 1, 1)
by_hand = (cropped / 255 - mean) / deviation
assert np.abs(normalized - by_hand).max() < 1e-5

# %% [markdown]
# The new first axis counts pictures: networks work on several at once. The processor does all of the above in one call,
# and gives the same array to the last bit.

# %%
pixel_values = processor(file)["pixel_values"]
print(pixel_values.shape, pixel_values.dtype)
assert np.array_equal(x, pixel_values)

# %% [markdown]
# ## The range of each step
#
# The quickest check of a pipeline: print lowest, mean and highest value after every step, there and here. After the
# last step nothing lies far beyond -3 and 3. A range of 0 to 1 at the model means: not normalized. A range of hundreds
# means: not rescaled.

# %%
steps = {"decoded": image, "resized": resized, "cropped": cropped, "rescaled": scaled, "normalized": x}
rows = []
for name, array in steps.items():
    rows.append([name, str(array.shape), str(array.dtype), float(array.min()), float(array.mean()), float(array.max())])
show_table(["step", "shape", "dtype", "lowest", "mean", "highest"], rows)
assert 0 <= scaled.min() < scaled.max() <= 1
assert x.min() < -0.5 < 0.5 < x.max()
assert np.abs(x).max() < 3
not_rescaled = normalize(cropped, processor.image_mean, processor.image_std)
assert not_rescaled.max() > 500

# %% [markdown]
# The order of the colours does not show in the range. Old OpenCV code gives blue first (BGR): the picture below has the
# same lowest and highest value as the right one.

# %%
swapped = scaled[::-1]
assert swapped.min() == scaled.min()
assert swapped.max() == scaled.max()
assert np.abs(swapped - scaled).max() > 0.2

# %% [markdown]
# ## Why 384 warps
#
# The large published models take 384 pixels. The recipe says: from 384 on do not crop, *warp*: scale both edges to 384,
# whatever becomes of the proportions. The crop of 224 loses the ends of this ship; the warp loses nothing and makes it
# narrower. The published accuracy at 384 was measured with warping: a port that crops there measures something else.

# %%
crop_224 = resize_and_crop(image, 224, 224 / 256, "bicubic")
warp_384 = resize_and_crop(image, 384, 224 / 256, "bicubic")
blue_first = swapped.transpose(1, 2, 0)
views = {"224: cropped": crop_224.transpose(1, 2, 0), "384: warped": warp_384.transpose(1, 2, 0), "BGR": blue_first}
show_pictures(views, "Cropped, warped, and colours in the wrong order", size=200, columns=3)
assert np.array_equal(warp_384, resize(image, (384, 384), "bicubic"))
whole = resize(image, (256, 341), "bicubic")
assert np.array_equal(crop_224, whole[:, 16:240, 58:282])

# %% [markdown]
# **For a port:** store `pixel_values` of one photo from the reference and compare after each step, not at the end.
#
# ## Exercises
#
# 1. Undo the last two steps: `restore(x, mean, std)`, from (3, H, W) normalized to (H, W, 3) uint8.
# 2. Which share of the area of a 320 x 240 photo does the model at 224 with `crop_pct` 0.875 see?
# 3. A port's x runs from about -2 to 1038. Which step is missing: "rescale", "normalize" or "resize"?

# %%
from exercises.lesson_01 import check_1, check_2, check_3

my_restore = None  # your function
check_1(my_restore)

# %%
my_share = None  # your number, between 0 and 1
check_2(my_share)

# %%
my_step = None  # your word
check_3(my_step)
