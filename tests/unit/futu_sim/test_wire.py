"""The frame of OpenD's protocol, byte by byte and in any pieces."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btx_futu.sim.wire import Frame, FrameError, pack, take

FRAMES = st.builds(
    Frame,
    proto_id=st.integers(0, 2**32 - 1),
    serial=st.integers(0, 2**32 - 1),
    body=st.binary(max_size=200),
)


def test_the_head_is_44_bytes_little_endian_with_the_digest_of_the_body() -> None:
    body = b"\x0a\x02hi"

    packed = pack(Frame(2202, 7, body))

    head = "4654" + "9a080000" + "00" + "00" + "07000000" + "04000000"
    digest = hashlib.sha1(body, usedforsecurity=False).hexdigest()
    assert packed.hex() == head + digest + "00" * 8 + body.hex()
    assert len(packed) == 44 + len(body)


@given(st.lists(FRAMES, max_size=5), st.lists(st.integers(1, 60), min_size=1))
def test_however_the_bytes_come_in_pieces_the_frames_are_the_same(frames: list[Frame], sizes: list[int]) -> None:
    data, buffer, taken = b"".join(map(pack, frames)), bytearray(), []
    position = number = 0
    while position < len(data):
        size = sizes[number % len(sizes)]
        buffer += data[position : position + size]
        position, number = position + size, number + 1
        while (frame := take(buffer)) is not None:
            taken.append(frame)

    assert taken == frames
    assert not buffer


@pytest.mark.parametrize(
    ("place", "byte"),
    [(0, 0x58), (6, 1), (30, 0xFF)],
    ids=["another protocol", "JSON", "a digest of something else"],
)
def test_what_is_no_frame_ends_the_connection(place: int, byte: int) -> None:
    data = bytearray(pack(Frame(1001, 1, b"body")))
    data[place] = byte

    with pytest.raises(FrameError):
        take(data)
