"""Small files of torch.save, byte by byte and without PyTorch: pickles of protocol 2, opcode by opcode."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np

#: The storage classes of PyTorch, and the NumPy dtype of their bytes.
KINDS = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value):
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def group(*parts):
    return b"(" + b"".join(parts) + b"t"


def call(module, attribute, *arguments):
    return name(module, attribute) + group(*arguments) + b"R"


def mapping(**values):
    return b"}(" + b"".join(text(key) + value for key, value in values.items()) + b"u"


def storage(key, count, kind="FloatStorage", last=b""):
    return group(text("storage"), name("torch", kind), text(key), text("cpu"), number(count), last) + b"Q"


def tensor(stored, shape, strides, offset=0):
    sizes = [group(*map(number, values)) for values in (shape, strides)]
    hooks = call("collections", "OrderedDict")
    return call("torch._utils", "_rebuild_tensor_v2", stored, number(offset), *sizes, b"\x89", hooks)


def pickled(body):
    return b"\x80\x02" + body + b"."


def zip_bytes(members, **settings):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **settings) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return file.getvalue()


def zipped(body, storages=None, **settings):
    """Return a zip file of torch.save with an object and its storages."""
    data = {f"m/data/{key}": np.asarray(values).tobytes() for key, values in (storages or {}).items()}
    return zip_bytes({"m/data.pkl": pickled(body), "m/byteorder": b"little", **data, "m/version": b"3\n"}, **settings)


def streamed(body, storages=None):
    """Return a file of torch.save in the older form."""
    storages = {key: np.asarray(values) for key, values in (storages or {}).items()}
    beginning = pickled(number(0x1950A86A20F9469CFC6C)) + pickled(number(1001))
    system = pickled(mapping(protocol_version=number(1001), little_endian=b"\x88"))
    keys = pickled(b"](" + b"".join(map(text, storages)) + b"e")
    data = b"".join(struct.pack("<q", values.size) + values.tobytes() for values in storages.values())
    return beginning + system + pickled(body) + keys + data
