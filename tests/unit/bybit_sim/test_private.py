import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from btx.model.order import OrderType, Side
from btx.model.time import NS_PER_S
from btx.sim.faults import Fault, FaultScript, Kind, Where, script_to_json
from btx.sim.orders import NewOrder
from tests.unit.bybit_sim.served import Client, served

ALL = ("order", "execution", "position", "wallet")


def run(act: Callable[[Client], Awaitable[Any]], market: str = "linear", **terms: Any) -> Any:
    async def main() -> Any:
        async with served(market, **terms) as client:
            return await act(client)

    return asyncio.run(main())


def place(client: Client, *, price: Decimal | None = None, quantity: str = "0.01", side: Side = Side.BUY) -> Any:
    """Let alice's order in at the exchange itself."""
    world = client.world
    [symbol, *_] = world.listings
    order = NewOrder(
        venue_symbol=symbol,
        side=side,
        order_type=OrderType.MARKET if price is None else OrderType.LIMIT,
        quantity=Decimal(quantity),
        price=price,
        client_order_id="mine-1",
    )
    exchange = world.margin if world.is_margined else world.exchange
    return exchange.place(api_key="alice", order=order, now_ns=world.market_ns())


def far_below(client: Client) -> Decimal:
    [symbol, *_] = client.world.listings
    tick = client.world.listings[symbol].instrument.tick_size
    return (client.world.market.last_price(symbol) * Decimal("0.99")).quantize(tick)


def test_a_private_socket_says_pong_in_its_own_form() -> None:
    async def act(client: Client) -> Any:
        async with client.socket("/v5/private") as socket:
            return await socket.ask(op="ping", req_id="test"), client.clock.now_ns

    pong, now_ns = run(act)

    assert pong.pop("conn_id").startswith("btxsim")
    assert pong == {"req_id": "test", "op": "pong", "args": [str(now_ns // 10**6)]}


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda args: [*args[:1], args[1] - 20_000, args[2]], "Params Error"),
        (lambda args: args[:2], "Params Error"),
        (lambda args: ["nobody", *args[1:]], "API key is invalid."),
        (lambda args: [*args[:2], "00"], "Error sign, please check your signature generation algorithm."),
    ],
    ids=["expired", "short", "unknown", "unsigned"],
)
def test_who_does_not_prove_who_he_is_hears_nothing(spoil: Any, text: str) -> None:
    async def act(client: Client) -> Any:
        async with client.socket("/v5/private") as socket:
            refused = await socket.ask(op="auth", args=spoil(client.proof()), req_id="a")
            return refused, await socket.ask(op="subscribe", args=["order"])

    refused, unheard = run(act)

    assert (refused["success"], refused["ret_msg"], refused["op"], refused["req_id"]) == (False, text, "auth", "a")
    assert (unheard["success"], unheard["ret_msg"]) == (False, "Request not authorized")


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["orders"], "error:handler not found,topic:orders"),
        (["order", "order.linear"], "error:topic order cannot be subscribed with its categories"),
        (["wallet"], "error:already subscribed,topic:wallet"),
        ([], "Params Error"),
    ],
)
def test_a_private_topic_that_is_none_is_refused(args: list[str], text: str) -> None:
    async def act(client: Client) -> Any:
        async with client.account("wallet") as socket:
            return (
                await socket.ask(op="subscribe", args=args),
                await socket.ask(op="auth", args=client.proof()),
                await socket.ask(op="nope"),
            )

    refused, repeated, unknown = run(act)

    assert (refused["success"], refused["ret_msg"]) == (False, text)
    assert (repeated["ret_msg"], unknown["ret_msg"]) == ("Repeat auth", "error:invalid op")


def test_of_an_execution_on_margin_fill_order_position_and_wallet_are_told_and_the_last_has_its_number() -> None:
    async def act(client: Client) -> Any:
        async with client.account(*ALL) as socket, client.control() as do:
            order = place(client)
            number = (await do("sync", api_key="alice"))["sequence"]
            frames = []
            while not frames or frames[-1].get("btx") != number:
                frames.append(await socket.hear())
            return order, frames

    order, frames = run(act)

    by_topic = {topic: [frame for frame in frames if frame["topic"] == topic] for topic in ALL}
    assert all(by_topic.values())
    numbered = [frame["btx"] for frame in frames if "btx" in frame]
    assert numbered == sorted(set(numbered))
    assert len({frame["id"] for frame in frames}) == len(frames)
    [last] = by_topic["order"][-1]["data"]
    assert (last["orderStatus"], last["orderLinkId"], last["category"]) == ("Filled", "mine-1", "linear")
    fills = [row for frame in by_topic["execution"] for row in frame["data"]]
    assert sum(Decimal(row["execQty"]) for row in fills) == order.executed_quantity
    assert {row["orderId"] for row in fills} == {last["orderId"]}
    [position] = by_topic["position"][-1]["data"]
    assert (position["side"], Decimal(position["size"]), position["positionIdx"]) == ("Buy", order.executed_quantity, 0)
    [account] = by_topic["wallet"][-1]["data"]
    assert account["accountType"] == "UNIFIED"


def test_on_spot_an_order_that_rests_locks_money_and_its_cancel_gives_it_back() -> None:
    async def act(client: Client) -> Any:
        async with client.account("order", "wallet") as socket:
            order = place(client, price=far_below(client))
            opened = await socket.frames(2)
            client.world.exchange.cancel(
                api_key="alice", venue_symbol="BTCUSDT", order_id=order.order_id, now_ns=client.world.market_ns()
            )
            return opened, await socket.frames(2)

    opened, ended = run(act, "spot")

    assert [frame["topic"] for frame in (*opened, *ended)] == ["order", "wallet"] * 2
    assert [frames[0]["data"][0]["orderStatus"] for frames in (opened, ended)] == ["New", "Cancelled"]
    locked = [
        Decimal(coin["locked"])
        for frames in (opened, ended)
        for coin in frames[1]["data"][0]["coin"]
        if coin["coin"] == "USDT"
    ]
    assert locked[0] > 0
    assert locked[1] == 0


def test_a_categorised_topic_hears_under_its_own_name_and_others_hear_nothing() -> None:
    async def act(client: Client) -> Any:
        async with (
            client.account("order.linear") as mine,
            client.account("order.spot") as other,
            client.account("order", name="bob") as stranger,
            client.account("execution.fast") as fast,
        ):
            place(client)
            heard, quick = await mine.hear(), await fast.hear()
            return heard, quick, await other.ask(op="ping"), await stranger.ask(op="ping")

    heard, quick, other, stranger = run(act)

    assert heard["topic"] == "order.linear"
    assert quick["topic"] == "execution.fast"
    assert "feeCurrency" not in quick["data"][0]
    assert (other["op"], stranger["op"]) == ("pong", "pong")


def test_who_unsubscribes_hears_nothing_more() -> None:
    async def act(client: Client) -> Any:
        async with client.account("order") as socket:
            answer = await socket.ask(op="unsubscribe", args=["order"], req_id="u")
            place(client)
            return answer, await socket.ask(op="ping")

    answer, pong = run(act)

    assert (answer["success"], answer["op"], answer["req_id"]) == (True, "unsubscribe", "u")
    assert pong["op"] == "pong"


def test_a_change_of_leverage_is_told_as_a_position() -> None:
    async def act(client: Client) -> Any:
        async with client.account(*ALL) as socket:
            client.world.margin.set_leverage(
                api_key="alice", venue_symbol="BTCUSDT", leverage=3, now_ns=client.world.market_ns()
            )
            return await socket.hear()

    frame = run(act)

    assert frame["topic"] == "position"
    assert [row["leverage"] for row in frame["data"]] == ["3"]
    assert frame["data"][0]["entryPrice"] == "0"


def test_a_position_is_told_whenever_an_order_is_made_or_taken_back_changed_or_not() -> None:
    async def act(client: Client) -> Any:
        async with client.account("order", "position") as socket:
            order = place(client, price=far_below(client))
            made = await socket.frames(2)
            client.world.margin.cancel(
                api_key="alice", venue_symbol="BTCUSDT", order_id=order.order_id, now_ns=client.world.market_ns()
            )
            return made, await socket.frames(2)

    made, ended = run(act)

    assert [frame["topic"] for frame in (*made, *ended)] == ["order", "position"] * 2
    assert ["btx" in frame for frame in (*made, *ended)] == [False, True] * 2
    assert made[1]["data"][0]["size"] == ended[1]["data"][0]["size"] == "0.000"


def test_funding_is_told_as_an_execution() -> None:
    async def act(client: Client) -> Any:
        async with client.account("execution") as socket, client.control() as do:
            place(client)
            while True:
                await do("advance", api_key="alice", until_ns=client.world.market_ns() + 60 * NS_PER_S)
                if any(booking.kind.name == "FUNDING" for booking in client.world.margin.bookings(api_key="alice")):
                    break
            while (frame := await socket.hear())["data"][0]["execType"] != "Funding":
                pass
            return frame, client.world.margin.bookings(api_key="alice")[-1]

    frame, booking = run(act)

    [row] = frame["data"]
    assert (Decimal(row["execFee"]), row["feeCurrency"]) == (-booking.amount, "USDT")


def test_a_private_socket_lives_without_a_sign_as_long_as_its_address_says() -> None:
    async def act(client: Client) -> Any:
        async with client.socket("/v5/private?max_active_time=1m") as socket, client.control() as do:
            await do("terms", pong_s=0.05)
            return (await socket.wire.receive(timeout=60)).type

    assert run(act) in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSE}


def test_an_account_s_events_can_be_cut_off_and_doubled() -> None:
    faults = script_to_json(
        FaultScript(
            faults=(
                Fault(kind=Kind.DUPLICATE, where=Where.ACCOUNT_STREAM, at=1),
                Fault(kind=Kind.STREAM_END, where=Where.ACCOUNT_STREAM, at=2),
            )
        )
    )

    async def act(client: Client) -> Any:
        async with client.account("order") as socket:
            order = place(client, price=far_below(client))
            twice = await socket.frames(2)
            client.world.margin.cancel(
                api_key="alice", venue_symbol="BTCUSDT", order_id=order.order_id, now_ns=client.world.market_ns()
            )
            return twice, (await socket.wire.receive(timeout=60)).type

    twice, end = run(act, faults=faults)

    assert twice[0] == twice[1]
    assert end in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}


def test_an_expired_key_proves_nothing() -> None:
    faults = script_to_json(FaultScript(faults=(Fault(kind=Kind.KEY_EXPIRY, where=Where.ACCOUNT),)))

    async def act(client: Client) -> Any:
        async with client.socket("/v5/private") as socket:
            return [await socket.ask(op="auth", args=client.proof()) for _ in range(2)]

    refused, let_in = run(act, faults=faults)

    assert (refused["success"], let_in["success"]) == (False, True)
    assert "expired" in refused["ret_msg"]
