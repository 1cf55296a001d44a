"""Draw the sample pictures: a ship at sea and an airplane in the sky.

    python -m weights_tools.draw_samples DIRECTORY

The pictures come with the project so that its first command has something to look at; being drawn, they belong to
nobody else. Nothing is random: the same Pillow and NumPy draw the same pixels each time. Positions are in pixels of
the finished picture, colours are (red, green, blue).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from weights_tools.commands import parser_of

Colour = tuple[int, int, int]
Point = tuple[float, float]

WIDTH, HEIGHT = 320, 240
#: Everything is drawn this many times larger and scaled down at the end, which smooths the edges.
FINER = 4
#: Colours of the finished file; a palette keeps it small.
PALETTE = 96
#: Sunlight falls on the things drawn from the upper left.
SHADE = 0.72
CONTAINERS = [(178, 62, 48), (58, 104, 148), (206, 148, 66), (86, 128, 96), (196, 200, 200), (136, 58, 52)]


class Layer:
    """A transparent sheet to draw on, which is then laid over a picture."""

    def __init__(self) -> None:
        self.image = Image.new("RGBA", (WIDTH * FINER, HEIGHT * FINER), (0, 0, 0, 0))

    def shape(self, points: Sequence[Point], top: Colour, bottom: Colour | None = None) -> None:
        """Fill a polygon with a colour, or with a gradient from its highest to its lowest point."""
        mask = Image.new("L", self.image.size)
        ImageDraw.Draw(mask).polygon([(x * FINER, y * FINER) for x, y in points], fill=255)
        heights = [y * FINER for _, y in points]
        paint = _gradient(min(heights), max(heights), top, bottom or top)
        self.image.paste(paint, mask=mask)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Fill a rectangle, its upper edge a little lighter than its lower one."""
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        self.shape(corners, scaled(colour, 1.04), scaled(colour, 0.9))

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw a line through points."""
        finer = [(x * FINER, y * FINER) for x, y in points]
        ImageDraw.Draw(self.image).line(finer, fill=(*colour, 255), width=round(width * FINER), joint="curve")

    def spots(self, xs: Sequence[float], y: float, width: float, height: float, colour: Colour) -> None:
        """Draw a row of ellipses such as portholes."""
        draw = ImageDraw.Draw(self.image)
        for x in xs:
            edges = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            draw.ellipse([edge * FINER for edge in edges], fill=(*colour, 255))

    def over(self, picture: Image.Image) -> Image.Image:
        """Return `picture` with this sheet laid over it."""
        return Image.alpha_composite(picture.convert("RGBA"), self.image).convert("RGB")


def scaled(colour: Colour, factor: float) -> Colour:
    """Return a colour made darker or lighter."""
    red, green, blue = (min(255, round(value * factor)) for value in colour)
    return red, green, blue


def curve(points: Sequence[Point], steps: int = 12) -> list[Point]:
    """Return a smooth line through points (a Catmull-Rom spline)."""
    known = np.array([points[0], *points, points[-1]], dtype=float)
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    smooth = []
    for before, start, end, after in zip(known, known[1:], known[2:], known[3:], strict=False):
        linear, square = end - before, 2 * before - 5 * start + 4 * end - after
        cube = 3 * start - before - 3 * end + after
        smooth.append(start + (linear * t + square * t**2 + cube * t**3) / 2)
    return [(float(x), float(y)) for x, y in np.concatenate([*smooth, known[-1:]])]


def ship() -> Image.Image:
    """Return a cargo ship at sea under a sky with clouds, (240, 320) RGB."""
    horizon = 128
    picture = sea(sky(horizon, (74, 132, 196), (206, 223, 234), clouds=0.5), horizon)
    layer = Layer()
    _superstructure(layer)
    _cargo(layer)
    _hull(layer)
    return finished(_foam(layer.over(_mirrored_in_water(picture, layer, waterline=168))))


def airplane() -> Image.Image:
    """Return an airliner that climbs in a blue sky, (240, 320) RGB."""
    picture = sky(HEIGHT, (52, 112, 190), (168, 202, 232), clouds=0.22)
    layer = Layer()
    layer.shape([(176, 108), (132, 76), (142, 76), (206, 107)], (178, 188, 200), (150, 162, 178))  # the far wing
    _fuselage(layer)
    _tail(layer)
    _near_wing(layer)
    layer.image = layer.image.rotate(7, resample=Image.Resampling.BICUBIC)
    return finished(layer.over(picture))


def sky(horizon: float, top: Colour, bottom: Colour, *, clouds: float) -> Image.Image:
    """Return a sky above `horizon`, with `clouds` from 0 (none) to 1 (covered)."""
    picture = _gradient(0, horizon * FINER, top, bottom)
    x, y = _positions()
    height = np.clip(1 - y / horizon, 0.04, 1)
    # Clouds lie in a plane above: the nearer to the horizon, the flatter and smaller they look.
    across, away = (x - WIDTH / 2) / (0.35 + height) / 42, 5.2 * height**0.8
    puffs = sum(0.55**i * _bumps(across * 1.9**i, away * 1.9**i, 3.1 * i + 0.4) for i in range(6))
    cover = np.clip((puffs - 1.1 + clouds) * 1.1, 0, 1) ** 1.3 * np.clip(height * 3.2, 0, 1)
    bright = Image.new("RGB", picture.size, (250, 251, 252))
    return Image.composite(bright, picture, _mask(cover * 0.92))


def sea(picture: Image.Image, horizon: float) -> Image.Image:
    """Return `picture` with waves below `horizon`."""
    x, y = _positions()
    near = np.clip((y - horizon) / (HEIGHT - horizon), 1e-3, 1)
    distance = 1 / (near + 0.05)
    across = (x - WIDTH / 2) * distance / 26
    waves = np.zeros_like(x)
    for number in range(1, 12):
        angle, length = 2.4 * number, 0.5 + 0.32 * number
        phase = across * np.cos(angle) * 0.45 * length + 7.5 * length * np.log(distance) + 1.7 * number
        waves += np.sin(phase + 0.6 * np.sin(across * 0.37 * length + number)) / length**0.6
    waves *= near**0.35 / 3.2
    base = np.stack([np.interp(near, [0, 0.25, 1], ends) for ends in ((118, 62, 22), (154, 108, 66), (176, 142, 102))])
    glint = np.clip(waves - 0.45, 0, 1) * 150
    colours = base * (1 + 0.34 * waves) + glint
    water = Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8).transpose(1, 2, 0))
    return Image.composite(water, picture, _mask((y > horizon).astype(float)))


def finished(picture: Image.Image) -> Image.Image:
    """Return the picture at its final size."""
    return picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def _positions() -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of every fine pixel, in pixels of the finished picture."""
    y, x = np.mgrid[: HEIGHT * FINER, : WIDTH * FINER] / FINER
    return x, y


def _bumps(x: np.ndarray, y: np.ndarray, phase: float) -> np.ndarray:
    """Return soft, irregular bumps between 0 and 1: sines whose places are shifted by other sines."""
    shifted_x = x + 0.8 * np.sin(0.9 * y + phase)
    shifted_y = y + 0.7 * np.sin(1.3 * x - 2 * phase)
    return (2 + np.sin(shifted_x + phase) + np.sin(1.1 * shifted_y + 0.6 * shifted_x - phase)) / 4


def _mask(strength: np.ndarray) -> Image.Image:
    """Return strengths between 0 and 1 as a mask."""
    return Image.fromarray(np.round(np.clip(strength, 0, 1) * 255).astype(np.uint8))


def _gradient(start: float, end: float, top: Colour, bottom: Colour) -> Image.Image:
    """Return a full sheet that goes from one colour at the height `start` to another at `end`."""
    rows = np.arange(HEIGHT * FINER)
    column = np.stack([np.interp(rows, [start, end], ends) for ends in zip(top, bottom, strict=True)], axis=1)
    pixels = np.broadcast_to(np.round(column).astype(np.uint8)[:, None], (HEIGHT * FINER, WIDTH * FINER, 3))
    return Image.fromarray(np.ascontiguousarray(pixels))


def _hull(layer: Layer) -> None:
    """Draw the hull: dark blue above, a red strip along the water, a white line between."""
    deck = curve([(36, 128), (90, 136), (170, 138), (236, 134), (292, 121)])
    layer.shape([*deck, (284, 140), (272, 168), (48, 168), (40, 150)], (42, 66, 108), (22, 36, 62))
    layer.shape([(45, 160), (275, 160), (272, 168), (48, 168)], (150, 44, 38), (96, 26, 24))
    layer.line([(44.5, 159.4), (275.5, 159.4)], 0.9, (226, 228, 228))
    layer.line([(x, y + 0.6) for x, y in deck], 1.5, (228, 232, 236))
    layer.spots([250, 258, 266], 141, 2.2, 2.2, (18, 26, 42))
    layer.line([(279, 143), (281, 147)], 1.6, (16, 22, 34))


def _superstructure(layer: Layer) -> None:
    """Draw the white house at the stern, with windows, bridge, funnel and mast."""
    white: Colour = (240, 242, 243)
    for left, top, right in ((46, 110, 100), (49, 96, 96), (52, 84, 93)):
        layer.box(left, top, right, 138, white)
        layer.line([(left - 2, top), (right + 2, top)], 1.4, (205, 212, 218))
        layer.box(right - 9, top + 1, right, 138, scaled(white, 0.84))
    for y in (90, 103, 118):
        layer.spots(range(57, 88, 6), y, 3, 4, (52, 70, 92))
    layer.box(54, 73, 96, 84, white)
    layer.box(56, 75.5, 96, 79.5, (48, 66, 90))
    layer.shape([(62, 52), (76, 52), (78, 73), (60, 73)], (206, 74, 44), (158, 48, 32))
    layer.box(61.5, 57, 76.6, 61, (244, 244, 240))
    layer.box(62, 50, 76, 53.5, (36, 38, 42))
    layer.line([(87, 73), (87, 46)], 1.6, (220, 224, 226))
    layer.line([(82, 56), (92, 56)], 1.2, (220, 224, 226))


def _cargo(layer: Layer) -> None:
    """Draw stacks of containers on the deck and the mast at the bow."""
    for column in range(7):
        for row in range(2 + (column % 3 != 2)):
            colour = CONTAINERS[(column * 2 + row * 3) % len(CONTAINERS)]
            left, bottom = 106 + 20 * column, 140 - 10 * row
            layer.box(left, bottom - 10, left + 18.6, bottom - 0.6, colour)
            layer.box(left + 16.2, bottom - 10, left + 18.6, bottom - 0.6, scaled(colour, SHADE))
    layer.line([(264, 130), (264, 92)], 2, (226, 228, 228))
    layer.line([(264, 98), (284, 124)], 0.8, (190, 196, 200))
    layer.line([(264, 98), (248, 112)], 0.8, (190, 196, 200))


def _mirrored_in_water(picture: Image.Image, layer: Layer, waterline: int) -> Image.Image:
    """Return `picture` with a faint, blurred mirror image of the ship below the waterline."""
    above = layer.image.crop((0, 0, WIDTH * FINER, waterline * FINER)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    flat = _rippled(above.resize((above.width, above.height // 2)).filter(ImageFilter.GaussianBlur(FINER)))
    strength = flat.getchannel("A").point(lambda value: round(0.5 * value))
    result = picture.copy()
    result.paste(flat.convert("RGB"), (0, (waterline - 1) * FINER), strength)
    return result


def _rippled(picture: Image.Image) -> Image.Image:
    """Return a mirror image with its rows shifted by the waves, the more the nearer they are."""
    pixels = np.asarray(picture).copy()
    depth = np.arange(len(pixels)) / FINER
    shifts = (1 + depth / 20) * (np.sin(13 * np.sqrt(depth + 4)) + 0.6 * np.sin(29 * np.sqrt(depth + 9)))
    for row, shift in enumerate(np.round(shifts * FINER).astype(int)):
        pixels[row] = np.roll(pixels[row], shift, axis=0)
    return Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(FINER / 2))


def _foam(picture: Image.Image) -> Image.Image:
    """Return `picture` with foam along the hull and at the bow."""
    x, y = _positions()
    crest = 168 + 0.9 * np.sin(x / 3.1) + 0.7 * np.sin(x / 1.7 + 2)
    along = np.exp(-(((y - crest) / 1.5) ** 2)) * ((x > 30) & (x < 282)) * (0.55 + 0.3 * np.sin(x / 5.3))
    bow = np.exp(-(((x - 275) / 10) ** 2) - ((y - crest + 1) / 3.2) ** 2)
    wake = np.exp(-(((y - 169.5 - (44 - x) * 0.03) / 2.2) ** 2)) * (x < 48) * (0.6 + 0.25 * np.sin(x / 2.9))
    white = Image.new("RGB", picture.size, (240, 245, 247))
    return Image.composite(white, picture, _mask(np.clip(along + bow + wake, 0, 0.9)))


def _fuselage(layer: Layer) -> None:
    """Draw the body of the airliner with windows, nose to the right."""
    upper = curve([(38, 110), (70, 107), (140, 105), (220, 105), (252, 108), (272, 117), (279, 125)])
    lower = curve([(279, 125), (268, 131), (246, 134), (150, 135), (100, 131), (38, 112)])
    layer.shape([*upper, *lower], (252, 253, 254), (150, 160, 174))
    layer.shape([(60, 116.5), (262, 121.5), (276, 122), (278, 124), (262, 124), (60, 118.5)], (38, 84, 152))
    layer.spots([*range(92, 246, 6)], 116, 2.6, 3.4, (54, 70, 92))
    layer.shape([(256, 111.5), (264, 113), (269, 117), (257, 116)], (36, 48, 66), (58, 76, 98))


def _tail(layer: Layer) -> None:
    """Draw the fin and the tail planes."""
    layer.shape([(46, 108), (30, 66), (46, 66), (84, 107)], (34, 80, 150), (24, 58, 116))
    layer.shape([(35, 79), (33, 73), (52, 73), (57, 79)], (232, 236, 240))
    layer.shape([(44, 114), (20, 128), (32, 128), (74, 116)], (196, 204, 214), (130, 140, 154))


def _near_wing(layer: Layer) -> None:
    """Draw the wing on the near side with its engine."""
    engine = curve([(150, 143), (160, 139.5), (182, 140), (186, 146), (182, 152), (160, 152), (150, 147), (150, 143)])
    layer.shape(engine, (236, 240, 244), (116, 128, 144))
    layer.spots([184], 146, 5, 11.5, (52, 60, 74))
    layer.shape([(148, 128), (78, 182), (94, 182), (202, 130)], (214, 222, 230), (148, 158, 172))
    layer.line([(94, 182), (202, 130)], 1.2, (246, 249, 252))
    layer.line([(132, 144), (162, 145)], 0.7, (140, 150, 164))
    layer.shape([(78, 182), (72, 172), (78, 172), (94, 182)], (38, 84, 152))


PICTURES: dict[str, Callable[[], Image.Image]] = {"ship": ship, "airplane": airplane}


def write_samples(directory: Path) -> list[Path]:
    """Draw every sample into `directory` as PNG and return the paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, draw in PICTURES.items():
        path = directory / f"{name}.png"
        draw().quantize(PALETTE, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)
        paths.append(path)
    return paths


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    parser = parser_of("draw_samples", "Draw the sample pictures.")
    parser.add_argument("directory", metavar="DIRECTORY", type=Path, help="where the pictures are written")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Draw the samples; return the exit status 0."""
    for path in write_samples(make_parser().parse_args(argv).directory):
        print(f"{path}: {path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
