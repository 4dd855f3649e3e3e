"""The clock: the venue's time is read, requests are stamped with it, and a wrong one is told as such."""

import contextlib
import time

from btx.errors import AuthenticationError, BtxError, ClockError
from btx.model.order import OrderType
from btx.model.time import NS_PER_S
from btx.testing import needs
from btx.testing.bench import Bench
from btx.testing.card import CardFailedError, expect, ports_card, skip

__all__ = ()

_JUMP_S = 120.0


@ports_card("CLK-01", "The venue's clock is told in UTC nanoseconds", hint="Store.server_time_ns")
async def _now(bench: Bench) -> None:
    off_s = abs(await bench.store.server_time_ns() - time.time_ns()) / NS_PER_S
    expect(
        off_s < 60, f"expected the simulator's clock within a minute of this machine's, and it is {off_s:.0f} s away"
    )


async def _jump(bench: Bench) -> None:
    """Let the venue's clock run two minutes ahead of the wall."""
    await bench.faults({"kind": "clock_jump", "where": "any", "offset_s": _JUMP_S, "for_s": 0})
    with contextlib.suppress(BtxError):
        await bench.store.account()  # a request at which it strikes
    if not (await bench.ask("fault_log"))["log"]:
        skip("the simulator does not play the fault 'clock_jump'")


@ports_card(
    "CLK-02",
    "A venue's clock that is not this machine's is read as it is",
    hint="Store.server_time_ns: the venue's answer",
    alone=True,
)
async def _ahead(bench: Bench) -> None:
    await _jump(bench)
    ahead_s = (await bench.store.server_time_ns() - time.time_ns()) / NS_PER_S
    expect(abs(ahead_s - _JUMP_S) < 60, f"expected a clock {_JUMP_S:.0f} s ahead, and it is told {ahead_s:.0f} s ahead")


@ports_card(
    "CLK-03",
    "A request with a wrong time stamp is told as such, or taken",
    hint="ClockError, not AuthenticationError",
    alone=True,
)
async def _wrong(bench: Bench) -> None:
    await _jump(bench)
    try:
        await bench.store.account()
    except ClockError:
        return
    except AuthenticationError as error:
        raise CardFailedError(f"expected ClockError for a wrong time stamp, and it was {error!r}") from error


@ports_card(
    "CLK-04",
    "Requests are stamped with the session's clock, which follows the venue's",
    hint="Context.clock.wire_ns, not time.time",
    needs=(needs.order_type(OrderType.LIMIT),),
    alone=True,
)
async def _stamped(bench: Bench) -> None:
    await _jump(bench)
    bench.time.offset_ns = await bench.store.server_time_ns() - time.time_ns()
    try:
        await bench.store.account()
        leg = await bench.rested()
        await bench.cancel(leg)
    except ClockError as error:
        raise CardFailedError(
            f"expected requests with the session's clock to be taken, and it was {error!r}"
        ) from error
