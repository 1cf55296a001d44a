"""A machine for the opcodes of pickle protocols 2 to 5 that imports nothing, calls nothing and sets no attribute.

What ``pickle`` would look up in a module becomes a `Global`, a text that the table of
:mod:`~npconv.files.pickle_names` lets pass. What it would call is answered by :mod:`~npconv.files.pickle_calls`, with
the values of :mod:`~npconv.files.pickle_values`. Lists, tuples, dicts and numbers are those of Python.

Opcodes of protocols 0 and 1 (``INST``, ``OBJ``, ``PERSID``, text), the registry of extensions (``EXT1`` ...), out of
band buffers and ``DUP`` are refused: nothing that saves weights writes them. Opcodes are bounded, and so is everything
that could make work grow faster than the file: what calls copy is counted against the bytes that were read, keys of a
dict are short texts, whose hashes nobody can choose, and few numbers.

Source: the opcode table of Python's ``pickletools``.
"""

from __future__ import annotations

import contextlib
import pickletools
import struct
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from npconv.errors import WeightsError
from npconv.files.pickle_calls import call, new, persistent, set_state
from npconv.files.pickle_names import is_known, look_up
from npconv.files.pickle_values import (
    MADE,
    MAX_NAME,
    MAX_NUMBER_KEYS,
    Global,
    Object,
    Skipped,
    Storage,
    checked_keys,
    kind,
)

#: A model of a thousand tensors takes about 40 000; a training checkpoint with an optimizer three times as many.
MAX_OPCODES = 400_000
MAX_MARKS = 1000
#: Longer bytes are not copied out of the file; they are the numbers of an array.
MAX_TEXT = 1_000_000
#: Of items that calls may copy, beside one for each byte read.
MAX_COPIED = 1000

_MARK = object()
_OPCODES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}


class _DamagedError(Exception):
    """What is wrong at the opcode being read; `read_pickle` adds where that is."""


class Pickle(NamedTuple):
    """What a pickle describes."""

    #: Of dicts, lists, tuples, texts, bytes, numbers, None and what `npconv.files.pickle_values` has; it may contain
    #: itself.
    value: Any
    #: Where in the buffer it ends.
    stop: int
    #: All that it refers to, by key; those of skipped things too.
    storages: dict[str, Storage]


def read_pickle(buffer: memoryview, source: str, start: int = 0) -> Pickle:
    """Return what the pickle describes that begins at `start`; what follows it is not looked at.

    Raises
    ------
    WeightsError
        If the pickle names what is not in the closed table, or is damaged, or beyond what a checkpoint needs.
    """
    machine = _Machine(buffer, start)
    try:
        return Pickle(machine.run(), machine.position, machine.storages)
    except _DamagedError as error:
        reason = str(error)
    except WeightsError as error:  # from the table: it says itself what is wrong
        raise WeightsError(f"{source}: {error}") from None
    except UnicodeDecodeError:
        reason = "expected text in UTF-8"
    raise WeightsError(f"{source}, byte {machine.position} of the pickle: {reason}; download it again")


class _Machine:
    """The stack, the memo and the position of one pickle."""

    def __init__(self, buffer: memoryview, start: int) -> None:
        self.buffer = buffer
        self.position = start
        self.start = start
        self.limit = len(buffer)
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: list[Any] = []
        self.copied = 0
        self.number_keys = 0
        self.storages: dict[str, Storage] = {}

    def run(self) -> Any:
        """Read opcodes up to STOP and return what lies on the stack."""
        for _ in range(MAX_OPCODES):
            code = self.byte()
            if code == 0x2E:  # STOP
                value = self.pop()
                if self.stack:
                    raise _DamagedError(f"expected one value at the end, got {len(self.stack) + 1}")
                return value
            action = _ACTIONS.get(code)
            if action is None:
                raise _DamagedError(f"expected an opcode that torch.save writes, got {_OPCODES.get(code, hex(code))}")
            action(self)
        raise _DamagedError(f"expected at most {MAX_OPCODES} opcodes")

    def take(self, count: int) -> memoryview:
        """Return the next bytes."""
        if count > self.limit - self.position:
            raise _DamagedError(f"expected {count} more bytes, got {self.limit - self.position}")
        self.position += count
        return self.buffer[self.position - count : self.position]

    def byte(self) -> int:
        """Return the next byte."""
        return self.take(1)[0]

    def whole(self, width: int) -> int:
        """Return the whole number without sign in the next `width` bytes."""
        return int.from_bytes(self.take(width), "little")

    def line(self) -> str:
        """Return the next line of text, for the names of globals."""
        part = bytes(self.buffer[self.position : min(self.position + MAX_NAME, self.limit)])
        length = part.find(b"\n")
        if length < 0:
            raise _DamagedError(f"expected the end of a name within {MAX_NAME} bytes")
        self.position += length + 1
        return part[:length].decode("utf-8")

    def push(self, value: Any) -> None:
        """Lay a value on the stack."""
        self.stack.append(value)

    def pop(self) -> Any:
        """Take the last value, which must lie above the last mark."""
        if len(self.stack) <= self.floor():
            raise _DamagedError("expected a value on the stack")
        return self.stack.pop()

    def top(self) -> Any:
        """Return the last value and leave it there."""
        if len(self.stack) <= self.floor():
            raise _DamagedError("expected a value on the stack")
        return self.stack[-1]

    def floor(self) -> int:
        """Return where the values above the last mark begin."""
        return self.marks[-1] + 1 if self.marks else 0

    def mark(self) -> None:
        """Begin a group of values."""
        if len(self.marks) == MAX_MARKS:
            raise _DamagedError(f"expected at most {MAX_MARKS} groups in each other")
        self.marks.append(len(self.stack))
        self.stack.append(_MARK)

    def group(self) -> list[Any]:
        """Take the values above the last mark, and the mark."""
        if not self.marks:
            raise _DamagedError("expected a mark on the stack")
        start = self.marks.pop()
        values = self.stack[start + 1 :]
        del self.stack[start:]
        return values

    def pop_one(self) -> None:
        """Drop the last value, or the mark if nothing lies above it."""
        if self.marks and self.marks[-1] == len(self.stack) - 1:
            self.group()
        else:
            self.pop()

    def last(self, count: int) -> None:
        """Make a tuple of the last values."""
        values = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(values)))

    def remember(self, index: int) -> None:
        """Note the last value in the memo."""
        if index > MAX_OPCODES:
            raise _DamagedError(f"expected at most {MAX_OPCODES} values to note, got number {index}")
        self.memo.extend([_MARK] * (index + 1 - len(self.memo)))
        self.memo[index] = self.top()

    def recall(self, index: int) -> None:
        """Lay a noted value on the stack."""
        if index >= len(self.memo) or self.memo[index] is _MARK:
            raise _DamagedError(f"expected a value noted before as {index}")
        self.push(self.memo[index])

    def count_copied(self, arguments: tuple[Any, ...], copied: tuple[type, ...]) -> None:
        """Count what a call may copy: programs that write pickles have no value copied twice."""
        self.copied += sum(len(value) for value in arguments if type(value) in copied)
        most = MAX_COPIED + self.position - self.start
        if self.copied > most:
            raise _DamagedError(f"expected calls to copy at most {most} items, got {self.copied}")

    def append(self, values: list[Any]) -> None:
        """Add values to the list on the stack; those of a skipped thing go with it."""
        target = self.top()
        if type(target) is list:
            target.extend(values)
        elif type(target) not in (Skipped, Object):
            raise _DamagedError(f"expected a list to add to, got {kind(target)}")

    def set_items(self, values: list[Any]) -> None:
        """Add keys and values to the dict on the stack."""
        target = self.top()
        if len(values) % 2:
            raise _DamagedError("expected as many values as keys")
        if type(target) is Skipped:
            return
        items = target.items if type(target) is Object else target
        if type(items) is not dict:
            raise _DamagedError(f"expected a dict to add to, got {kind(target)}")
        self.count_keys(values[::2])
        items.update(zip(values[::2], values[1::2], strict=True))

    def count_keys(self, keys: Collection[Any]) -> None:
        """Check the keys of a dict, and that all dicts together have few numbers as keys."""
        self.number_keys += checked_keys(keys)
        if self.number_keys > MAX_NUMBER_KEYS:
            raise _DamagedError(f"expected at most {MAX_NUMBER_KEYS} numbers as the keys of all dicts")

    def make_dict(self) -> None:
        """Make a dict of the group on the stack."""
        values = self.group()
        self.push({})
        self.set_items(values)

    def add_to_set(self) -> None:
        """Keep the members of a set, which is skipped, by its name."""
        members = self.group()
        if type(self.top()) is Skipped:
            self.top().members.extend(members)
        elif type(self.top()) is not Object:
            raise _DamagedError(f"expected a set to add to, got {kind(self.top())}")

    def frozen_set(self) -> None:
        """Lay a set on the stack, without its members: it is skipped."""
        self.group()
        self.push(Skipped("builtins.frozenset"))

    def refer(self) -> None:
        """Lay a storage on the stack: something that the file holds outside the pickle."""
        found = persistent(self.pop())
        if type(found) is Storage:
            self.storages.setdefault(found.key, found)
        self.push(found)

    def integer(self, width: int) -> None:
        """Lay a whole number of `width` bytes on the stack."""
        self.push(int.from_bytes(self.take(width), "little", signed=True))

    def text(self, width: int) -> None:
        """Lay a text on the stack, its length in `width` bytes."""
        self.push(str(self.take(self.whole(width)), "utf-8"))

    def data(self, width: int) -> None:
        """Lay bytes on the stack, their length in `width` bytes: a view of the file if they are many."""
        data = self.take(self.whole(width))
        self.push(data if len(data) > MAX_TEXT else bytes(data))

    def find(self, module: Any, name: Any) -> None:
        """Lay a global of the closed table on the stack."""
        if type(module) is not str or type(name) is not str or len(module) + len(name) > MAX_NAME:
            raise _DamagedError("expected a module and a name, two short texts")
        self.push(look_up(module, name))

    def find_line(self) -> None:
        """Lay a global on the stack, its names in two lines."""
        module = self.line()
        self.find(module, self.line())

    def find_on_stack(self) -> None:
        """Lay a global on the stack, its names from there."""
        name = self.pop()
        self.find(self.pop(), name)

    def reduce(self, answer: Callable[[Global, tuple[Any, ...]], Any] = call) -> None:
        """Answer a call, of a function or for a new object, with what stands for it."""
        arguments = self.pop()
        function = self.pop()
        if type(function) is not Global or type(arguments) is not tuple:
            raise _DamagedError(f"expected a call of a global with a tuple, got {kind(function)} and {kind(arguments)}")
        text = (str,) if function.name == "_codecs.encode" else ()
        self.count_copied(arguments, (dict, list, tuple, *text))
        made = answer(function, arguments)
        if type(made) is dict:
            self.count_keys(made)
        self.push(made)

    def new_with_keywords(self) -> None:
        """Answer a call for a new object, whose keywords must be none if its arguments count."""
        keywords = self.pop()
        function = self.stack[-2] if len(self.stack) > 1 else None
        if keywords != {} and type(function) is Global and is_known(function.name):
            raise _DamagedError("expected a call without keywords")
        self.reduce(new)

    def build(self) -> None:
        """Set the state of an object, which is dropped unless tensors may be in it."""
        state = self.pop()
        if type(self.top()) not in (*MADE, dict):
            raise _DamagedError(f"expected an object to set the state of, got {kind(self.top())}")
        set_state(self.top(), state)

    def protocol(self) -> None:
        """Check the protocol's number."""
        number = self.byte()
        if not 2 <= number <= 5:
            raise _DamagedError(f"expected pickle protocol 2 to 5, got {number}")


def _old_text(machine: _Machine, width: int) -> None:
    """Lay a ``str`` of Python 2 on the stack: text if it can be, otherwise bytes."""
    machine.data(width)
    if type(machine.top()) is bytes:
        with contextlib.suppress(UnicodeDecodeError):
            machine.stack[-1] = machine.stack[-1].decode("utf-8")


def _long(machine: _Machine, width: int) -> None:
    size = machine.whole(width)
    if size > 255:
        raise _DamagedError(f"expected a number of at most 255 bytes, got {size}")
    machine.integer(size)


_ACTIONS: dict[int, Callable[[_Machine], Any]] = {
    0x80: _Machine.protocol,
    0x95: lambda m: m.take(8),  # FRAME: how far to read ahead
    0x28: _Machine.mark,
    0x30: _Machine.pop_one,
    0x31: _Machine.group,  # POP_MARK
    0x4E: lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    0x4A: lambda m: m.integer(4),  # BININT
    0x4B: lambda m: m.push(m.whole(1)),
    0x4D: lambda m: m.push(m.whole(2)),
    0x8A: lambda m: _long(m, 1),
    0x8B: lambda m: _long(m, 4),
    0x47: lambda m: m.push(struct.unpack(">d", m.take(8))[0]),  # BINFLOAT
    0x54: lambda m: _old_text(m, 4),  # BINSTRING
    0x55: lambda m: _old_text(m, 1),
    0x58: lambda m: m.text(4),  # BINUNICODE
    0x8C: lambda m: m.text(1),
    0x8D: lambda m: m.text(8),
    0x42: lambda m: m.data(4),  # BINBYTES
    0x43: lambda m: m.data(1),
    0x8E: lambda m: m.data(8),
    0x96: lambda m: m.data(8),  # BYTEARRAY8
    0x5D: lambda m: m.push([]),
    0x61: lambda m: m.append([m.pop()]),
    0x65: lambda m: m.append(m.group()),
    0x6C: lambda m: m.push(m.group()),  # LIST
    0x29: lambda m: m.push(()),
    0x74: lambda m: m.push(tuple(m.group())),
    0x85: lambda m: m.last(1),
    0x86: lambda m: m.last(2),
    0x87: lambda m: m.last(3),
    0x7D: lambda m: m.push({}),
    0x64: _Machine.make_dict,
    0x73: lambda m: m.set_items([m.pop(), m.pop()][::-1]),
    0x75: lambda m: m.set_items(m.group()),
    0x8F: lambda m: m.push(Skipped("builtins.set")),
    0x90: _Machine.add_to_set,
    0x91: _Machine.frozen_set,
    0x68: lambda m: m.recall(m.whole(1)),
    0x6A: lambda m: m.recall(m.whole(4)),
    0x71: lambda m: m.remember(m.whole(1)),
    0x72: lambda m: m.remember(m.whole(4)),
    0x94: lambda m: m.remember(len(m.memo)),
    0x63: _Machine.find_line,
    0x93: _Machine.find_on_stack,
    0x52: _Machine.reduce,
    0x81: lambda m: m.reduce(new),  # NEWOBJ
    0x92: _Machine.new_with_keywords,
    0x62: _Machine.build,
    0x51: _Machine.refer,  # BINPERSID
}
