import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npconv.errors import InputError
from npconv.files.dtypes import DECODED, STORED, WIDENED, decode, dtype_of, encode, held_dtype

CODES = {"BF16": np.arange(2**16, dtype="<u2"), "F8_E4M3": np.arange(256, dtype="u1")}
CODES["F8_E5M2"] = CODES["F8_E4M3"]

#: Exponent bits, mantissa bits, and whether the largest exponent means infinities and NaN.
LAYOUT = {"BF16": (8, 7, True), "F8_E4M3": (4, 3, False), "F8_E5M2": (5, 2, True)}


def naive_value(code, dtype):
    """The value of a code, from the bits one by one as a textbook has it."""
    exponent_bits, mantissa_bits, has_infinity = LAYOUT[dtype]
    sign = -1.0 if code >> (exponent_bits + mantissa_bits) else 1.0
    exponent = (code >> mantissa_bits) % 2**exponent_bits
    mantissa = code % 2**mantissa_bits
    bias = 2 ** (exponent_bits - 1) - 1
    if exponent == 2**exponent_bits - 1:
        if has_infinity:
            return sign * math.inf if mantissa == 0 else math.nan
        if mantissa == 2**mantissa_bits - 1:
            return math.nan
    if exponent == 0:
        return sign * mantissa * 2.0 ** (1 - bias - mantissa_bits)
    return sign * (1 + mantissa / 2**mantissa_bits) * 2.0 ** (exponent - bias)


def naive_code(value, dtype):
    """The code of a finite value: the nearest of all, the even one of two; what is too large becomes the last."""
    sign_bit = 2 ** sum(LAYOUT[dtype][:2])
    codes = {code: naive_value(code, dtype) for code in range(sign_bit)}
    finite = {code: Fraction(number) for code, number in codes.items() if math.isfinite(number)}
    if LAYOUT[dtype][2]:
        finite[max(finite) + 1] = 2 * max(finite.values()) - finite[max(finite) - 1]
    nearest = min(finite, key=lambda code: (abs(finite[code] - abs(Fraction(value))), code % 2))
    return nearest + (sign_bit if math.copysign(1, value) < 0 else 0)


@pytest.mark.parametrize("dtype", WIDENED)
def test_decode_every_code(dtype):
    codes = CODES[dtype]
    expected = np.array([naive_value(int(code), dtype) for code in codes])
    result = decode(codes.view(np.uint8), dtype)
    assert result.dtype == held_dtype(dtype) == WIDENED[dtype]
    with np.errstate(invalid="ignore"):  # of signalling NaN
        np.testing.assert_array_equal(result.astype(np.float64), expected)
    np.testing.assert_array_equal(np.signbit(result)[expected == 0], np.signbit(expected)[expected == 0])


@pytest.mark.parametrize(
    ("dtype", "code", "value"),
    [
        # Table 1 of Micikevicius et al.: the largest, the smallest normal and the smallest subnormal number.
        ("F8_E4M3", 0b0_1111_110, 448.0),
        ("F8_E4M3", 0b0_0001_000, 2.0**-6),
        ("F8_E4M3", 0b0_0000_001, 2.0**-9),
        ("F8_E5M2", 0b0_11110_11, 57344.0),
        ("F8_E5M2", 0b0_00001_00, 2.0**-14),
        ("F8_E5M2", 0b0_00000_01, 2.0**-16),
        ("F8_E5M2", 0b1_11111_00, -math.inf),
        ("BF16", 0b0_11111110_1111111, 3.3895313892515355e38),
        ("BF16", 0b1_01111111_1000000, -1.5),
        ("BF16", 0b0_11111111_0000000, math.inf),
    ],
)
def test_decode_and_encode_known_codes(dtype, code, value):
    stored = np.array([code], STORED[dtype])
    assert decode(stored.view(np.uint8), dtype)[0] == value
    np.testing.assert_array_equal(encode(np.array([value]), dtype), stored.view(np.uint8))


@pytest.mark.parametrize("dtype", WIDENED)
@pytest.mark.parametrize("width", ["f2", "f4", "f8"])
def test_encode_gives_every_code_back(dtype, width):
    values = decode(CODES[dtype].view(np.uint8), dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        wide = values.astype(width)
    kept = wide == values  # not NaN, and within float16 where that is the width
    if dtype == "F8_E4M3":
        assert kept.sum() == 254
    result = encode(wide[kept], dtype).view(STORED[dtype])
    np.testing.assert_array_equal(result, CODES[dtype][kept])


@pytest.mark.parametrize("dtype", WIDENED)
def test_nan_stays_nan(dtype):
    # All kinds: quiet and signalling, either sign, a payload only in the bits that are cut off.
    bits = np.array([0x7FC00000, 0xFFC00000, 0x7F800001, 0xFF800001, 0x7FFFFFFF, 0xFFFFFFFF], np.uint32)
    nans = bits.view(np.float32)
    codes = encode(nans, dtype)
    assert np.isnan(decode(codes, dtype)).all()
    np.testing.assert_array_equal(encode(nans[0], dtype), encode(nans[:1], dtype))


@pytest.mark.parametrize(
    ("dtype", "value", "stored"),
    [
        ("BF16", 3.3961775e38, math.inf),  # the middle between the largest and 2**128
        ("BF16", 3.3961773e38, 3.3895313892515355e38),
        ("BF16", 1e300, math.inf),
        ("BF16", -math.inf, -math.inf),
        ("F8_E5M2", 61439.996, 57344.0),
        ("F8_E5M2", 61440.0, math.inf),
        ("F8_E5M2", -1e300, -math.inf),
        ("F8_E4M3", 464.0, 448.0),
        ("F8_E4M3", 1e300, 448.0),
        ("F8_E4M3", math.inf, 448.0),
        ("F8_E4M3", -math.inf, -448.0),
    ],
)
def test_overflow(dtype, value, stored):
    assert decode(encode(np.array([value]), dtype), dtype)[0] == np.float32(stored)


finite32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("dtype", "values"),
    [("F8_E4M3", st.floats(-600, 600, width=32)), ("F8_E5M2", st.floats(-70000, 70000, width=32))],
)
def test_encode_8_bits_to_the_nearest(dtype, values):
    @given(values | st.floats(-(2.0**-6), 2.0**-6, width=32) | finite32)
    def check(value):
        assert encode(np.array(value, np.float32), dtype)[0] == naive_code(value, dtype)

    check()


@pytest.mark.long
@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2"])
def test_encode_8_bits_at_and_beside_every_middle(dtype):
    numbers = np.sort(decode(CODES[dtype], dtype).astype(np.float32))
    numbers = numbers[np.isfinite(numbers)]
    middles = (numbers[:-1] + numbers[1:]) / 2
    beside = [np.nextafter(middles, np.float32(limit)) for limit in (-np.inf, np.inf)]
    values = np.concatenate([middles, *beside])
    expected = [naive_code(float(value), dtype) for value in values]
    np.testing.assert_array_equal(encode(values, dtype), np.array(expected, np.uint8))


@given(finite32 | st.sampled_from([1 + 2.0**-8, 1 + 3 * 2.0**-8, -(1 + 2.0**-8), 2.0**-134, 3 * 2.0**-134]))
def test_encode_bfloat16_to_the_nearest(value):
    result = float(decode(encode(np.array([value], np.float32), "BF16"), "BF16")[0])
    assert math.copysign(1, result) == math.copysign(1, value)
    code = int(encode(np.array([value], np.float32), "BF16").view("<u2")[0]) & 0x7FFF
    neighbours = {c: Fraction(naive_value(c, "BF16")) for c in (code - 1, code, code + 1) if 0 <= c < 0x7F80}
    neighbours[0x7F80] = Fraction(2) ** 128  # where infinity begins
    assert code == min(neighbours, key=lambda c: (abs(neighbours[c] - abs(Fraction(value))), c % 2))


def test_float64_is_rounded_to_float32_first():
    just_above_the_middle = 1 + 2.0**-8 + 2.0**-40
    assert decode(encode(np.array([just_above_the_middle]), "BF16"), "BF16")[0] == 1.0


def test_decode_is_a_view_where_numpy_has_the_dtype():
    data = np.arange(16, dtype=np.uint8)
    for dtype in STORED:
        assert np.shares_memory(decode(data, dtype), data) == (dtype not in DECODED)


def test_any_byte_but_zero_is_true():
    result = decode(np.array([0, 1, 2, 255], np.uint8), "BOOL")
    np.testing.assert_array_equal(result.view(np.uint8), [0, 1, 1, 1])


@pytest.mark.parametrize("dtype", [name for name in STORED if name not in WIDENED])
@pytest.mark.parametrize("byte_order", "<>")
def test_dtype_of(dtype, byte_order):
    array = np.zeros(1, STORED[dtype].newbyteorder(byte_order))
    assert dtype_of(array, "x") == dtype
    assert held_dtype(dtype) == STORED[dtype]


@pytest.mark.parametrize(
    "dtype", ["c8", "O", "U3", "S3", "M8[s]", "V4", "f4,f4", np.longdouble, np.dtypes.StringDType()]
)
def test_dtype_of_what_cannot_be_stored(dtype):
    with pytest.raises(InputError, match="x has dtype"):
        dtype_of(np.zeros(1, dtype), "x")
