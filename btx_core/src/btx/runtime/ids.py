"""Client order ids: deterministic, short enough for every venue, never used twice."""

import itertools
import secrets
import time

from btx.errors import BtxError, PluginError
from btx.model.venue import ClientIdSpec

__all__ = ("ClientIds",)

_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_LENGTH = 12
_IDS_EPOCH_S = 1_735_689_600  # 2025-01-01, so that six digits last until 2059


def _base32(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 32)
        digits.append(_BASE32[digit])
    return "".join(reversed(digits))


class ClientIds:
    """Client order ids: 8 characters of the run, 4 of a counter; never two alike, also across restarts."""

    def __init__(self, spec: ClientIdSpec) -> None:
        """Begin a run.

        Raises:
            PluginError: the venue's ids are shorter than ours, or lack some of our characters.
        """
        if spec.max_len < _ID_LENGTH or not set(_BASE32) <= set(spec.alphabet):
            raise PluginError(
                f"the venue's client order ids have at most {spec.max_len} of the characters {spec.alphabet!r}; "
                f"ours have {_ID_LENGTH} of {_BASE32!r}"
            )
        seconds = int(time.time()) - _IDS_EPOCH_S
        self.run = _base32(seconds, 6) + _base32(secrets.randbits(10), 2)
        self._counter = itertools.count()

    def next(self) -> str:
        """Return the next id. Any thread.

        Raises:
            BtxError: a million orders in one run; start a new one.
        """
        number = next(self._counter)
        if number >= 32**4:
            raise BtxError("this run has used up its 1,048,576 client order ids: restart the strategy")
        return self.run + _base32(number, 4)
