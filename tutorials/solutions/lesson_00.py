"""Answers to lesson 00."""

from __future__ import annotations

import json
import struct

import numpy as np


def read(data, name):
    """Return one array of a safetensors file."""
    (length,) = struct.unpack("<Q", data[:8])
    entry = json.loads(data[8 : 8 + length])[name]
    begin, end = entry["data_offsets"]
    dtype = {"F16": "<f2", "F32": "<f4"}[entry["dtype"]]
    return np.frombuffer(data[8 + length + begin : 8 + length + end], dtype).reshape(entry["shape"])


def read_without_header(data, name):
    """Return the same with the offsets counted from the beginning of the file."""
    (length,) = struct.unpack("<Q", data[:8])
    entry = json.loads(data[8 : 8 + length])[name]
    begin, end = entry["data_offsets"]
    dtype = {"F16": "<f2", "F32": "<f4"}[entry["dtype"]]
    return np.frombuffer(data[begin:end], dtype).reshape(entry["shape"])


def bf16_to_float32(content):
    """Return the numbers of BF16 bytes."""
    bits = np.frombuffer(content, "<u2").astype(np.uint32) << 16
    return bits.view(np.float32)


def bf16_as_float16(content):
    """Return the bytes taken for another format of two bytes."""
    return np.frombuffer(content, "<f2").astype(np.float32)


RIGHT = [584_810, read, bf16_to_float32]
WRONG = [1_182_812, read_without_header, bf16_as_float16]
