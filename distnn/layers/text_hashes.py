"""Hashes of texts that are the same everywhere and for ever: FarmHash's 64-bit fingerprint, and SipHash.

Published functions, which Keras's `Hashing` uses: Google's FarmHash (2014), and SipHash-2-4 (Aumasson and
Bernstein, 2012). All numbers are unsigned, of 64 bits.
"""

from __future__ import annotations

_MASK = (1 << 64) - 1
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
_CAT = 0xC6A4A7935BD1E995
CROSSING_KEY = 0xDECAFCAFFE
"""What a crossing of features begins from."""


def _number(text: bytes, start: int, size: int = 8) -> int:
    return int.from_bytes(text[start : start + size], "little")


def _turned_right(value: int, bits: int) -> int:
    value &= _MASK
    return (value >> bits | value << (64 - bits)) & _MASK


def _turned_left(value: int, bits: int) -> int:
    return _turned_right(value, 64 - bits)


def _mixed(value: int) -> int:
    value &= _MASK
    return value ^ (value >> 47)


def _of_two(u: int, v: int, factor: int) -> int:
    """A hash of two numbers."""
    a = _mixed(((u ^ v) & _MASK) * factor)
    b = _mixed(((v & _MASK) ^ a) * factor)
    return b * factor & _MASK


def fingerprint64(text: bytes) -> int:
    """FarmHash's Fingerprint64.

    >>> fingerprint64(b"a")
    12917804110809363939
    """
    size = len(text)
    if size <= 16:
        return _fingerprint_to_16(text)
    if size <= 32:
        factor = _K2 + size * 2
        a, b = _number(text, 0) * _K1, _number(text, 8)
        c, d = _number(text, size - 8) * factor, _number(text, size - 16) * _K2
        first = _turned_right(a + b, 43) + _turned_right(c, 30) + d
        return _of_two(first, a + _turned_right(b + _K2, 18) + c, factor)
    return _fingerprint_to_64(text) if size <= 64 else _fingerprint_of_long(text)


def _fingerprint_to_16(text: bytes) -> int:
    size = len(text)
    factor = _K2 + size * 2
    if size >= 8:
        a, b = _number(text, 0) + _K2, _number(text, size - 8)
        c = _turned_right(b, 37) * factor + a
        return _of_two(c, (_turned_right(a, 25) + b) * factor, factor)
    if size >= 4:
        return _of_two(size + (_number(text, 0, 4) << 3), _number(text, size - 4, 4), factor)
    if size == 0:
        return _K2
    y = text[0] + (text[size >> 1] << 8)
    z = size + (text[size - 1] << 2)
    return _mixed((y * _K2 ^ z * _K0) & _MASK) * _K2 & _MASK


def _fingerprint_to_64(text: bytes) -> int:
    size = len(text)
    factor = _K2 + size * 2
    a, b = _number(text, 0) * _K2, _number(text, 8)
    c, d = _number(text, size - 8) * factor, _number(text, size - 16) * _K2
    y = _turned_right(a + b, 43) + _turned_right(c, 30) + d
    z = _of_two(y, a + _turned_right(b + _K2, 18) + c, factor)
    e, f = _number(text, 16) * factor, _number(text, 24)
    g, h = (y + _number(text, size - 32)) * factor, (z + _number(text, size - 24)) * factor
    first = _turned_right(e + f, 43) + _turned_right(g, 30) + h
    return _of_two(first, e + _turned_right(f + a, 18) + g, factor)


def _of_32_bytes(text: bytes, start: int, a: int, b: int) -> tuple[int, int]:
    w, x, y, z = (_number(text, start + place) for place in (0, 8, 16, 24))
    a += w
    b = _turned_right(b + a + z, 21)
    c = a
    a += x + y
    b += _turned_right(a, 44)
    return (a + z) & _MASK, (b + c) & _MASK


_State = tuple[int, int, int, tuple[int, int], tuple[int, int]]


def _fingerprint_of_long(text: bytes) -> int:
    y = (81 * _K1 + 113) & _MASK
    z = _mixed(y * _K2 + 113) * _K2 & _MASK
    state: _State = ((81 * _K2 + _number(text, 0)) & _MASK, y, z, (0, 0), (0, 0))
    size = len(text) - 1
    for start in range(0, size // 64 * 64, 64):
        state = _with_64_bytes(text, start, state, _K1, 1)
    x, y, z, v, w = state
    factor = (_K1 + ((z & 0xFF) << 1)) & _MASK
    first = w[0] + size % 64
    v = (v[0] + first, v[1])
    w = (first + v[0], w[1])
    x, y, z, v, w = _with_64_bytes(text, len(text) - 64, (x, y, z, v, w), factor, 9)
    first = _of_two(v[0], w[0], factor) + _mixed(y) * _K0 + z
    return _of_two(first, _of_two(v[1], w[1], factor) + x, factor)


def _with_64_bytes(text: bytes, start: int, state: _State, factor: int, weight: int) -> _State:
    x, y, z, v, w = state
    x = _turned_right(x + y + v[0] + _number(text, start + 8), 37) * factor & _MASK
    y = _turned_right(y + v[1] + _number(text, start + 48), 42) * factor & _MASK
    x ^= w[1] * weight & _MASK
    y = (y + v[0] * weight + _number(text, start + 40)) & _MASK
    z = _turned_right(z + w[0], 33) * factor & _MASK
    v = _of_32_bytes(text, start, v[1] * factor, x + w[0])
    w = _of_32_bytes(text, start + 32, z + w[1], y + _number(text, start + 16))
    return z, y, x, v, w


def crossed(fingerprints: list[int]) -> int:
    """A hash of several fingerprints in their order."""
    found = CROSSING_KEY
    for fingerprint in fingerprints:
        found = (found ^ _CAT) ^ (_mixed(fingerprint * _CAT) * _CAT & _MASK)
        found = _mixed(found * _CAT) * _CAT & _MASK
        found = _mixed(found)
    return found


def siphash(text: bytes, key: tuple[int, int]) -> int:
    """SipHash-2-4 of a text under a key of two numbers.

    >>> hex(siphash(bytes(range(15)), (0x0706050403020100, 0x0F0E0D0C0B0A0908)))
    '0xa129ca6149be45e5'
    """
    state = [
        key[0] & _MASK ^ 0x736F6D6570736575,
        key[1] & _MASK ^ 0x646F72616E646F6D,
        key[0] & _MASK ^ 0x6C7967656E657261,
        key[1] & _MASK ^ 0x7465646279746573,
    ]
    padded = text + bytes(-(len(text) + 1) % 8) + bytes([len(text) % 256])
    for start in range(0, len(padded), 8):
        word = _number(padded, start)
        state[3] ^= word
        _sip_rounds(state, 2)
        state[0] ^= word
    state[2] ^= 0xFF
    _sip_rounds(state, 4)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _sip_rounds(state: list[int], count: int) -> None:
    a, b, c, d = state
    for _ in range(count):
        a, c = (a + b) & _MASK, (c + d) & _MASK
        b, d = _turned_left(b, 13) ^ a, _turned_left(d, 16) ^ c
        a = _turned_left(a, 32)
        c, a = (c + b) & _MASK, (a + d) & _MASK
        b, d = _turned_left(b, 17) ^ c, _turned_left(d, 21) ^ a
        c = _turned_left(c, 32)
    state[:] = a, b, c, d
