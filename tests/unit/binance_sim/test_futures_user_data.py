"""What a futures account hears of itself, and with which key."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from btx.model.derivatives import MarginMode, PositionMode
from btx.model.order import OrderType, Side, TimeInForce
from btx.model.venue import SimAccount
from tests.unit.binance_sim.served_futures import DEADLINE_S, Venue, events, run

NUMBER = "btx"  # what a market in lockstep adds for those who walk with it


def news(frame: Any) -> Any:
    """What a frame is about, in a word or two."""
    match frame["e"]:
        case "ORDER_TRADE_UPDATE":
            return frame["o"]["x"], frame["o"]["X"]
        case "ALGO_UPDATE":
            return "ALGO", frame["o"]["X"]
        case "ACCOUNT_UPDATE":
            return "ACCOUNT", frame["a"]["m"]
        case other:
            return other


def until(*wanted: Any) -> Any:
    return lambda frame: news(frame) in wanted


def of(seen: Any, kind: str) -> Any:
    return [frame for frame in seen if frame["e"] == kind]


async def listening(venue: Venue, scene: Any, path: str = "/private/ws?listenKey={}") -> Any:
    async with venue.socket(path.format(await venue.key())) as socket:
        return await scene(socket)


def test_an_execution_is_told_as_account_then_in_brief_then_in_full() -> None:
    async def scene(venue: Venue) -> Any:
        async def trade(socket: Any) -> Any:
            venue.place()
            return await events(socket, until(("TRADE", "FILLED")))

        return await listening(venue, trade)

    seen = run(scene)

    assert [news(frame) for frame in seen] == [
        ("NEW", "NEW"),
        ("ACCOUNT", "ORDER"),
        "TRADE_LITE",
        ("TRADE", "FILLED"),
    ]
    [account], order = of(seen, "ACCOUNT_UPDATE"), seen[-1]["o"]
    [asset], [position] = account["a"]["B"], account["a"]["P"]
    assert Decimal(asset["wb"]) == 100_000 - Decimal(order["n"])
    assert asset["bc"] == "0"
    assert (position["pa"], position["ps"], position["ep"]) == ("0.01", "BOTH", order["L"])
    assert (order["N"], order["m"], order["rp"]) == ("USDT", False, "0")


@pytest.mark.parametrize(
    ("file", "kinds"),
    [
        ("binance_FutureMarketSubmittedFilled.jsonl", (OrderType.MARKET, None)),
        ("binance_FutureLimitSubmittedFilled.jsonl", (OrderType.LIMIT, "1.01")),
    ],
)
def test_orders_are_told_with_the_fields_of_frames_recorded_at_the_venue(file: str, kinds: Any, btx_data: Path) -> None:
    recorded = [json.loads(line) for line in (btx_data / "userdata" / file).read_text().splitlines()]
    order_type, factor = kinds

    async def scene(venue: Venue) -> Any:
        async def trade(socket: Any) -> Any:
            venue.place(order_type=order_type, price=None if factor is None else venue.price(factor))
            return of(await events(socket, until(("TRADE", "FILLED"))), "ORDER_TRADE_UPDATE")

        return await listening(venue, trade)

    ours = run(scene)

    assert [frame["o"]["x"] for frame in ours] == [frame["o"]["x"] for frame in recorded]
    for mine, real in zip(ours, recorded, strict=True):
        assert list(mine) == [*real, NUMBER]
        assert {key: type(value) for key, value in mine["o"].items()} == {
            key: type(value) for key, value in real["o"].items()
        }


def test_a_triggered_stop_limit_is_told_as_the_recorded_one_and_its_triggering_is_no_execution(btx_data: Path) -> None:
    path = btx_data / "userdata" / "binance_FutureStopLimitSubmittedFilled.jsonl"
    recorded = [json.loads(line) for line in path.read_text().splitlines()]
    filled = [frame for frame in recorded if "1QVvPIED7rTEv10YxzU37V" not in json.dumps(frame)]

    async def scene(venue: Venue) -> Any:
        async def trade(socket: Any) -> Any:
            trigger = venue.price()  # the market is there already, and trades there next
            venue.desk.place_conditional(
                api_key="alice",
                order=venue.order(
                    order_type=OrderType.STOP_LIMIT, trigger_price=trigger + 1, price=venue.price("0.999")
                ),
                now_ns=venue.world.market_ns(),
            )
            seen: list[Any] = []
            while not seen or news(seen[-1]) != ("ALGO", "FINISHED"):
                await venue.advance()
                await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
                seen += (await events(socket, lambda frame: "result" in frame))[:-1]
                seen = [frame for frame in seen if frame["e"] in {"ALGO_UPDATE", "ORDER_TRADE_UPDATE"}]
            return seen

        return await listening(venue, trade)

    ours = run(scene)

    assert [news(frame) for frame in ours] == [news(frame) for frame in filled]
    for mine, real in zip(ours, filled, strict=True):
        assert list(mine) == [*real, NUMBER]
        assert set(mine["o"]) == set(real["o"]), news(real)
    triggered = next(frame["o"] for frame in ours if news(frame) == ("ALGO", "TRIGGERED"))
    child = next(frame["o"] for frame in ours if news(frame) == ("NEW", "NEW"))
    assert triggered["aq"] == "0"
    assert (triggered["ai"], child["si"], child["c"]) == (str(child["i"]), triggered["aid"], triggered["caid"])


def test_a_conditional_order_that_is_refused_says_why_with_the_recorded_fields(btx_data: Path) -> None:
    path = btx_data / "userdata" / "binance_FutureStopLimitSubmittedFilled.jsonl"
    [real] = [frame for frame in map(json.loads, path.read_text().splitlines()) if frame["o"]["X"] == "REJECTED"]

    async def scene(venue: Venue) -> Any:
        async def trade(socket: Any) -> Any:
            trigger = venue.price() + 1
            order = venue.order(quantity="90", order_type=OrderType.STOP_LIMIT, trigger_price=trigger, price=trigger)
            venue.desk.place_conditional(api_key="alice", order=order, now_ns=venue.world.market_ns())
            await venue.advance(30)
            return await events(socket, lambda frame: frame["e"] == "CONDITIONAL_ORDER_TRIGGER_REJECT")

        return await listening(venue, trade)

    seen = run(scene)

    assert [news(frame) for frame in seen[:3]] == [("ALGO", "NEW"), ("ALGO", "TRIGGERING"), ("ALGO", "REJECTED")]
    assert set(seen[2]["o"]) == set(real["o"])
    assert seen[2]["o"]["rm"] == real["o"]["rm"] == seen[3]["or"]["r"]


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({"time_in_force": TimeInForce.IOC, "order_type": OrderType.LIMIT, "quantity": "15"}, "2"),
        ({"time_in_force": TimeInForce.FOK, "order_type": OrderType.LIMIT, "quantity": "15"}, "10"),
    ],
)
def test_an_order_that_expires_says_why_in_the_numbers_of_the_manual(order: Any, reason: str) -> None:
    async def scene(venue: Venue) -> Any:
        async def trade(socket: Any) -> Any:
            venue.place(price=venue.price("1.0001"), **order)
            return (await events(socket, lambda frame: frame.get("o", {}).get("X") == "EXPIRED"))[-1]["o"]

        return await listening(venue, trade)

    told = run(scene)

    assert (told["x"], told["er"]) == ("EXPIRED", reason)


def test_a_trailing_stop_is_told_with_its_rate_and_where_it_begins_and_ends_as_cancelled() -> None:
    async def scene(venue: Venue) -> Any:
        async def trade(socket: Any) -> Any:
            now_ns = venue.world.market_ns()
            order = venue.order(
                Side.SELL, order_type=OrderType.TRAILING_STOP, trail_bps=150, trigger_price=venue.price("1.2")
            )
            waiting = venue.desk.place_conditional(api_key="alice", order=order, now_ns=now_ns)
            venue.desk.cancel_conditional(api_key="alice", conditional_id=waiting.conditional_id, now_ns=now_ns)
            return venue.price("1.2"), await events(socket, until(("ALGO", "CANCELED")))

        return await listening(venue, trade)

    price, seen = run(scene)

    assert [news(frame) for frame in seen] == [("ALGO", "NEW"), ("ALGO", "CANCELED")]
    told = seen[0]["o"]
    assert (told["o"], told["cr"], told["tp"], Decimal(told["AP"])) == ("TRAILING_STOP_MARKET", "1.5", "0", price)


def test_settings_cancels_and_amendments_are_told() -> None:
    async def scene(venue: Venue) -> Any:
        async def change(socket: Any) -> Any:
            now_ns, symbol = venue.world.market_ns(), venue.symbol
            venue.desk.set_leverage(api_key="alice", venue_symbol=symbol, leverage=7, now_ns=now_ns)
            venue.desk.set_margin_mode(api_key="alice", venue_symbol=symbol, mode=MarginMode.ISOLATED, now_ns=now_ns)
            venue.desk.set_position_mode(api_key="alice", mode=PositionMode.HEDGE, now_ns=now_ns)
            venue.desk.set_position_mode(api_key="alice", mode=PositionMode.ONE_WAY, now_ns=now_ns)
            order = venue.place(order_type=OrderType.LIMIT, price=venue.price("0.9"))
            price = venue.price("0.8")
            venue.desk.modify(
                api_key="alice",
                venue_symbol=symbol,
                order_id=order.order_id,
                price=price,
                quantity=order.quantity,
                now_ns=now_ns,
            )
            venue.desk.cancel(api_key="alice", venue_symbol=symbol, order_id=order.order_id, now_ns=now_ns)
            return price, await events(socket, until(("CANCELED", "CANCELED")))

        return await listening(venue, change)

    price, seen = run(scene)

    assert [news(frame) for frame in seen] == [
        "ACCOUNT_CONFIG_UPDATE",
        ("ACCOUNT", "MARGIN_TYPE_CHANGE"),
        ("NEW", "NEW"),
        ("AMENDMENT", "NEW"),
        ("CANCELED", "CANCELED"),
    ]
    assert seen[0]["ac"] == {"s": "BTCUSDT", "l": 7}
    assert [(row["s"], row["mt"]) for row in seen[1]["a"]["P"]] == [("BTCUSDT", "isolated")]
    assert seen[1]["a"]["B"] == []
    assert Decimal(seen[3]["o"]["p"]) == price


def test_coin_margined_accounts_have_an_alias_and_no_brief_news_and_no_commission_where_there_is_none() -> None:
    async def scene(venue: Venue) -> Any:
        async def trade(socket: Any) -> Any:
            venue.place(quantity="1")
            return await events(socket, until(("TRADE", "FILLED")))

        return await listening(venue, trade, path="/ws/{}")

    seen = run(scene, market="coinm")

    assert [news(frame) for frame in seen] == [("NEW", "NEW"), ("ACCOUNT", "ORDER"), ("TRADE", "FILLED")]
    assert {frame["i"] for frame in seen} == {"btxs"}
    assert not {"n", "N"} & seen[0]["o"].keys()
    assert (seen[-1]["o"]["N"], seen[-1]["o"]["ma"]) == ("BTC", "BTC")


@pytest.mark.parametrize(("mode", "told"), [(MarginMode.CROSS, []), (MarginMode.ISOLATED, ["isolated"])])
def test_funding_of_a_crossed_position_is_told_as_money_alone_and_of_an_isolated_one_with_it(
    mode: MarginMode, told: list[str]
) -> None:
    async def scene(venue: Venue) -> Any:
        async def hold(socket: Any) -> Any:
            if mode is MarginMode.ISOLATED:
                now_ns = venue.world.market_ns()
                venue.desk.set_margin_mode(api_key="alice", venue_symbol=venue.symbol, mode=mode, now_ns=now_ns)
            venue.place()
            at_ns = venue.desk.mark(venue.symbol).next_funding_ns
            await venue.advance((at_ns - venue.world.market.now_ns) // (60 * 10**9) + 1)
            return (await events(socket, until(("ACCOUNT", "FUNDING_FEE"))))[-1]["a"]

        return await listening(venue, hold)

    update = run(scene)

    assert [row["mt"] for row in update["P"]] == told
    assert [row["a"] for row in update["B"]] == ["USDT"]
    assert Decimal(update["B"][0]["bc"]) != 0


def test_a_coin_margined_account_is_told_all_its_positions_when_one_changes() -> None:
    async def scene(venue: Venue) -> Any:
        async def trade(socket: Any) -> Any:
            venue.place(quantity="1")
            await events(socket, until(("TRADE", "FILLED")))
            venue.symbol = "ETHUSD_PERP"
            venue.place(quantity="1")
            return next(frame for frame in await events(socket, until(("TRADE", "FILLED"))) if "a" in frame)

        return await listening(venue, trade, path="/ws/{}")

    update = run(scene, market="coinm")["a"]

    assert {row["s"] for row in update["P"]} == {"BTCUSD_PERP", "ETHUSD_PERP"}
    assert [row["a"] for row in update["B"]] == ["ETH"]


def test_a_liquidation_is_told_to_the_account_and_to_the_public() -> None:
    async def scene(venue: Venue) -> Any:
        now_ns = venue.world.market_ns()
        venue.desk.set_leverage(api_key="alice", venue_symbol=venue.symbol, leverage=125, now_ns=now_ns)

        async def lose(socket: Any) -> Any:
            async with venue.socket("/market/ws/!forceOrder@arr") as public:
                venue.place(quantity="0.4")
                while venue.desk.positions(api_key="alice"):
                    await venue.advance(5)
                seen = await events(socket, until(("CALCULATED", "FILLED")))
                return seen, await public.receive_json(timeout=DEADLINE_S)

        return await listening(venue, lose)

    poor = SimAccount(api_key="alice", api_secret="wonder", balances={"USDT": Decimal(400)})
    seen, public = run(scene, accounts=(poor,), until_ns=7 * 24 * 3600 * 10**9)

    call = of(seen, "MARGIN_CALL")[0]
    assert [(row["s"], row["mt"], row["pa"]) for row in call["p"]] == [("BTCUSDT", "CROSSED", "0.4")]
    assert Decimal(call["p"][0]["mm"]) > 0
    order = next(frame["o"] for frame in seen if news(frame) == ("CALCULATED", "FILLED"))
    assert order["c"].startswith("autoclose-")
    assert (order["o"], order["S"]) == ("LIQUIDATION", "SELL")
    assert public["e"] == "forceOrder"
    assert (public["o"]["S"], public["o"]["X"], public["o"]["z"]) == ("SELL", "FILLED", "0.400")


@pytest.mark.parametrize(
    ("market", "symbol", "quantity", "word"),
    [
        ("usdm", "BTC/USDT:USDT-250601", "0.01", "settlement_autoclose-"),
        ("coinm", "BTC/USD:BTC-250601", "1", "delivery_autoclose-"),
    ],
)
def test_what_is_delivered_is_told_under_the_name_its_market_has_for_it(
    market: str, symbol: str, quantity: str, word: str
) -> None:
    async def scene(venue: Venue) -> Any:
        async def hold(socket: Any) -> Any:
            venue.place(quantity=quantity)
            await events(socket, until(("TRADE", "FILLED")))
            while venue.desk.positions(api_key="alice"):
                await venue.advance()
            return (await events(socket, until(("TRADE", "FILLED"))))[-1]["o"]

        return await listening(venue, hold, path="/ws/{}" if market == "coinm" else "/private/ws/{}")

    order = run(scene, market=market, symbols=(symbol,))

    assert order["c"].startswith(word)
    assert (order["S"], order["R"], order["X"]) == ("SELL", True, "FILLED")


# --- keys ------------------------------------------------------------------------------------------------


def test_a_key_stays_the_same_until_it_is_closed_and_an_unknown_one_cannot_be_extended() -> None:
    async def scene(venue: Venue) -> Any:
        unknown = await venue.ask("PUT", "listenKey")
        first, again = await venue.key(), await venue.key()
        kept = await venue.ask("PUT", "listenKey", listenKey=first)
        bobs = (await venue.ask("POST", "listenKey", key="bob"))[1]["listenKey"]
        closed = await venue.ask("DELETE", "listenKey")
        return unknown, first, again, kept, bobs, closed, await venue.key()

    unknown, first, again, kept, bobs, closed, new = run(scene)

    assert unknown == (400, {"code": -1125, "msg": "This listenKey does not exist."})
    assert len(first) == 64
    assert (again, kept, closed) == (first, (200, {"listenKey": first}), (200, {}))
    assert len({first, bobs, new}) == 3


def test_several_sockets_of_a_key_hear_the_same_and_events_can_be_chosen() -> None:
    async def scene(venue: Venue) -> Any:
        key = await venue.key()
        chosen = f"/private/stream?listenKey={key}&events=ACCOUNT_UPDATE/ALGO_UPDATE"
        async with (
            venue.socket(f"/private/ws?listenKey={key}") as one,
            venue.socket(f"/private/ws/{key}") as two,
            venue.socket(chosen) as three,
            venue.socket("/private/ws") as four,
            venue.socket(f"/ws/{key}") as retired,
        ):
            await four.send_json({"method": "SUBSCRIBE", "params": [f"{key}@TRADE_LITE"], "id": 1})
            await four.receive_json(timeout=DEADLINE_S)
            venue.place()
            await venue.world.flush()
            await retired.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
            return (
                key,
                await events(one, until(("TRADE", "FILLED"))),
                await events(two, until(("TRADE", "FILLED"))),
                await three.receive_json(timeout=DEADLINE_S),
                await four.receive_json(timeout=DEADLINE_S),
                await retired.receive_json(timeout=DEADLINE_S),
            )

    key, one, two, three, four, retired = run(scene)

    assert one == two
    assert (three["stream"], three["data"]["e"]) == (key, "ACCOUNT_UPDATE")
    assert four["e"] == "TRADE_LITE"
    assert retired == {"result": [key], "id": 1}


def test_a_key_that_is_closed_or_whose_time_is_over_is_told_to_be_expired_and_then_silent() -> None:
    async def scene(venue: Venue) -> Any:
        async def close(socket: Any) -> Any:
            await venue.ask("DELETE", "listenKey")
            closed = await socket.receive_json(timeout=DEADLINE_S)
            async with venue.control() as do, venue.socket(f"/private/ws/{await venue.key()}") as other:
                await do("terms", key_s=0.05)
                over = await other.receive_json(timeout=DEADLINE_S)
            venue.place()
            await venue.world.flush()
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
            return closed, over, await socket.receive_json(timeout=DEADLINE_S)

        return await listening(venue, close)

    closed, over, last = run(scene)

    assert closed.keys() == over.keys() == {"e", "E", "listenKey"}
    assert {closed["e"], over["e"]} == {"listenKeyExpired"}
    assert closed["listenKey"] != over["listenKey"]
    assert last["result"] == [closed["listenKey"]]


# --- faults ----------------------------------------------------------------------------------------------


def fault(kind: str, **words: Any) -> Any:
    return json.dumps([{"kind": kind, "where": "account_stream", **words}])


def test_a_fill_may_come_without_its_commission() -> None:
    async def scene(venue: Venue) -> Any:
        async def trade(socket: Any) -> Any:
            venue.place()
            return (await events(socket, until(("TRADE", "FILLED"))))[-1]["o"]

        return await listening(venue, trade)

    order = run(scene, faults=fault("truncate", at=4, form=2))

    assert not {"n", "N"} & order.keys()
    assert order["l"] == "0.01"


def test_the_end_of_an_accounts_stream_is_the_end_of_its_key() -> None:
    async def scene(venue: Venue) -> Any:
        async def trade(socket: Any) -> Any:
            key = await venue.key()
            venue.place()
            frame = await socket.receive_json(timeout=DEADLINE_S)
            return key, frame, await venue.ask("PUT", "listenKey")

        return await listening(venue, trade)

    key, frame, answer = run(scene, faults=fault("stream_end"))

    assert (frame["e"], frame["listenKey"]) == ("listenKeyExpired", key)
    assert answer[1]["code"] == -1125


def test_the_sockets_of_an_account_are_struck_from_outside_like_any_other() -> None:
    async def scene(venue: Venue) -> Any:
        async def strike(socket: Any) -> Any:
            async with venue.control() as do:
                [view] = (await do("sockets"))["sockets"]
                cut = {"kind": "cut", "where": "account_stream", "form": 1}
                struck = (await do("strike", fault=cut, sockets=None, stream=None))["sockets"]
                await socket.receive(timeout=DEADLINE_S)
                return view, struck, socket.close_code

        return await listening(venue, strike)

    view, struck, code = run(scene)

    assert (view["where"], len(view["subscriptions"])) == ("account_stream", 1)
    assert (struck, code) == ([1], 1001)
