"""The frame of OpenD's protocol: 44 bytes in front of each message, little-endian.

``F`` ``T``, protocol id, format (0: protobuf), version, serial number, length of the body, its SHA-1, eight reserved
bytes.
Source: Futu OpenAPI, "Protocol Introduction" (openapi.futunn.com/futu-api-doc, 2026).
"""

import hashlib
import struct
from typing import NamedTuple

__all__ = ("Frame", "FrameError", "pack", "take")

_HEAD = struct.Struct("<2sIBBII20s8s")
_MAGIC = b"FT"
_PROTOBUF = 0
_LONGEST = 16 * 1024 * 1024


class FrameError(Exception):
    """What came is no frame: the connection is of no use any more."""


class Frame(NamedTuple):
    """A message without its meaning."""

    proto_id: int
    serial: int
    body: bytes


def pack(frame: Frame) -> bytes:
    """Return the bytes of a frame."""
    proto_id, serial, body = frame
    digest = hashlib.sha1(body, usedforsecurity=False).digest()
    return _HEAD.pack(_MAGIC, proto_id, _PROTOBUF, 0, serial, len(body), digest, bytes(8)) + body


def take(buffer: bytearray) -> Frame | None:
    """Take the first frame off a buffer, however its bytes came in pieces; None when it is not whole yet.

    Raises:
        FrameError: what is there is none, or was damaged.
    """
    if len(buffer) < _HEAD.size:
        return None
    magic, proto_id, form, _version, serial, length, digest, _reserved = _HEAD.unpack_from(buffer)
    if magic != _MAGIC or form != _PROTOBUF or length > _LONGEST:
        raise FrameError(f"no frame of protobuf: {magic!r}, format {form}, {length} bytes")
    end = _HEAD.size + length
    if len(buffer) < end:
        return None
    body = bytes(buffer[_HEAD.size : end])
    del buffer[:end]
    if hashlib.sha1(body, usedforsecurity=False).digest() != digest:
        raise FrameError(f"the body of protocol {proto_id} is not what its digest says")
    return Frame(proto_id, serial, body)
