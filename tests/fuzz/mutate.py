"""Bytes changed as accidents and liars change them."""

from __future__ import annotations

import numpy as np

NUMBERS = (
    b"nan",
    b"inf",
    b"-inf",
    b"1e999",
    b"-1e308",
    b"1e-400",
    b"0x10",
    b"9" * 400,
    b"1_0",
    b"",
    b"-0",
    b"\xd9\xa3",
)
WORDS = (
    b"{",
    b"[" * 3000,
    b"}",
    b'"',
    b",",
    b";",
    b"\t",
    b"\n",
    b"\r",
    b"\0",
    b"#",
    b"null",
    b"\xff\xfe",
    b"NaN",
    b"[]",
)
LIES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)


def mutate(content: bytes, rng: np.random.Generator, head: int | None = None) -> bytes:
    """Return `content` with one to eight accidents, in its first `head` bytes more often than not."""
    out = bytearray(content)
    for _ in range(min(int(rng.geometric(0.5)), 8)):
        if not out:
            return bytes(out)
        where = len(out) if head is None or rng.random() < 0.3 else min(head, len(out))
        at = int(rng.integers(where))
        match rng.integers(10):
            case 0 | 1:
                out[at] ^= 1 << int(rng.integers(8))
            case 2:
                out[at] = int(rng.integers(256))
            case 3:
                del out[int(rng.integers(len(out))) :]  # cut short
            case 4:
                del out[at : at + int(rng.integers(1, 64))]
            case 5:
                size = int(rng.choice([1, 2, 4, 8]))
                lie = int(LIES[rng.integers(len(LIES))]) & ((1 << 8 * size) - 1)
                out[at : at + size] = lie.to_bytes(size, "little" if rng.random() < 0.7 else "big")
            case 6:
                out[at:at] = WORDS[rng.integers(len(WORDS))]
            case 7:
                out[at:at] = NUMBERS[rng.integers(len(NUMBERS))]
            case 8:
                start = int(rng.integers(len(out)))
                out[at:at] = out[start : start + int(rng.integers(1, 200))]  # said twice
            case _:
                other = int(rng.integers(len(out)))
                out[at], out[other] = out[other], out[at]
    return bytes(out)


def lie_in_tiff(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a little-endian classic TIFF some entries of whose first directory lie: sizes, offsets, types."""
    out = bytearray(content)
    first = int.from_bytes(out[4:8], "little")
    count = int.from_bytes(out[first : first + 2], "little")
    for _ in range(int(rng.integers(1, 4))):
        at = first + 2 + 12 * int(rng.integers(count))
        lie = int(LIES[rng.integers(8)]) if rng.random() < 0.6 else int(rng.integers(2**32))
        field, size = ((8, 4), (8, 2), (4, 4), (2, 2), (0, 2))[rng.choice(5, p=[0.4, 0.25, 0.15, 0.1, 0.1])]
        out[at + field : at + field + size] = (lie & ((1 << 8 * size) - 1)).to_bytes(size, "little")
    return bytes(out)
