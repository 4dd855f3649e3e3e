"""Rate limits: what a refusal for too many requests says, and what requests cost."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from btx.errors import BtxError, RateLimitedError
from btx.model.order import OrderType, Side
from btx.testing import needs
from btx.testing.bench import Bench
from btx.testing.card import CardFailedError, expect, ports_card, skip

__all__ = ()

_LIMIT = needs.order_type(OrderType.LIMIT)


async def _limited(bench: Bench, fault: Mapping[str, Any], ask: Callable[[], Awaitable[Any]]) -> RateLimitedError:
    await bench.faults(fault)
    try:
        found = await ask()
    except RateLimitedError as error:
        return error
    except BtxError as error:
        raise CardFailedError(f"expected RateLimitedError, and it was {error!r}") from error
    if not (await bench.ask("fault_log"))["log"]:
        skip(f"the simulator does not play the fault {fault['kind']!r} here")
    raise CardFailedError(f"expected RateLimitedError, and it returned {found!r}")


@ports_card(
    "LIM-01",
    "An order that is refused for its rate is told so, with the time to wait, and is not at the venue",
    hint="RateLimitedError.retry_after_s",
    needs=(_LIMIT,),
    alone=True,
)
async def _order(bench: Bench) -> None:
    leg = await bench.leg(order_type=OrderType.LIMIT, price=await bench.away(Side.BUY))
    fault = {"kind": "rate_limit", "where": "place", "for_s": 2.0}
    error = await _limited(bench, fault, lambda: bench.place(leg))
    expect(0 < error.retry_after_s <= 120, f"expected seconds to wait, and retry_after_s is {error.retry_after_s}")
    expect(error.scope in {"ip", "account"}, f"expected scope 'ip' or 'account', and it is {error.scope!r}")
    expect(not await bench.ledger_orders(leg), "expected no order at the venue, and there is one: it was sent again")


@ports_card(
    "LIM-02",
    "A question that is refused for its rate is told so, with the time to wait",
    hint="RateLimitedError",
    alone=True,
)
async def _question(bench: Bench) -> None:
    error = await _limited(bench, {"kind": "rate_limit", "where": "account", "for_s": 2.0}, bench.store.account)
    expect(0 < error.retry_after_s <= 120, f"expected seconds to wait, and retry_after_s is {error.retry_after_s}")


@ports_card(
    "LIM-03", "A ban is told as such, with the time to wait", hint="RateLimitedError, and its scope", alone=True
)
async def _ban(bench: Bench) -> None:
    error = await _limited(bench, {"kind": "ban", "where": "account", "for_s": 2.0}, bench.store.account)
    expect(error.retry_after_s > 0, f"expected seconds to wait, and retry_after_s is {error.retry_after_s}")


@ports_card(
    "LIM-04", "What the venue counts of its limits is passed on, under their declared names", hint="Context.observe"
)
async def _observed(bench: Bench) -> None:
    await bench.store.account()
    if not bench.observed:
        skip("nothing was observed: the venue does not tell what it counts")
    names = {each.name for each in bench.info.limits.get(bench.market, ())}
    strange = {limit for limit, _ in bench.observed} - names
    expect(not strange, f"expected limits of {', '.join(names)}, and {', '.join(strange)} was observed")
    expect(all(units >= 0 for _, units in bench.observed), "expected counts of zero or more")


@ports_card(
    "LIM-05",
    "Requests cost what is declared of them: the venue never counts more",
    hint="VenueInfo.costs",
    needs=(_LIMIT,),
    alone=True,
)
async def _costs(bench: Bench) -> None:
    costs, observed = bench.info.costs.get(bench.market, {}), bench.observed
    leg = await bench.rested()
    asked: dict[str, Callable[[], Awaitable[Any]]] = {
        "account": bench.store.account,
        "instruments": bench.store.instruments,
        "time": bench.store.server_time_ns,
        "last_price": lambda: bench.feed.last_price(symbol=bench.symbol),
        "query": lambda: bench.broker.query(leg=leg),
        "fills": lambda: bench.broker.fills(instrument=bench.instrument, start_ns=bench.time.market - 3600 * 10**9),
        "cancel": lambda: bench.cancel(leg),
    }
    compared = 0
    for operation, ask in asked.items():
        await bench.store.account()
        before = Counter(dict(observed))
        await ask()
        await bench.store.account()
        after = Counter(dict(observed))
        for limit in after.keys() & before.keys():
            declared = costs.get(operation, {}).get(limit, 0) + costs.get("account", {}).get(limit, 0)
            counted = after[limit] - before[limit]
            compared += 1
            expect(counted <= declared, f"expected {declared} of {limit} at most for {operation}, and it is {counted}")
    if not compared:
        skip("nothing was observed: the venue does not tell what it counts")
