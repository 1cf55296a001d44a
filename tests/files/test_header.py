import itertools
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hostile_files import MALICIOUS, ODD, STRICTER, raw_file

from npconv.errors import SafetensorsError, WeightsError
from npconv.files.header import REASONS, Entry, _HeaderReader, parse_header
from npconv.files.safetensors import load, load_file, read_header, read_metadata


def parse(content):
    return parse_header(memoryview(content), "it")


@pytest.mark.parametrize(("reason", "content"), MALICIOUS.values(), ids=MALICIOUS)
def test_malicious_file_is_refused_with_its_reason(reason, content):
    with pytest.raises(SafetensorsError) as caught:
        load(content)
    assert caught.value.reason == reason
    message = str(caught.value)
    assert message.startswith(f"{reason}: the data")
    assert message.isprintable(), "one line, whatever the file holds"
    assert len(message) < 1000


def test_every_reason_has_a_malicious_file():
    assert {reason for reason, _ in MALICIOUS.values()} == set(REASONS)
    assert set(MALICIOUS) >= STRICTER


@pytest.mark.parametrize(("content", "shapes"), ODD.values(), ids=ODD)
def test_odd_but_good_file_is_read(content, shapes):
    assert {name: array.shape for name, array in load(content).items()} == shapes
    assert {name: entry.shape for name, entry in parse(content).entries.items()} == shapes


@pytest.mark.parametrize(
    "what",
    [
        "header of 90 MB in a small file",
        "header over 100 MB",
        "a million digits",
        "a million brackets",
        "a million lists",
        "a million dimensions",
        "a million objects",
    ],
)
def test_hostile_header_allocates_nothing(what):
    content = memoryview(MALICIOUS[what][1])
    with pytest.raises(SafetensorsError):  # once before, so that no import or cache is counted
        parse(content)
    tracemalloc.start()
    try:
        with pytest.raises(SafetensorsError) as caught:
            parse(content)
        del caught
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200_000, "a piece of the header, an exception with its traceback, and no more"


def test_error_names_the_file_and_the_place(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(raw_file('{"weight":{"dtype":"F23"'))
    with pytest.raises(SafetensorsError, match=r"UnknownDtype: .*model.safetensors', byte 32: tensor 'weight' .*'F23'"):
        load_file(path)


@pytest.mark.parametrize("order", [*itertools.permutations(["dtype", "shape", "data_offsets"])], ids="-".join)
@pytest.mark.parametrize("separators", [(",", ":"), (" ,\n", "\t: ")], ids=["close", "wide"])
@pytest.mark.parametrize("names", ["t{}", "\u00e9{}", 'a"\\\u2028{}'], ids=["plain", "accent", "escapes"])
def test_what_writers_write_is_not_read_symbol_by_symbol(monkeypatch, order, separators, names):
    """As a header of 150,000 tensors must not be, whether it is good or not; but for the last one, without a comma."""
    slow = []
    read = _HeaderReader.entry
    monkeypatch.setattr(_HeaderReader, "entry", lambda self, name: slow.append(name) or read(self, name))
    fields = {"dtype": "F32", "shape": [0, 3], "data_offsets": [0, 0]}
    entries = {names.format(i): {key: fields[key] for key in order} for i in range(500)}
    header = parse(raw_file(json.dumps(entries, separators=separators)))
    assert list(header.entries) == list(entries)
    assert set(header.entries.values()) == {Entry("F32", (0, 3), 0, 0)}
    entries["x"] = {**fields, "shape": [1]}
    with pytest.raises(SafetensorsError, match=r"SizeMismatch.*'x'"):
        parse(raw_file(json.dumps(entries, separators=separators)))
    assert slow == [names.format(499), "x"]


def test_long_names_are_cut_in_errors():
    with pytest.raises(SafetensorsError) as caught:
        parse(raw_file('{"' + "a" * 1_000_000 + '":{"b":1}}'))
    assert len(str(caught.value)) < 500


def test_read_header(tmp_path):
    path = tmp_path / "model.safetensors"
    tensors = {"w": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [1, 13]}}
    tensors["u"] = {"dtype": "U8", "shape": [], "data_offsets": [0, 1]}
    content = raw_file(json.dumps({"__metadata__": {"format": "pt", "b": "\u00e9"}, **tensors}), bytes(13))
    path.write_bytes(content)
    header = read_header(path)
    assert header.entries == {"w": Entry("BF16", (2, 3), 1, 13), "u": Entry("U8", (), 0, 1)}
    assert list(header.entries) == ["w", "u"], "the order of the file"
    assert header.metadata == read_metadata(path) == {"format": "pt", "b": "\u00e9"}
    assert header.data_start == len(content) - 13


@pytest.mark.parametrize("what", ["nothing", "null metadata"])
def test_file_without_metadata(tmp_path, what):
    path = tmp_path / "model.safetensors"
    path.write_bytes(ODD[what][0])
    assert read_header(path).metadata is None
    assert read_metadata(path) == {}


@pytest.mark.parametrize("read", [load_file, read_header, read_metadata])
def test_every_reader_of_files_checks(tmp_path, read):
    path = tmp_path / "model.safetensors"
    path.write_bytes(MALICIOUS["a byte left over"][1])
    with pytest.raises(SafetensorsError, match="TrailingBytes"):
        read(path)
    with pytest.raises(WeightsError, match="does not exist"):
        read(tmp_path / "none.safetensors")


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
white_space = st.text(" \t\n\r", max_size=3)


@st.composite
def headers(draw):
    """A valid header, and its text with any white space, any order of fields, escaped or not."""
    sizes = draw(st.lists(st.integers(0, 5), max_size=5))
    names = draw(st.lists(texts.filter(lambda text: text != "__metadata__"), min_size=5, max_size=5, unique=True))
    metadata = draw(st.none() | st.dictionaries(texts, texts, max_size=3))
    tensors, end = {}, 0
    for name, size in zip(names, sizes, strict=False):
        fields = [("dtype", "U8"), ("shape", [size]), ("data_offsets", [end, end + size])]
        tensors[name] = dict(draw(st.permutations(fields)))
        end += size
    content = dict(draw(st.permutations(list(tensors.items()))))
    if metadata is not None:
        content["__metadata__"] = metadata
    separators = (draw(white_space) + "," + draw(white_space), draw(white_space) + ":" + draw(white_space))
    text = json.dumps(content, ensure_ascii=draw(st.booleans()), separators=separators) + draw(white_space)
    return content, metadata, raw_file(text, bytes(end))


@given(headers())
def test_reads_what_json_reads(case):
    content, metadata, file = case
    header = parse(file)
    assert header.metadata == metadata
    content.pop("__metadata__", None)
    assert list(header.entries) == list(content)
    for name, entry in header.entries.items():
        fields = content[name]
        assert entry == Entry(fields["dtype"], tuple(fields["shape"]), *fields["data_offsets"])


@given(st.binary(max_size=60).map(lambda tail: raw_file(b'{"' + tail)) | st.binary(max_size=60))
def test_any_bytes_are_refused_by_name_or_read(content):
    try:
        header = parse(content)
    except SafetensorsError as error:
        assert error.reason in REASONS  # noqa: PT017
    else:
        assert header.data_start == len(content), "no tensor of more than nothing fits in here"
