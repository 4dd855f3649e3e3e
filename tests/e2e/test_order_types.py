"""Every type of order an unchanged strategy may send, on the venue in the box: what it is told, what the venue has."""

import datetime
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import backtrader as bt
import pytest

import btx
from btx.runtime.session import Session
from tests.e2e.trading import Scripted, account, books_agree, run, run_on, world

RICH = account(USDT="900000", BTC="5")
NEAR, FAR = 0.0005, 0.2  # parts of the price: reached soon, and never


class Desk:
    """What a test placed by name, and how the venue's ledger had it at the end."""

    def __init__(self) -> None:
        self.placed: dict[str, Any] = {}
        self.venue: dict[str, Any] = {}
        self.requests: dict[str, int] = {}

    def __getitem__(self, name: str) -> Any:
        return self.placed[name]

    def put(self, **orders: Any) -> None:
        self.placed.update(orders)

    def look(self, strategy: Any) -> None:
        books_agree(strategy)
        session = session_of(strategy)
        self.venue = {row["client_order_id"]: row for row in session.ledger()["orders"]}
        self.requests = dict(session._ask_simulator("requests")["requests"])

    def row(self, name: str) -> Any:
        """Return the order as the venue has it: the last of its legs."""
        info = self.placed[name].info
        return self.venue[info.get("legs", [info.client_order_id])[-1]]

    def shape(self, name: str) -> tuple[Any, ...]:
        row = self.row(name)
        return row["order_type"], row["time_in_force"], row["post_only"]


def session_of(strategy: Any) -> Session:
    session: Session = strategy.broker._stores[0].session
    return session


def play(desk: Desk, steps: dict[int, Callable[[Any], Any]], *, minutes: int = 30, **settings: Any) -> Any:
    return run(world(minutes=minutes, accounts=(RICH,), **settings), steps, at_end=desk.look)


def at(strategy: Any, part: float) -> float:
    """Return the last close moved by a part of itself, on the tick."""
    return round(strategy.data.close[0] * (1 + part), 2)


# --- how each is told, and what the venue has ---------------------------------------------------------------


def test_market_and_limit_orders_are_filled_and_told_step_by_step() -> None:
    desk = Desk()
    strategy = play(
        desk,
        {
            2: lambda s: desk.put(
                market=s.buy(size=2.5), limit=s.sell(size=0.5, exectype=bt.Order.Limit, price=at(s, NEAR))
            )
        },
        minutes=120,
    )

    for name, shape in (("market", ("MARKET", "GTC", False)), ("limit", ("LIMIT", "GTC", False))):
        told = strategy.told(desk[name])
        assert (told[:2], told[-1], set(told[2:-1]) <= {"Partial"}) == (["Submitted", "Accepted"], "Completed", True)
        assert desk.shape(name) == shape
    assert strategy.told(desk["market"]).count("Partial") >= 1


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("stop", {"exectype": bt.Order.Stop, "side": -1, "part": -NEAR}, "STOP_MARKET"),
        ("stop that buys", {"exectype": bt.Order.Stop, "side": 1, "part": NEAR}, "STOP_MARKET"),
        ("stop limit", {"exectype": bt.Order.StopLimit, "side": -1, "part": -NEAR, "limit": -0.01}, "STOP_LIMIT"),
        ("take profit", {"order_type": "TAKE_PROFIT_MARKET", "side": -1, "part": NEAR}, "TAKE_PROFIT_MARKET"),
        (
            "take profit limit",
            {"order_type": "TAKE_PROFIT_LIMIT", "side": 1, "part": -NEAR, "limit": 0.01},
            "TAKE_PROFIT_LIMIT",
        ),
    ],
)
def test_what_waits_for_a_price_rests_at_the_venue_and_acts_there(
    name: str, arguments: dict[str, Any], expected: str
) -> None:
    desk = Desk()
    side, part, limit = arguments.pop("side"), arguments.pop("part"), arguments.pop("limit", None)

    def place(strategy: Any) -> None:
        send = strategy.buy if side > 0 else strategy.sell
        plimit = {} if limit is None else {"plimit": at(strategy, limit)}
        trigger = at(strategy, part)
        desk.put(order=send(size=0.3, price=trigger, **plimit, **arguments), trigger=trigger)

    strategy = play(desk, {2: place}, minutes=120)

    row = desk.row("order")
    assert strategy.told(desk["order"])[:2] == ["Submitted", "Accepted"], name
    assert strategy.told(desk["order"])[-1] == "Completed"
    assert (row["order_type"], float(row["trigger_price"])) == (expected, desk["trigger"])
    assert row["price"] is None if limit is None else float(row["price"]) > 0
    assert desk["order"].executed.size == pytest.approx(side * 0.3)


def test_a_stop_that_trails_by_percent_is_the_venues_own_and_stands_a_trail_away_from_the_best_price() -> None:
    desk = Desk()

    def begin(strategy: Any) -> None:
        desk.put(
            trail=strategy.sell(size=0.3, exectype=bt.Order.StopTrail, trailpercent=0.002),
            limited=strategy.sell(
                size=0.2, exectype=bt.Order.StopTrailLimit, trailpercent=0.002, plimit=at(strategy, -0.05)
            ),
        )

    strategy = play(desk, {2: begin}, minutes=240)

    bars = [(stamp, high) for stamp, high in zip(strategy.data.datetime.array, strategy.data.high.array, strict=True)]
    for name in ("trail", "limited"):
        row = desk.row(name)
        assert (row["trail_bps"], row["trigger_price"]) == (20, None)
        assert strategy.told(desk[name])[:2] == ["Submitted", "Accepted"]
        assert strategy.told(desk[name])[-1] == "Completed"
        began, ended = desk[name].created.dt, desk[name].executed.dt
        best = max(high for stamp, high in bars if began < stamp <= ended)
        # With an activation price, which it is not sent, it would be two trails away.
        assert 0.997 < desk[name].executed.price / best < 0.9985
    assert desk.requests["POST /api/v3/order"] == 2


def test_a_stop_that_trails_by_an_amount_is_a_stop_that_is_moved() -> None:
    desk = Desk()
    stands: list[float] = []

    def begin(strategy: Any) -> None:
        distance = round(strategy.data.close[0] * 0.002, 2)
        desk.put(trail=strategy.sell(size=0.3, exectype=bt.Order.StopTrail, trailamount=distance))

    def watch(strategy: Any) -> None:
        if desk["trail"].alive():
            stands.append(desk["trail"].created.price)

    strategy = play(desk, {2: begin, **dict.fromkeys(range(3, 240), watch)}, minutes=240)

    row = desk.row("trail")
    assert strategy.told(desk["trail"])[:2] == ["Submitted", "Accepted"]
    assert strategy.told(desk["trail"])[-1] == "Completed"
    assert (row["order_type"], row["trail_bps"]) == ("STOP_MARKET", None)
    assert stands == sorted(stands)  # it never goes back
    assert len(set(stands)) > 1
    assert len(desk["trail"].info.legs) > 1


def test_an_iceberg_shows_a_part_and_a_post_only_order_is_a_maker() -> None:
    desk = Desk()
    limit = bt.Order.Limit
    strategy = play(
        desk,
        {
            2: lambda s: desk.put(
                iceberg=s.buy(size=1, exectype=limit, price=at(s, -NEAR), display_size=0.25),
                maker=s.sell(size=0.4, exectype=limit, price=at(s, NEAR), post_only=True),
                taker=s.sell(size=0.4, exectype=limit, price=at(s, -0.01), post_only=True),
                both=s.buy(size=0.4, exectype=limit, price=at(s, -FAR), post_only=True, display_size=0.1),
            )
        },
        minutes=120,
    )

    assert Decimal(desk.row("iceberg")["display_quantity"]) == Decimal("0.25")
    assert strategy.told(desk["iceberg"])[-1] == "Completed"
    assert desk.shape("maker") == desk.shape("both") == ("LIMIT", "GTC", True)
    assert strategy.told(desk["maker"])[-1] == "Completed"
    assert strategy.told(desk["taker"]) == ["Submitted", "Rejected"]
    assert "immediately match and take" in desk["taker"].info.reason
    assert Decimal(desk.row("both")["display_quantity"]) == Decimal("0.1")


def test_immediate_or_cancel_keeps_its_part_and_fill_or_kill_takes_all_or_nothing() -> None:
    desk = Desk()
    limit = bt.Order.Limit
    strategy = run(
        world(accounts=(account(USDT="4000000"),)),
        {
            2: lambda s: desk.put(
                part=s.buy(size=15, exectype=limit, price=at(s, NEAR), time_in_force="IOC"),
                filled=s.buy(size=0.1, exectype=limit, price=at(s, 0.01), time_in_force="FOK"),
            ),
            4: lambda s: desk.put(nothing=s.buy(size=15, exectype=limit, price=at(s, -0.01), time_in_force="IOC")),
            6: lambda s: desk.put(killed=s.buy(size=15, exectype=limit, price=at(s, NEAR), time_in_force="FOK")),
        },
        at_end=desk.look,
    )

    assert [desk.shape(name)[1] for name in ("part", "nothing", "killed", "filled")] == ["IOC", "IOC", "FOK", "FOK"]
    for name in ("part", "nothing", "killed"):
        assert strategy.told(desk[name])[-1] == "Expired"
    assert 0 < desk["part"].executed.size < 15
    assert desk["nothing"].executed.size == desk["killed"].executed.size == 0
    assert strategy.told(desk["filled"])[-1] == "Completed"


def test_an_order_ends_when_its_time_is_over() -> None:
    desk = Desk()
    limit = bt.Order.Limit

    def place(strategy: Any) -> None:
        far, now = at(strategy, -FAR), strategy.data.datetime.datetime(0)
        desk.put(
            delta=strategy.buy(size=0.1, exectype=limit, price=far, valid=datetime.timedelta(minutes=3)),
            date=strategy.buy(size=0.1, exectype=limit, price=far, valid=now + datetime.timedelta(minutes=5)),
            day=strategy.buy(size=0.1, exectype=limit, price=far, valid=bt.Order.DAY),
            kept=strategy.buy(size=0.1, exectype=limit, price=far),
        )

    strategy = play(desk, {2: place})

    for name in ("delta", "date"):
        assert strategy.told(desk[name]) == ["Submitted", "Accepted", "Expired"]
        assert desk.row(name)["status"] == "CANCELED"  # the venue knows no such time: it was cancelled in time
    lived_ns = [desk.row(name)["updated_ns"] - desk.row(name)["created_ns"] for name in ("delta", "date")]
    assert [round(each / 60e9) for each in lived_ns] == [3, 5]
    for name in ("day", "kept"):
        assert strategy.told(desk[name]) == ["Submitted", "Accepted"]
        assert desk.row(name)["is_open"]
    end = bt.num2date(desk["day"].valid)
    assert (end - bt.num2date(desk["day"].created.dt)) <= datetime.timedelta(days=1)


def test_what_cannot_be_had_is_margin_or_rejected_with_a_reason() -> None:
    desk = Desk()
    limit = bt.Order.Limit
    strategy = play(
        desk,
        {
            2: lambda s: desk.put(
                offer=s.sell(size=4, exectype=limit, price=at(s, FAR)),
                poor=s.sell(size=3, exectype=limit, price=at(s, 0.1)),  # the offer has most of what there is
                huge=s.buy(size=50),
                absurd=s.buy(size=0.1, exectype=limit, price=at(s, -0.95)),
                strange=s.buy(size=0.1, time_in_force="NOW"),
            )
        },
    )

    assert strategy.told(desk["poor"]) == ["Submitted", "Margin"]
    assert "insufficient balance" in desk["poor"].info.reason
    assert strategy.told(desk["huge"])[-1] == "Margin"
    assert "equity" in desk["huge"].info.reason
    for name, reason in (("absurd", "PERCENT_PRICE"), ("strange", "time_in_force")):
        assert strategy.told(desk[name])[-1] == "Rejected"
        assert reason in desk[name].info.reason


# --- an entry with its exits as one list ----------------------------------------------------------------------


def enter_natively(desk: Desk, strategy: Any, *, price: float, reach: float = 0.002) -> None:
    entry, stop, target = strategy.buy_bracket(
        size=0.5,
        exectype=bt.Order.Limit,
        price=at(strategy, price),
        stopprice=at(strategy, price - reach),
        limitprice=at(strategy, price + reach),
        native_bracket=True,
    )
    desk.put(entry=entry, stop=stop, target=target)


def test_dormant_exits_are_accepted_wake_with_the_entry_and_one_ends_the_other() -> None:
    desk = Desk()
    dormant: list[Any] = []
    strategy = play(
        desk,
        {
            2: lambda s: enter_natively(desk, s, price=-NEAR),
            3: lambda s: dormant.extend((each.status, s.position.size) for each in (desk["stop"], desk["target"])),
        },
        minutes=240,
    )

    assert dormant == [(bt.Order.Accepted, 5.0)] * 2
    assert strategy.told(desk["entry"])[:2] == ["Submitted", "Accepted"]
    assert strategy.told(desk["entry"])[-1] == "Completed"
    ends = {name: strategy.told(desk[name])[-1] for name in ("stop", "target")}
    assert sorted(ends.values()) == ["Canceled", "Completed"]
    for name in ("stop", "target"):
        assert strategy.told(desk[name])[:2] == ["Submitted", "Accepted"]
    assert strategy.position.size == pytest.approx(5.0, abs=0.001)
    assert desk.requests["POST /api/v3/orderList/otoco"] == 1
    assert "POST /api/v3/order" not in desk.requests


def test_dormant_exits_end_with_an_entry_that_is_cancelled() -> None:
    desk = Desk()
    strategy = play(
        desk,
        {2: lambda s: enter_natively(desk, s, price=-FAR), 5: lambda s: s.cancel(desk["entry"])},
        minutes=12,
    )

    for name in ("entry", "stop", "target"):
        assert strategy.told(desk[name]) == ["Submitted", "Accepted", "Canceled"]
    assert {row["status"] for row in desk.venue.values()} <= {"CANCELED", "EXPIRED"}
    assert len(desk.venue) == 3


# --- changes ------------------------------------------------------------------------------------------------


def test_an_amendment_of_an_untouched_order_is_one_request_and_the_order_stays_the_strategys() -> None:
    desk = Desk()

    def move(strategy: Any) -> None:
        assert strategy.broker.amend(desk["order"], price=at(strategy, -FAR / 2), size=0.25)

    strategy = play(
        desk,
        {
            2: lambda s: desk.put(order=s.buy(size=0.1, exectype=bt.Order.Limit, price=at(s, -FAR))),
            4: move,
            6: lambda s: s.broker.amend(desk["order"], price=at(s, 0.01)),
        },
    )

    order = desk["order"]
    told = strategy.told(order)
    assert (told[:4], told[-1]) == (["Submitted", "Accepted", "Accepted", "Accepted"], "Completed")
    assert order.executed.size == pytest.approx(0.25)
    assert len(order.info.legs) == 3
    assert (desk.requests["POST /api/v3/order/cancelReplace"], desk.requests["POST /api/v3/order"]) == (2, 1)
    assert "DELETE /api/v3/order" not in desk.requests


def test_an_amendment_after_a_partial_fill_places_what_is_left() -> None:
    desk = Desk()
    done: list[float] = []

    def once_partial(strategy: Any) -> None:
        order = desk["order"]
        if order.status == bt.Order.Partial and not done:
            done.append(order.executed.size)
            assert strategy.broker.amend(order, price=at(strategy, 0.01), size=3)

    strategy = play(
        desk,
        {
            2: lambda s: desk.put(order=s.buy(size=4, exectype=bt.Order.Limit, price=at(s, -NEAR / 2))),
            **dict.fromkeys(range(3, 240), once_partial),
        },
        minutes=240,
    )

    assert len(done) == 1
    assert 0 < done[0] < 3
    assert strategy.told(desk["order"])[-1] == "Completed"
    assert desk["order"].executed.size == pytest.approx(3)
    first, second = (desk.venue[each] for each in desk["order"].info.legs)
    assert (first["status"], Decimal(first["filled"]) + Decimal(second["filled"])) == ("CANCELED", 3)


def test_one_cancel_ends_one_order() -> None:
    desk = Desk()
    strategy = play(
        desk,
        {
            2: lambda s: desk.put(
                one=s.buy(size=0.1, exectype=bt.Order.Limit, price=at(s, -FAR)),
                other=s.sell(size=0.1, exectype=bt.Order.Stop, price=at(s, -FAR)),
            ),
            4: lambda s: s.cancel(desk["one"]),
        },
    )

    assert strategy.told(desk["one"]) == ["Submitted", "Accepted", "Canceled"]
    assert strategy.told(desk["other"]) == ["Submitted", "Accepted"]
    assert (desk.row("one")["status"], desk.row("other")["is_open"]) == ("CANCELED", True)


# --- many at once -------------------------------------------------------------------------------------------


def ladder(desk: Desk, strategy: Any, *, steps: int = 8) -> None:
    """Place resting orders of several types, and one more with a member of a group of its own."""
    for step in range(steps):
        price = at(strategy, -FAR - step / 1000)
        kind = bt.Order.Limit if step % 2 else bt.Order.Stop
        send = strategy.buy if step % 2 else strategy.sell
        desk.put(**{f"o{step}": send(size=0.01, exectype=kind, price=price)})


def test_many_cancels_of_an_instrument_are_one_request_and_each_order_is_told() -> None:
    desk = Desk()
    counts: list[int] = []
    strategy = play(
        desk,
        {2: lambda s: ladder(desk, s), 4: lambda s: counts.append(s.broker.cancel_all(s.data))},
        minutes=10,
    )

    assert counts == [8]
    for name in desk.placed:
        assert strategy.told(desk[name]) == ["Submitted", "Accepted", "Canceled"]
        assert desk.row(name)["status"] == "CANCELED"
    assert desk.requests["DELETE /api/v3/openOrders"] == 1
    assert "DELETE /api/v3/order" not in desk.requests


def test_the_exits_of_a_bracket_go_with_all_others() -> None:
    desk = Desk()

    def enter(strategy: Any) -> None:
        entry, stop, target = strategy.buy_bracket(
            size=0.1, exectype=bt.Order.Market, stopprice=at(strategy, -FAR), limitprice=at(strategy, FAR)
        )
        desk.put(entry=entry, stop=stop, target=target)

    strategy = play(
        desk,
        {
            2: enter,
            3: lambda s: desk.put(rest=s.buy(size=0.1, exectype=bt.Order.Limit, price=at(s, -FAR))),
            5: lambda s: s.broker.cancel_all(s.data),
        },
        minutes=12,
    )

    for name in ("stop", "target", "rest"):
        assert strategy.told(desk[name])[-1] == "Canceled"
    assert strategy.told(desk["entry"])[-1] == "Completed"
    assert not [row for row in desk.venue.values() if row["is_open"]]
    assert desk.requests["DELETE /api/v3/openOrders"] == 1


def test_with_an_order_of_somebody_else_they_go_one_by_one_and_his_stays() -> None:
    desk = Desk()
    foreign = "somebody-else"

    def meddle(strategy: Any) -> None:
        ladder(desk, strategy, steps=4)
        session = session_of(strategy)
        link = session._link
        assert link is not None
        assert link.desk is not None
        assert session._io is not None
        params = {
            "symbol": "BTCUSDT",
            "side": "BUY",
            "type": "LIMIT",
            "timeInForce": "GTC",
            "quantity": "0.01",
            "price": str(at(strategy, -FAR)),
            "newClientOrderId": foreign,
        }
        broker: Any = link.desk._placing._broker
        session._io.run(broker._api.client.ask("privatePostOrder", params), timeout_s=5.0)

    strategy = play(desk, {2: meddle, 4: lambda s: s.broker.cancel_all(s.data)}, minutes=10)

    for name in desk.placed:
        assert strategy.told(desk[name]) == ["Submitted", "Accepted", "Canceled"]
    assert desk.venue[foreign]["is_open"]
    assert desk.requests["DELETE /api/v3/order"] == 4
    assert "DELETE /api/v3/openOrders" not in desk.requests


def test_orders_of_one_next_leave_together_and_each_has_its_own_outcome() -> None:
    desk = Desk()
    limit = bt.Order.Limit
    store = btx.load("binance", env="sim", scenario=world(minutes=5, accounts=(RICH,)))

    def place(strategy: Any) -> None:
        desk.put(
            good=strategy.buy(size=0.1),
            huge=strategy.buy(size=50),
            taker=strategy.buy(size=0.1, exectype=limit, price=at(strategy, 0.01), post_only=True),
            rests=strategy.buy(size=0.1, exectype=limit, price=at(strategy, -FAR)),
        )

    strategy: Scripted = run_on(store, {2: place}, at_end=desk.look)

    assert {name: strategy.told(desk[name])[-1] for name in desk.placed} == {
        "good": "Completed",
        "huge": "Margin",
        "taker": "Rejected",
        "rests": "Accepted",
    }
    assert desk.requests["POST /api/v3/order"] == 3
