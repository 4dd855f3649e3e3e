"""What passed over the wire, as it was: the raw material of a recording."""

import enum
from collections.abc import Mapping

import attrs

__all__ = ("Frame", "FrameKind")


class FrameKind(enum.Enum):
    """What a frame is; the value is what a recording says."""

    OPENED = "opened"  # a socket stands
    SENT = "sent"  # by us, on a socket
    RECEIVED = "received"
    CLOSED = "closed"  # by whichever side
    REQUEST = "request"  # over HTTP
    ANSWER = "answer"  # to the request of the same number


@attrs.frozen(kw_only=True)
class Frame:
    """One thing a bridge sent or received.

    ``connection`` tells sockets apart, and requests: an answer has its request's
    number.  ``code`` is a closing code or an HTTP status; None where there was
    none: a connection that was cut, a request that nobody answered.
    """

    kind: FrameKind
    connection: int
    text: str | bytes = ""  # the frame, the body; of what failed: why
    url: str = ""  # of OPENED and REQUEST, with its query
    method: str = ""  # of REQUEST
    code: int | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)  # of ANSWER
