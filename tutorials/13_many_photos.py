# %% [markdown]
# # 13 · Many photos
#
# A classifier knows its ten classes. What it classifies is a list of numbers, the *features* of a picture, and similar
# pictures get similar lists. With them, one finds what is alike in a folder, without labels or training. It is also a
# strong test of a port: a mistake that only grey, large or rotated photos show is not seen in a test with one photo.
#
# You need lessons 00, 01 and 06. Afterwards you can write the features of a folder to a file, find nearest neighbours
# and near duplicates, and lay out a contact sheet.

# %%
import io
import json
from contextlib import redirect_stderr
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from npconv.cli import main
from npconv.files.safetensors import load_file, read_metadata
from showing import sample, show_pictures

# %% [markdown]
# ## A folder
#
# We make one: parts of the sample picture, lighter and darker, and drawings of cars, planes and frogs in all colours.
# Half of them are mirrored. The names say what they are; the model does not see the names.

# %%
rng = np.random.default_rng(5)
ship = Image.open(sample("ship.png")).convert("RGB")


def some_colour():
    """Return a colour: red, green and blue."""
    return tuple(int(value) for value in rng.integers(40, 230, size=3))


def make(kind):
    """Return a small picture of a kind of thing."""
    if kind == "ship":
        left, top = rng.integers(0, 60), rng.integers(0, 20)
        part = ship.crop((left, top, left + 250, top + 215)).resize((64, 64))
        return ImageEnhance.Brightness(part).enhance(rng.uniform(0.6, 1.3))
    image = Image.new("RGB", (64, 64), some_colour())
    draw = ImageDraw.Draw(image)
    x, y, colour = rng.integers(2, 14), rng.integers(14, 31), some_colour()
    if kind == "car":
        draw.polygon([(x + 10, y), (x + 30, y), (x + 37, y + 9), (x + 4, y + 9)], fill=(200, 220, 235))
        draw.rectangle((x, y + 9, x + 46, y + 20), fill=colour)
        draw.ellipse((x + 5, y + 15, x + 15, y + 25), fill=(20, 20, 20))
        draw.ellipse((x + 31, y + 15, x + 41, y + 25), fill=(20, 20, 20))
    elif kind == "plane":
        draw.ellipse((x, y, x + 46, y + 8), fill=colour)
        draw.polygon([(x + 18, y + 5), (x + 28, y + 5), (x + 12, y + 19)], fill=colour)
        draw.polygon([(x + 2, y + 3), (x, y - 9), (x + 9, y + 3)], fill=colour)
    else:
        draw.ellipse((x, y, x + 40, y + 26), fill=colour)
        for eye in (x + 6, x + 26):
            draw.ellipse((eye, y - 6, eye + 10, y + 4), fill=colour)
            draw.ellipse((eye + 3, y - 4, eye + 7, y), fill=(10, 10, 10))
    return image


temporary = TemporaryDirectory()
folder = Path(temporary.name)
for kind in ("ship", "car", "plane", "frog"):
    for number in range(10):
        picture = make(kind)
        if number % 2 == 1:
            picture = ImageOps.mirror(picture)
        picture.save(folder / f"{kind}-{number}.png")
Image.open(folder / "car-3.png").save(folder / "copy.jpg", quality=60)
(folder / "broken.png").write_bytes(b"not a picture")

# %% [markdown]
# ## The features of a folder
#
# `npconv features` writes a safetensors file (lesson 00): for each photo the mean of the last map over its positions,
# normalized, which is what the classifier takes. A file that cannot be read is named and left out, and the exit status
# is then 1. (`main` runs the command in this process.)

# %%
photos = sorted(str(path) for path in folder.iterdir())
said = io.StringIO()
with redirect_stderr(said):
    status = main(["features", *photos, "-o", str(folder / "features.safetensors"), "--model", "convnextv2-cifar10"])
features = load_file(folder / "features.safetensors")["pooled"]
names = [Path(name).name for name in json.loads(read_metadata(folder / "features.safetensors")["files"])]
pictures = {name: Image.open(folder / name).convert("RGB") for name in names}
print(f"features {features.shape} of {len(names)} photos, exit status {status}")
assert status == 1
assert "broken.png" in said.getvalue()
assert features.shape == (41, 160)

# %% [markdown]
# ## Nearest neighbours
#
# Two pictures are alike if their features point in the same direction. The measure is the *cosine similarity*: the
# product of the two vectors, each divided by its length; 1 is the same direction. All pairs are one matrix product.


# %%
def similarities(rows):
    """Return the cosine similarity of all pairs of rows; of a row with itself, minus infinity."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    table = unit @ unit.T
    np.fill_diagonal(table, -np.inf)
    return table


alike = similarities(features)
shown = {}
for query in ("ship-0.png", "car-0.png", "plane-0.png", "frog-0.png"):
    row = alike[names.index(query)]
    shown[query] = pictures[query]
    for index in np.argsort(row)[::-1][:4]:
        shown[f"{names[index][:-4]} {row[index]:.2f}" + " " * len(shown)] = pictures[names[index]]
show_pictures(shown, "On the left a photo, then the four most like it, with their similarity", size=96, columns=5)

# %% [markdown]
# How many of the five nearest are of the same kind? For comparison, the same with the pixels themselves as features.

# %%
kinds = np.array([name.replace("copy", "car-3").split("-")[0] for name in names])
pixels = np.array([np.asarray(pictures[name].resize((32, 32)), dtype=np.float64).ravel() for name in names])
pixels -= pixels.mean(axis=0)
hits = {}
for label, table in (("features", alike), ("pixels", similarities(pixels))):
    nearest = np.argsort(table, axis=1)[:, ::-1][:, :5]
    hits[label] = float((kinds[nearest] == kinds[:, None]).mean())
print(f"share of the five nearest that are of the same kind: {hits}")
assert hits["features"] > max(0.7, hits["pixels"] + 0.2)

# %% [markdown]
# Colours and places differ, so pixels are a poor guide. The features know most shapes, even drawn ones. One file is a
# copy, as JPEG, under another name. Its nearest neighbour gives it away.

# %%
row = alike[names.index("copy.jpg")]
print(f"copy.jpg is most like {names[np.argmax(row)]}: {row.max():.3f}")
assert names[np.argmax(row)] == "car-3.png"

# %% [markdown]
# ## A contact sheet
#
# All photos on one page, in an order that puts like beside like: begin anywhere, and always go on with the most similar
# photo that is left.

# %%
order = [0]
while len(order) < len(names):
    row = alike[order[-1]].copy()
    row[order] = -np.inf
    order.append(int(np.argmax(row)))
sheet = {names[index].split(".")[0]: pictures[names[index]] for index in order}
show_pictures(sheet, "The folder in order of similarity", size=54, columns=10)
same = int((kinds[order[1:]] == kinds[order[:-1]]).sum())
assert same > 20
temporary.cleanup()

# %% [markdown]
# **For a port:** compare its features of a folder with npconv's, photo by photo. The photo with the lowest similarity
# is the one to look at: an odd size, a grey picture, a rotated one (lesson 01).
#
# ## Exercises
#
# 1. Write `my_nearest(rows, query, count)`: the indices of the `count` rows most alike to row `query`, the best first,
#    without `query` itself.
# 2. You have a million photos, and features of 160 numbers in float32. How many megabytes (of 10**6 bytes) are they?

# %%
from exercises.lesson_13 import check_1, check_2

my_nearest = None  # your function
check_1(my_nearest)

# %%
my_megabytes = None  # your number
check_2(my_megabytes)
