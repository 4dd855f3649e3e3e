"""Whole runs: a strategy trades through ``btx.load`` and cerebro, and the books are compared at the end."""

import itertools
from collections.abc import Mapping
from typing import Any

from btx.errors import AuthenticationError, UnknownSymbolError
from btx.model.order import OrderType
from btx.model.time import NS_PER_MINUTE
from btx.model.venue import Channel
from btx.testing import needs
from btx.testing.books import check_books
from btx.testing.card import CardFailedError, expect, run_card, skip
from btx.testing.hall import Hall, Run, World
from btx.testing.steps import Step, buy, cancel, close, limit, size_of

__all__ = ()

_TRADES = (needs.channel(Channel.BAR), needs.order_type(OrderType.MARKET))
_RESTS = (needs.channel(Channel.BAR), needs.order_type(OrderType.LIMIT))
_ROUND_TRIP: Mapping[int, Step] = {2: buy("in"), 5: close("out")}
_MINUTES = 12
_BURST = 25
_SHORT_S = 2.0  # a window that may be waited for


def _trade(
    hall: Hall, steps: Mapping[int, Step] = _ROUND_TRIP, *faults: Mapping[str, Any], backfill: int | None = None
) -> tuple[World, Run, Mapping[str, Any]]:
    """Play a run while something goes wrong, and return it with the ledger at its end."""
    with hall.world(until_ns=_MINUTES * NS_PER_MINUTE) as world:
        world.faults(*faults)
        data = {"dataname": world.symbol} | ({"backfill": backfill} if backfill else {})
        run = hall.play(world.load(), steps, datas=[data])
        log = world.ask("fault_log")["log"]
        if faults and not log:
            skip(f"the simulator does not play the fault {faults[0]['kind']!r} here")
        return world, run, world.ledger()


def _is_done(run: Run, *names: str) -> None:
    for name in names:
        told = run.strategy.statuses_of(run.strategy.kept[name])
        expect(told[-1:] == ["Completed"], f"expected the order to be Completed, and the strategy was told {told}")


@run_card(
    "ACC-10",
    "After a run backtrader's cash, positions and fills are those of the venue's ledger",
    hint="everything between Broker.place and AccountUpdate",
    needs=_TRADES,
)
def _books(hall: Hall) -> None:
    _, run, ledger = _trade(hall)
    _is_done(run, "in", "out")
    check_books(ledger, run.strategy)


@run_card(
    "HIS-15",
    "History comes first, then what is live, and every bar once",
    hint="Feed.bars and pushed bars: open_ns and close_ns",
    needs=(*_RESTS[:1], needs.flag("history")),
)
def _bars(hall: Hall) -> None:
    _, run, _ = _trade(hall, {}, backfill=30)
    opens = [open_ms for _, open_ms in run.strategy.seen]
    expect(len(set(opens)) == len(opens), "expected every bar once, and one came twice")
    expect(opens == sorted(opens), "expected bars in order, and they are not")
    expect(len(opens) >= 30 + _MINUTES - 2, f"expected {30 + _MINUTES} bars, and there are {len(opens)}")
    steps = {high - low for low, high in itertools.pairwise(opens)}
    has_hours = hall.venue.calendar(run.strategy.data.instrument).hours
    if not hall.can.sparse_bars and not has_hours:
        expect(len(steps) == 1, "expected bars without a hole, and there is one")


@run_card(
    "INS-14",
    "A symbol that is not listed is told at once, with those that come near",
    hint="Store.instruments: symbols as users write them",
)
def _unknown(hall: Hall) -> None:
    with hall.world(until_ns=NS_PER_MINUTE) as world:
        wrong = world.symbol[:-1] + "Q"
        try:
            hall.play(world.load(), {}, datas=[{"dataname": wrong}])
        except UnknownSymbolError as error:
            expect("did you mean" in str(error), f"expected near symbols in the message, and it says: {error}")
            return
        raise CardFailedError(f"expected UnknownSymbolError for {wrong}, and the run went on")


@run_card(
    "ORD-30",
    "A strategy is told of an order as it goes: Submitted, Accepted, then its end",
    hint="reports of the account's stream",
    needs=_RESTS,
)
def _told(hall: Hall) -> None:
    _, run, ledger = _trade(hall, {2: limit("order", -300), 5: cancel("order")})
    told = run.strategy.statuses_of(run.strategy.kept["order"])
    expect(told == ["Submitted", "Accepted", "Canceled"], f"expected Submitted, Accepted, Canceled, and it was {told}")
    expect(not [row for row in ledger["orders"] if row["is_open"]], "expected nothing open at the venue at the end")


@run_card(
    "ORD-31",
    "An order that the account cannot pay ends as Margin or Rejected, with the reason",
    hint="InsufficientFundsError",
    needs=_RESTS,
)
def _margin(hall: Hall) -> None:
    def much(strategy: Any) -> None:
        strategy.kept["order"] = strategy.buy(
            size=size_of(strategy.data, 400_000_000), exectype=strategy.Limit, price=strategy.data.close[0] * 0.99
        )

    _, run, ledger = _trade(hall, {2: much})
    told = run.strategy.statuses_of(run.strategy.kept["order"])
    expect(told[-1] in {"Margin", "Rejected"}, f"expected Margin or Rejected, and the strategy was told {told}")
    check_books(ledger, run.strategy)


# --- faults in whole runs -----------------------------------------------------------------------------------


@run_card(
    "FLT-30",
    "A lost answer is settled by asking: the order is there once, and the strategy is told its end",
    hint="Broker.query, and client order ids",
    needs=_TRADES,
)
def _lost(hall: Hall) -> None:
    _, run, ledger = _trade(hall, _ROUND_TRIP, {"kind": "lose", "where": "place"})
    _is_done(run, "in", "out")
    check_books(ledger, run.strategy)


@run_card(
    "FLT-31",
    "A server error after the order was taken is settled by asking",
    hint="OutcomeUnknownError of Broker.place",
    needs=_TRADES,
)
def _error(hall: Hall) -> None:
    _, run, ledger = _trade(hall, _ROUND_TRIP, {"kind": "error_after", "where": "place"})
    _is_done(run, "in", "out")
    check_books(ledger, run.strategy)


@run_card(
    "FLT-32",
    "Fills that happen while the account's stream is cut are found, and told once",
    hint="Broker.query and Broker.fills",
    needs=_TRADES,
)
def _cut(hall: Hall) -> None:
    _, run, ledger = _trade(hall, _ROUND_TRIP, {"kind": "cut", "where": "account_stream"})
    _is_done(run, "in", "out")
    check_books(ledger, run.strategy)


@run_card(
    "FLT-33",
    "Fills that are pushed twice, late or out of order are counted once",
    hint="fill_id: the venue's own",
    needs=_TRADES,
)
def _twice(hall: Hall) -> None:
    _, run, ledger = _trade(
        hall,
        _ROUND_TRIP,
        {"kind": "duplicate", "where": "account_stream", "count": 50},
        {"kind": "reorder", "where": "account_stream", "at": 2, "for_s": 0.1},
    )
    _is_done(run, "in", "out")
    check_books(ledger, run.strategy)


@run_card(
    "FLT-34",
    "After the market's stream was cut every bar is there, once and in order",
    hint="subscriptions of a new connection, and Feed.bars",
    needs=(*_RESTS[:1], needs.flag("history")),
)
def _resubscribed(hall: Hall) -> None:
    _, run, _ = _trade(hall, {}, {"kind": "cut", "where": "market_stream", "at": 4})
    opens = [open_ms for _, open_ms in run.strategy.seen]
    expect(opens == sorted(set(opens)), "expected bars in order and each once after a cut, and they are not")
    expect(len(opens) >= _MINUTES - 2, f"expected {_MINUTES} bars in spite of a cut, and there are {len(opens)}")


@run_card(
    "FLT-35",
    "A run goes on after the venue was out",
    hint="every port: TransportError while the venue is out",
    needs=_TRADES,
)
def _outage(hall: Hall) -> None:
    _, run, ledger = _trade(hall, _ROUND_TRIP, {"kind": "outage", "where": "place", "for_s": 0.3})
    check_books(ledger, run.strategy)


@run_card(
    "FLT-36",
    "A stream that says nothing more is noticed, and its bars are fetched",
    hint="the runtime's watch; Feed.bars",
    needs=(*_RESTS[:1], needs.flag("history")),
)
def _silent(hall: Hall) -> None:
    _, run, _ = _trade(hall, {}, {"kind": "silence", "where": "market_stream", "at": 3, "for_s": 0})
    opens = [open_ms for _, open_ms in run.strategy.seen]
    expect(opens == sorted(set(opens)), "expected bars in order and each once, and they are not")
    expect(len(opens) >= _MINUTES - 2, f"expected {_MINUTES} bars in spite of a silence, and there are {len(opens)}")


@run_card(
    "CLK-05",
    "A venue whose clock is not this machine's can be traded",
    hint="Store.server_time_ns, and Context.clock.wire_ns in signatures",
    needs=_TRADES,
)
def _clock(hall: Hall) -> None:
    jump = {"kind": "clock_jump", "where": "any", "offset_s": 30.0, "for_s": 0}
    _, run, ledger = _trade(hall, _ROUND_TRIP, jump)
    _is_done(run, "in", "out")
    check_books(ledger, run.strategy)


def _affordable(hall: Hall) -> int:
    """Return how many orders are a burst: more than a short window takes, and fewer than fill a long one."""
    costs = hall.info.costs.get(hall.market, {}).get("place", {})
    long = [each for each in hall.info.limits.get(hall.market, ()) if each.name in costs and each.window_s > _SHORT_S]
    return min([_BURST, *(int(each.limit * 0.4) // costs[each.name] for each in long)])


@run_card(
    "LIM-06",
    "A burst of orders is paced: all are taken, and none is refused for its rate",
    hint="VenueInfo.limits and costs",
    needs=_RESTS,
)
def _burst(hall: Hall) -> None:
    count = _affordable(hall)

    def many(strategy: Any) -> None:
        for number in range(count):
            limit(f"order {number}", -300, 1)(strategy)

    _, run, _ = _trade(hall, {2: many})
    ends = [run.strategy.statuses_of(run.strategy.kept[f"order {number}"]) for number in range(count)]
    taken = sum("Accepted" in told for told in ends)
    expect(taken == count, f"expected all of {count} orders to be Accepted, and {taken} were: {ends[0]}")


@run_card(
    "LIM-07",
    "An order that is refused for its rate is sent when the venue listens again",
    hint="RateLimitedError: refused with certainty",
    needs=_TRADES,
)
def _waits(hall: Hall) -> None:
    _, run, ledger = _trade(hall, _ROUND_TRIP, {"kind": "rate_limit", "where": "account", "at": 2, "for_s": 0.5})
    _is_done(run, "in", "out")
    check_books(ledger, run.strategy)


@run_card(
    "ERR-07",
    "A start with a key that is not accepted ends at once, as AuthenticationError",
    hint="AuthenticationError: nobody tries again",
    needs=_RESTS[:1],
)
def _no_start(hall: Hall) -> None:
    with hall.world(until_ns=_MINUTES * NS_PER_MINUTE) as world:
        world.faults({"kind": "key_expiry", "where": "account", "count": 1000})
        try:
            hall.play(world.load(), {}, datas=[{"dataname": world.symbol}])
        except AuthenticationError:
            log = world.ask("fault_log")["log"]
            expect(len(log) <= 3, f"expected the start to end at the first refusal, and it asked {len(log)} times")
            return
        if not world.ask("fault_log")["log"]:
            skip("the simulator does not play the fault 'key_expiry'")
        raise CardFailedError("expected AuthenticationError from cerebro.run(), and the run went on")
