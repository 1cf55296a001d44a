"""Safetensors files made to break a reader, and good ones that look odd; used by several test modules."""

import json
import random

DATA = bytes([0, 0, 128, 63])  # 1.0 as F32


def raw_file(header, data=b""):
    header = header if isinstance(header, bytes) else header.encode()
    return len(header).to_bytes(8, "little") + header + data


def entry(dtype='"F32"', shape="[1]", offsets="[0,4]"):
    return f'{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}}}'


def one(**fields):
    """A file with one tensor of four bytes, called a."""
    return raw_file(f'{{"a":{entry(**fields)}}}', DATA)


def named(name):
    """A file with one tensor whose name is written so."""
    name = name if isinstance(name, bytes) else name.encode()
    return raw_file(b'{"' + name + b'":' + entry().encode() + b"}", DATA)


def _numbers(*offsets, dtype='"F32"', shape="[1]", size=8):
    tensors = ",".join(f'"{"abc"[i]}":{entry(dtype, shape, pair)}' for i, pair in enumerate(offsets))
    return raw_file(f"{{{tensors}}}", bytes(size))


def _with_empty(offsets):
    empty = entry(shape="[0]", offsets=offsets)
    return raw_file(f'{{"a":{entry()},"b":{empty}}}', DATA)


#: What it is -> the reason to refuse it, the file.
MALICIOUS = {
    "empty file": ("HeaderTooSmall", b""),
    "seven bytes": ("HeaderTooSmall", b"\x02\0\0\0\0\0\0"),
    "header of 90 MB in a small file": (
        "InvalidHeaderLength",
        (90_000_000).to_bytes(8, "little") + b"{}" + bytes(1000),
    ),
    "header one byte longer than the file": ("InvalidHeaderLength", (3).to_bytes(8, "little") + b"{}"),
    "header over 100 MB": ("HeaderTooLarge", (100_000_001).to_bytes(8, "little") + b"{}"),
    "header of 2**64 - 1": ("HeaderTooLarge", b"\xff" * 8 + b"{}"),
    "header of -2 to a signed reader": ("HeaderTooLarge", (2**64 - 2).to_bytes(8, "little") + b"{}"),
    "header of no bytes": ("InvalidHeaderStart", raw_file("")),
    "no-break space first": ("InvalidHeaderStart", raw_file(f'\u00a0{{"a":{entry()}}}', DATA)),
    "form feed first": ("InvalidHeaderStart", raw_file(f'\f{{"a":{entry()}}}', DATA)),
    "only spaces": ("InvalidHeaderStart", raw_file(" " * 1000)),
    "space, then a list": ("InvalidHeaderStart", raw_file("  []")),
    "byte order mark": ("InvalidHeaderStart", raw_file("\ufeff{}")),
    "a list": ("InvalidHeaderStart", raw_file("[]")),
    "null": ("InvalidHeaderStart", raw_file("null")),
    "a pickle": ("HeaderTooLarge", b"\x80\x04\x95\x1d\0\0\0\0\0\0\0\x8c\x02os\x94\x8c\x06system\x94\x93\x94."),
    "a zip, as PyTorch writes": ("HeaderTooLarge", b"PK\x03\x04\x14\0\x08\x08\x08\0"),
    "not closed": ("MalformedHeader", raw_file("{")),
    "closed twice": ("MalformedHeader", raw_file("{}}")),
    "two objects": ("MalformedHeader", raw_file("{} {}")),
    "zero padding": ("MalformedHeader", raw_file("{}\0\0\0")),
    "name without a value": ("MalformedHeader", raw_file('{"a"}')),
    "single quotes": ("MalformedHeader", raw_file(f"{{'a':{entry()}}}", DATA)),
    "comma at the end": ("MalformedHeader", raw_file(f'{{"a":{entry()},}}', DATA)),
    "comma at the start": ("MalformedHeader", raw_file(f'{{,"a":{entry()}}}', DATA)),
    "comment": ("MalformedHeader", raw_file(f'{{/**/"a":{entry()}}}', DATA)),
    "number as a name": ("MalformedHeader", raw_file(f"{{1:{entry()}}}", DATA)),
    "name not closed": ("MalformedHeader", raw_file('{"a')),
    "name ending in a backslash": ("MalformedHeader", raw_file('{"a\\')),
    "control character in a name": ("MalformedHeader", named("a\n")),
    "unknown escape": ("MalformedHeader", named("\\x41")),
    "short escape": ("MalformedHeader", named("\\u12")),
    "not UTF-8": ("InvalidUtf8", named(b"\xff")),
    "overlong UTF-8": ("InvalidUtf8", named(b"\xc0\xaf")),
    "surrogate in UTF-8": ("InvalidUtf8", named(b"\xed\xa0\x80")),
    "not UTF-8 outside of a name": ("MalformedHeader", raw_file(b'{\xff"a":' + entry().encode() + b"}", DATA)),
    "half a surrogate pair": ("InvalidUtf8", named("\\ud800")),
    "surrogates the wrong way round": ("InvalidUtf8", named("\\udc00\\ud800")),
    "half a surrogate pair in the metadata": ("InvalidUtf8", raw_file('{"__metadata__":{"a":"\\udfff"}}')),
    "tensor twice": ("DuplicateName", raw_file(f'{{"a":{entry()},"a":{entry()}}}', DATA)),
    "tensor twice, once escaped": ("DuplicateName", raw_file(f'{{"a":{entry()},"\\u0061":{entry()}}}', DATA)),
    "field twice": ("DuplicateName", one(dtype='"F32","dtype":"F32"')),
    "metadata twice": ("DuplicateName", raw_file('{"__metadata__":{},"__metadata__":{}}')),
    "null metadata twice": ("DuplicateName", raw_file('{"__metadata__":null,"__metadata__":null}')),
    "metadata key twice": ("DuplicateName", raw_file('{"__metadata__":{"a":"1","a":"2"}}')),
    "metadata of a number": ("MalformedHeader", raw_file('{"__metadata__":{"a":1}}')),
    "metadata of null": ("MalformedHeader", raw_file('{"__metadata__":{"a":null}}')),
    "metadata of an object": ("MalformedHeader", raw_file('{"__metadata__":{"a":{}}}')),
    "metadata as a list": ("MalformedHeader", raw_file('{"__metadata__":[]}')),
    "metadata as text": ("MalformedHeader", raw_file('{"__metadata__":"a"}')),
    "a tensor called __metadata__": ("MalformedHeader", named("__metadata__")),
    "tensor as a number": ("MalformedHeader", raw_file('{"a":1}')),
    "tensor as null": ("MalformedHeader", raw_file('{"a":null}')),
    "tensor as a list": ("MalformedHeader", raw_file('{"a":["F32",[1],[0,4]]}', DATA)),
    "no fields": ("MalformedHeader", raw_file('{"a":{}}')),
    "no dtype": ("MalformedHeader", raw_file('{"a":{"shape":[1],"data_offsets":[0,4]}}', DATA)),
    "no shape": ("MalformedHeader", raw_file('{"a":{"dtype":"F32","data_offsets":[0,4]}}', DATA)),
    "no offsets": ("MalformedHeader", raw_file('{"a":{"dtype":"F32","shape":[1]}}', DATA)),
    "a fourth field": ("MalformedHeader", one(dtype='"F32","stride":[1]')),
    "dtype as a number": ("MalformedHeader", one(dtype="32")),
    "dtype as an object": ("MalformedHeader", one(dtype='{"F32":null}')),
    "lower-case dtype": ("UnknownDtype", one(dtype='"f32"')),
    "dtype with a space": ("UnknownDtype", one(dtype='"F32 "')),
    "NumPy's name of a dtype": ("UnknownDtype", one(dtype='"float32"')),
    "dtype of objects": ("UnknownDtype", one(dtype='"O"')),
    "F4, two numbers a byte": ("UnknownDtype", one(dtype='"F4"', shape="[8]")),
    "F8_E8M0, powers of two": ("UnknownDtype", one(dtype='"F8_E8M0"', shape="[4]")),
    "complex": ("UnknownDtype", _numbers("[0,8]", dtype='"C64"')),
    "shape as a number": ("MalformedHeader", one(shape="1")),
    "shape of null": ("MalformedHeader", one(shape="null")),
    "shape of true": ("MalformedHeader", one(shape="[true]")),
    "shape of a fraction": ("MalformedHeader", one(shape="[1.0]")),
    "shape with an exponent": ("MalformedHeader", one(shape="[1e0]")),
    "negative shape": ("MalformedHeader", one(shape="[-1]")),
    "two negatives": ("MalformedHeader", one(shape="[-1,-1]")),
    "minus zero": ("MalformedHeader", one(shape="[-0]")),
    "leading zero": ("MalformedHeader", one(shape="[01]")),
    "NaN": ("MalformedHeader", one(shape="[NaN]")),
    "shape of text": ("MalformedHeader", one(shape='["1"]')),
    "a million digits": ("MalformedHeader", one(shape=f"[{'1' * 1_000_000}]")),
    "a million brackets": ("MalformedHeader", one(shape="[" * 1_000_000)),
    "a million objects": ("MalformedHeader", raw_file('{"a":' * 1_000_000)),
    "a million lists": ("MalformedHeader", raw_file('{"a":[' + "[]," * 1_000_000)),
    "65 dimensions": ("MalformedHeader", one(shape=f"[{','.join('1' * 65)}]")),
    "a million dimensions": ("MalformedHeader", one(shape=f"[{','.join('1' * 1_000_000)}]")),
    "one offset": ("MalformedHeader", one(offsets="[4]")),
    "three offsets": ("MalformedHeader", one(offsets="[0,4,4]")),
    "negative offset": ("MalformedHeader", one(offsets="[-4,0]")),
    "offset with a fraction": ("MalformedHeader", one(offsets="[0,4.0]")),
    "shape too large for 64 bits": ("ShapeTooLarge", one(shape=f"[{2**64}]")),
    "bytes too large for 64 bits": ("ShapeTooLarge", one(shape=f"[{2**62},4]")),
    "product that wraps round to one": ("ShapeTooLarge", one(shape=f"[{2**32 + 1},{2**64 // (2**32 + 1) + 1}]")),
    "empty, but too large to address": ("ShapeTooLarge", _numbers("[0,0]", shape=f"[{2**62},0]", size=0)),
    "zero, then too large to address": ("ShapeTooLarge", _numbers("[0,0]", shape=f"[0,{2**62}]", size=0)),
    "empty, widened beyond an address": (
        "ShapeTooLarge",
        _numbers("[0,0]", dtype='"BF16"', shape=f"[{2**61},0]", size=0),
    ),
    "shape smaller than the span": ("SizeMismatch", one(shape="[0]")),
    "shape larger than the span": ("SizeMismatch", one(shape="[2]")),
    "dtype smaller than the span": ("SizeMismatch", one(dtype='"F16"')),
    "huge shape within 64 bits": ("SizeMismatch", one(shape=f"[{2**40}]")),
    "offsets the wrong way round": ("InvalidOffset", one(offsets="[4,0]")),
    "gap before the first": ("InvalidOffset", _numbers("[4,8]")),
    "gap between": ("InvalidOffset", _numbers("[0,4]", "[8,12]", size=12)),
    "overlap": ("InvalidOffset", _numbers("[0,4]", "[2,6]", size=6)),
    "same bytes twice": ("InvalidOffset", _numbers("[0,4]", "[0,4]", size=4)),
    "beyond the end": ("InvalidOffset", _numbers("[0,4]", size=3)),
    "offsets near 2**64": ("InvalidOffset", one(offsets=f"[{2**64 - 4},{2**64}]")),
    "empty tensor inside another": ("InvalidOffset", _with_empty("[2,2]")),
    "empty tensor beyond the end": ("InvalidOffset", _with_empty("[5,5]")),
    "a byte left over": ("TrailingBytes", one() + b"\0"),
    "bytes without a tensor": ("TrailingBytes", raw_file("{}", b"\0")),
}

#: Those that the official reader, version 0.8, accepts, and we refuse on purpose: `npconv.files.header` says why.
STRICTER = {
    "tensor twice",
    "tensor twice, once escaped",
    "metadata key twice",
    "a fourth field",
    "tensor as a list",
    "dtype as an object",
    "F4, two numbers a byte",
    "F8_E8M0, powers of two",
    "complex",
    # No NumPy array has these shapes: the official reader of NumPy arrays fails there too, with a ValueError.
    "65 dimensions",
    "a million dimensions",
    "empty, but too large to address",
    "zero, then too large to address",
    "empty, widened beyond an address",
}

#: Odd, but good: what it is -> the file, the names and shapes in it.
ODD = {
    "nothing": (raw_file("{}"), {}),
    "nothing, padded": (raw_file("{}      "), {}),
    "white space of every kind": (raw_file(f'{{ \t\n\r"a" : {entry()} }} \n'.replace(",", " , "), DATA), {"a": (1,)}),
    "spaces first": (raw_file(" " * 10_000 + f'{{"a":{entry()}}}', DATA), {"a": (1,)}),
    "white space first": (raw_file(f'\t\n\r {{"a":{entry()}}}', DATA), {"a": (1,)}),
    "empty metadata": (raw_file('{"__metadata__":{}}'), {}),
    "null metadata": (raw_file(f'{{"__metadata__":null,"a":{entry()}}}', DATA), {"a": (1,)}),
    "metadata last": (raw_file(f'{{"a":{entry()},"__metadata__":{{"b":"c"}}}}', DATA), {"a": (1,)}),
    "metadata with a NUL": (raw_file('{"__metadata__":{"a":"\\u0000"}}'), {}),
    "scalar": (one(shape="[]"), {"a": ()}),
    "64 dimensions": (one(shape=f"[{','.join('1' * 64)}]"), {"a": (1,) * 64}),
    "empty tensors at each end": (
        raw_file(
            f'{{"z":{entry(shape="[0]", offsets="[4,4]")},"a":{entry()},"b":{entry(shape="[2,0,3]", offsets="[0,0]")},'
            f'"c":{entry(shape="[0]", offsets="[4,4]")}}}',
            DATA,
        ),
        {"z": (0,), "a": (1,), "b": (2, 0, 3), "c": (0,)},
    ),
    "fields in another order": (
        raw_file('{"a":{"data_offsets":[0,4],"shape":[1],"dtype":"F32"}}', DATA),
        {"a": (1,)},
    ),
    "escapes in a field": (
        raw_file('{"a":{"d\\u0074ype":"F\\u00332","shape":[1],"data_offsets":[0,4]}}', DATA),
        {"a": (1,)},
    ),
    "tensors in another order than their bytes": (_numbers("[4,8]", "[0,4]"), {"a": (1,), "b": (1,)}),
    "bytes at an odd place": (raw_file(f'{{"a":{entry()}}}   ', DATA), {"a": (1,)}),
    "empty name": (named(""), {"": (1,)}),
    "name with a NUL": (named("\\u0000"), {"\0": (1,)}),
    "name with quotes and backslashes": (named(r"\"\\\""), {'"\\"': (1,)}),
    "name of an emoji": (named("\U0001f600"), {"\U0001f600": (1,)}),
    "name of an escaped emoji": (named("\\ud83d\\ude00"), {"\U0001f600": (1,)}),
    "name with a DEL": (named("\x7f"), {"\x7f": (1,)}),
    "name of 10,000 escapes": (named("\\n" * 10_000), {"\n" * 10_000: (1,)}),
    "booleans other than 0 and 1": (one(dtype='"BOOL"', shape="[4]"), {"a": (4,)}),
}

_HOSTILE_TOKENS = [
    *(b"null", b"true", b"-1", b"1.5", b"1e3", b"18446744073709551616", b"9" * 50, b"[", b"]", b"{", b"}", b",", b'"'),
    *(b"\\", b"\\ud800", b"\xff", b"\0", b"BF16", b"F64", b"U8", b"F8_E5M2", b"shape", b"__metadata__", b"[" * 100),
]


def mutated_files(originals, count):
    """Return `count` different damaged copies: the same ones at every call, each kind of damage in turn."""
    found = {}
    seed = 0
    while len(found) < count:
        original = originals[seed % len(originals)]
        content = _mutated(original, random.Random(seed), seed // len(originals))
        if content != original:
            found[content] = None
        seed += 1
    return list(found)


def _mutated(original, generator, kind):
    content = bytearray(original)
    header_end = 8 + int.from_bytes(original[:8], "little")
    kind %= 7
    if kind == 0:  # bits of the header
        for _ in range(generator.randint(1, 2)):
            content[generator.randrange(8, header_end)] ^= 1 << generator.randrange(8)
    elif kind == 1:  # bits anywhere
        for _ in range(generator.randint(1, 8)):
            content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    elif kind == 2:  # cut
        del content[generator.randrange(len(content)) :]
    elif kind == 3:  # another length of the header
        lengths = [0, 1, header_end - 9, header_end - 7, len(content), 90_000_000, 10**9, 2**63, 2**64 - 1]
        claimed = generator.choice(lengths)
        content[:8] = claimed.to_bytes(8, "little")
    elif kind == 4:  # a piece lost or doubled
        start = generator.randrange(8, len(content))
        piece = content[start : start + generator.randint(1, 16)]
        content[start : start + len(piece)] = piece * generator.choice([0, 2])
    elif kind == 5:  # a digit of the header replaced by another
        digits = [i for i in range(8, header_end) if chr(content[i]).isdigit()]
        content[generator.choice(digits)] = ord(generator.choice("0123456789"))
    else:  # something hostile in the header, with the length right or wrong
        start = generator.randrange(8, header_end)
        token = generator.choice(_HOSTILE_TOKENS)
        content[start : start + generator.choice([0, len(token)])] = token
        if generator.random() < 0.8:
            content[:8] = (header_end - 8 + len(content) - len(original)).to_bytes(8, "little")
    return bytes(content)


def naive_read(content):
    """Return dtype, shape and bytes of each tensor of a good file, without any check."""
    header_end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:header_end])
    header.pop("__metadata__", None)
    tensors = {}
    for name, fields in header.items():
        start, stop = fields["data_offsets"]
        tensors[name] = (fields["dtype"], tuple(fields["shape"]), content[header_end + start : header_end + stop])
    return tensors
