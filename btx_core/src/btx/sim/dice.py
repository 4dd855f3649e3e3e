"""Dice without a state of the process: the same key always falls the same way, in any order of asking."""

import hashlib

__all__ = ("key_of", "mix", "unit")

_MASK = (1 << 64) - 1


def key_of(*parts: object) -> int:
    """Return 64 bits that stand for these parts."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def mix(key: int) -> int:
    """Return 64 well-stirred bits of an integer (the finaliser of splitmix64)."""
    key = (key + 0x9E3779B97F4A7C15) & _MASK
    key = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    key = ((key ^ (key >> 27)) * 0x94D049BB133111EB) & _MASK
    return key ^ (key >> 31)


def unit(bits: int) -> float:
    """Return a number in [0, 1) of 64 bits."""
    return (bits >> 11) / (1 << 53)
