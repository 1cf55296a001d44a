"""Picture files written byte by byte, and what is in them by their definition: nothing here uses an image library."""

import struct
import zlib

import numpy as np

#: Types of TIFF's values by their letter in `struct`, and R for a fraction.
TIFF_TYPES = {"B": 1, "s": 2, "H": 3, "I": 4, "R": 5, "f": 11, "d": 12}

#: Where the passes of an interlaced PNG begin, and their steps: x, y.
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def packed(values, bits, order=">", sample_format=1):
    """Return the rows of an array (H, ...) as they lie in a file: samples one after the other, rows on whole bytes."""
    if bits in (16, 32, 64) or (bits == 8 and sample_format == 2):
        return values.astype(f"{order}{ {1: 'u', 2: 'i', 3: 'f'}[sample_format] }{bits // 8}").tobytes()
    rows = []
    for row in values:
        text = "".join(format(int(value), f"0{bits}b") for value in row.ravel())
        text += "0" * (-len(text) % 8)
        rows.append(int(text, 2).to_bytes(len(text) // 8, "big"))
    return b"".join(rows)


def tiff(tags, strips, *, order="<", deflate=False, tiled=False):
    """Return a TIFF; `tags` are ``{number: (type, values)}`` but for those that say where the strips lie."""
    if deflate:
        strips, tags = [zlib.compress(strip) for strip in strips], {**tags, 259: ("H", [8])}
    offsets, sizes = (324, 325) if tiled else (273, 279)
    tags = {259: ("H", [1]), **tags, offsets: ("I", [0] * len(strips)), sizes: ("I", list(map(len, strips)))}

    def encoded(kind, values):
        if kind == "R":
            return b"".join(struct.pack(f"{order}II", round(value * 10**6), 10**6) for value in values)
        return bytes(values) if kind == "s" else struct.pack(f"{order}{len(values)}{kind}", *values)

    place, places = 8 + 2 + 12 * len(tags) + 4, {}
    for tag in sorted(tags):
        size = len(encoded(*tags[tag]))
        if size > 4:
            places[tag], place = place, place + size
    tags[offsets] = ("I", [place + sum(map(len, strips[:number])) for number in range(len(strips))])
    directory, beyond = struct.pack(f"{order}H", len(tags)), b""
    for tag in sorted(tags):
        kind, values = tags[tag]
        content = encoded(kind, values)
        directory += struct.pack(f"{order}HHI", tag, TIFF_TYPES[kind], len(values))
        directory += struct.pack(f"{order}I", places[tag]) if tag in places else content.ljust(4, b"\0")
        beyond += content if tag in places else b""
    header = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    return header + directory + struct.pack(f"{order}I", 0) + beyond + b"".join(strips)


def grey_tiff(values, bits=16, photometric=1, order="<", sample_format=1, tags=(), **options):
    """Return a TIFF of one channel with values (H, W)."""
    height, width = values.shape
    basic = {256: ("I", [width]), 257: ("I", [height]), 258: ("H", [bits]), 277: ("H", [1]), 278: ("I", [height])}
    basic |= {262: ("H", [photometric]), 339: ("H", [sample_format]), **dict(tags)}
    return tiff(
        {tag: value for tag, value in basic.items() if value is not None},
        [packed(values, bits, order, sample_format)],
        order=order,
        **options,
    )


def chunk(kind, content):
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(values, bits, colour_type, chunks=b"", *, interlaced=False):
    """Return a PNG of values (H, W, C); `chunks` come between header and pixels."""
    height, width = values.shape[:2]
    data = b""
    for x, y, x_step, y_step in PASSES if interlaced else ((0, 0, 1, 1),):
        part = values[y::y_step, x::x_step]
        data += b"".join(b"\0" + packed(row[None], bits) for row in part) if part.size else b""
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, int(interlaced))
    body = chunk(b"IHDR", header) + chunks + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def netpbm(magic, values, maxval):
    """Return a PGM or PPM, of text or of bytes, of values (H, W, C)."""
    header = f"{magic}\n{values.shape[1]} {values.shape[0]}\n{maxval}\n".encode()
    if magic in ("P2", "P3"):
        return header + " ".join(map(str, values.ravel())).encode()
    return header + values.astype("u1" if maxval < 256 else ">u2").tobytes()


def over_white(colours, alpha):
    """Return colours from 0 to 255 laid over white; `alpha` is from 0 to 1."""
    return colours * alpha + 255 * (1 - alpha)


def without_adobe(jpeg):
    """Return a JPEG without its APP14 segment."""
    start = jpeg.index(b"\xff\xee")
    return jpeg[:start] + jpeg[start + 2 + int.from_bytes(jpeg[start + 2 : start + 4], "big") :]


def greys(levels):
    """Return a grey picture (H, W) as (H, W, 3)."""
    return np.asarray(levels, dtype=float)[..., None].repeat(3, axis=-1)
