"""Random numbers as a pure function of where they are needed: the same place, the same numbers."""

from __future__ import annotations

import hashlib


def derive(seed: int, *place: object) -> int:
    """A 63-bit seed for one place, such as `derive(seed, "order", stage, epoch)`."""
    text = repr((seed, *place)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1
