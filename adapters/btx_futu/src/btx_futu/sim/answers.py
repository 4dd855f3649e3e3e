"""How the simulated OpenD says no: one text each, in English, as an OpenD set to English would."""

from collections.abc import Sequence

from btx.sim.faults import Fault
from btx.sim.orders import Refusal, Refused

__all__ = ("TROUBLE", "WireError", "refusal_text")

_FAILED = -1
_TIMED_OUT = -100


class WireError(Exception):
    """A request is answered with a ``retType`` other than 0, and a text."""

    def __init__(self, text: str, *, ret_type: int = _FAILED) -> None:
        super().__init__(text)
        self.ret_type = ret_type


_TEXTS = {
    Refusal.INSUFFICIENT_BALANCE: "insufficient buying power or holdings",
    Refusal.UNKNOWN_SYMBOL: "unknown stock",
    Refusal.UNKNOWN_ORDER: "the order cannot be modified: it is not open",
    Refusal.FILTER: "the quantity is not a multiple of the lot size",
    Refusal.MARKET_HALTED: "the market is closed",
}


def refusal_text(refused: Refused) -> str:
    """Return what OpenD says of an order the exchange did not take."""
    return _TEXTS.get(refused.reason, str(refused))


class _Trouble:
    """How OpenD says that something failed: :class:`btx.sim.skin.mishaps.Trouble`."""

    refusals: Sequence[int | None] = (None,)  # a connection is cut: there is nothing else one could say
    meter_headers = ""

    def limited(self, fault: Fault, until_ns: int) -> WireError:  # noqa: ARG002 -- OpenD does not say how long
        return WireError("high frequency: at most 15 requests in 30 seconds")

    def key_expired(self) -> WireError:
        return WireError("unlock trade first: the password is not accepted any more")

    def not_done(self, form: int) -> WireError:  # noqa: ARG002
        return WireError("the server is busy, the request was not done")

    def unknown(self, form: int) -> WireError:  # noqa: ARG002
        return WireError("request timeout, the outcome is unknown", ret_type=_TIMED_OUT)


TROUBLE = _Trouble()
"""What the faults of a script look like here."""
