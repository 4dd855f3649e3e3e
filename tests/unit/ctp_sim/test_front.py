"""The fronts by their own lines: who is let in, what is refused, what is told in which order."""

import asyncio
from typing import Any

import pytest

from btx.errors import ConfigError
from btx.sim.faults import Fault, FaultScript, Kind, Where
from btx.sim.wires import SocketTerms
from tests.unit.ctp_sim.desk import RB, Client, Desk, play


def test_who_does_not_authenticate_or_has_another_password_is_not_let_in_and_locked_out_in_the_end() -> None:
    async def scene(desk: Desk) -> None:
        async with desk.client() as stranger, desk.client() as client:
            assert await stranger.log_in(code="wrong") == 64
            assert [await client.log_in(Password="wrong") for _ in range(6)] == [3] * 6
            assert await client.log_in() == 75

    play(scene)


def test_orders_need_a_login_a_confirmed_settlement_and_a_reference_that_rises() -> None:
    async def scene(desk: Desk) -> None:
        async with desk.client() as client:
            assert await client.insert() == 6
            await client.log_in(confirm=False)
            assert await client.insert() == 42
            await client.ask("ReqSettlementInfoConfirm", "OnRspSettlementInfoConfirm")
            assert await client.insert(OrderRef="9") == 0
            assert [await client.insert(OrderRef=ref) for ref in ("9", "x")] == [22, 22]

    play(scene)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"InstrumentID": "rb9999"}, 16),
        ({"VolumeTotalOriginal": 0}, 15),
        ({"OrderPriceType": "1"}, 15),  # SHFE has no market orders
        ({"CombOffsetFlag": "9"}, 15),
        ({"CombOffsetFlag": "3", "Direction": "1"}, 50),
        ({"CombOffsetFlag": "1", "Direction": "1"}, 51),  # at SHFE a plain close is one of yesterday's
        ({"CombOffsetFlag": "1", "Direction": "1", "InstrumentID": "m2601"}, 30),
        ({"VolumeTotalOriginal": 400}, 31),
    ],
)
def test_what_the_counter_refuses_has_its_error_id(changes: dict[str, object], error: int) -> None:
    async def scene(desk: Desk) -> None:
        async with desk.client() as client:
            await client.log_in()
            assert await client.insert(**changes) == error

    play(scene)


def test_an_order_is_unknown_then_queues_or_trades_and_its_state_comes_before_its_trades() -> None:
    async def scene(desk: Desk) -> None:
        async with desk.client() as client:
            await client.log_in()
            client.told.clear()
            assert await client.insert() == 0
            await client.until("OnRtnOrder", lambda row: row["OrderStatus"] == "0")
            await client.hear("OnRtnTrade")

            states = [args[0][1]["OrderStatus"] for name, args in client.told if name == "OnRtnOrder"]
            names = [name for name, _ in client.told]
            assert states[:2] == ["a", "3"]
            assert states[-1] == "0"
            assert names.index("OnRtnTrade") > names.index("OnRtnOrder")
            trade = next(args[0][1] for name, args in client.told if name == "OnRtnTrade")
            assert (trade["OffsetFlag"], trade["OrderRef"]) == ("0", "1")

    play(scene)


def test_a_price_beyond_the_days_limits_is_refused_by_the_exchange_and_not_by_the_counter() -> None:
    async def scene(desk: Desk) -> None:
        async with desk.client() as client:
            await client.log_in()
            assert await client.insert(LimitPrice=9000.0) == 0
            told = await client.until("OnRtnOrder", lambda row: row["OrderStatus"] == "5")

            assert told["OrderSubmitStatus"] == "4"
            assert "\u6da8\u505c\u677f" in told["StatusMsg"]

    play(scene)


async def bought(client: Client, **changes: object) -> None:
    assert await client.insert(**changes) == 0
    await client.until("OnRtnOrder", lambda row: row["OrderStatus"] == "0")
    await client.hear("OnRtnTrade")


def test_what_is_being_closed_cannot_be_closed_again() -> None:
    async def scene(desk: Desk) -> None:
        async with desk.client() as client:
            await client.log_in()
            await bought(client)
            resting = {"Direction": "1", "CombOffsetFlag": "3", "LimitPrice": 3290.0}
            assert await client.insert(**resting) == 0
            await client.until("OnRtnOrder", lambda row: row["OrderStatus"] == "3")
            assert await client.insert(**resting) == 50

            rows, _ = await client.ask("ReqQryInvestorPosition", "OnRspQryInvestorPosition")
            (row,) = rows
            assert (row["Position"], row["TodayPosition"], row["ShortFrozen"]) == (2, 2, 2)

    play(scene)


def test_an_order_is_cancelled_by_its_reference_or_its_number_once() -> None:
    async def scene(desk: Desk) -> None:
        async with desk.client() as client:
            await client.log_in()
            for by_number in (False, True):
                assert await client.insert(LimitPrice=2800.0) == 0
                row = await client.until("OnRtnOrder", lambda row: row["OrderStatus"] == "3")
                names = ("OrderSysID", "ExchangeID") if by_number else ("FrontID", "SessionID", "OrderRef")
                target = {name: row[name] for name in names}
                client.call("ReqOrderAction", InstrumentID=RB, **target)
                await client.until("OnRtnOrder", lambda row: row["OrderStatus"] == "5")
                _, error = await client.ask("ReqOrderAction", "OnRspOrderAction", InstrumentID=RB, **target)
                assert error == 26
            assert (await client.ask("ReqOrderAction", "OnRspOrderAction", OrderRef="77"))[1] == 25

    play(scene)


def test_who_logs_in_again_is_told_the_day_from_its_beginning_with_another_session() -> None:
    async def scene(desk: Desk) -> None:
        async with desk.client() as first, desk.client() as second:
            await first.log_in()
            await bought(first)
            await second.log_in()
            await second.ask("ReqQryOrder", "OnRspQryOrder")

            names = [name for name, _ in second.told]
            assert names.count("OnRtnOrder") == names.count("OnRtnTrade") == 1
            logins = [args[0][1]["SessionID"] for name, args in first.told + second.told if name == "OnRspUserLogin"]
            assert len(set(logins)) == 2

    play(scene)


def test_a_new_trading_day_makes_lots_yesterdays_and_ends_sessions() -> None:
    async def scene(desk: Desk) -> None:
        async with desk.client() as client:
            await client.log_in()
            await bought(client)
            assert await client.insert(LimitPrice=2800.0) == 0
            day = desk.fronts._counter.day
            while desk.fronts._counter.day == day:
                desk.world.advance()
            await client.until("OnRtnOrder", lambda row: row["OrderStatus"] == "5")  # it was for the day
            with pytest.raises(AssertionError, match="hung up"):
                await client.hear("OnRtnOrder")
        async with desk.client() as later:
            await later.log_in()
            rows, _ = await later.ask("ReqQryInvestorPosition", "OnRspQryInvestorPosition")
            (row,) = rows
            assert (row["Position"], row.get("TodayPosition", 0), row["PositionDate"]) == (2, 0, "2")
            assert not (await later.ask("ReqQryOrder", "OnRspQryOrder"))[0]
            assert await later.insert(Direction="1", CombOffsetFlag="3", LimitPrice=2900.0) == 50
            assert await later.insert(Direction="1", CombOffsetFlag="4", LimitPrice=3200.0) == 0

    play(scene, until_ns=2 * 86_400 * 10**9)


def test_ticks_have_the_volume_of_the_day_and_one_comes_at_each_minutes_turn() -> None:
    async def scene(desk: Desk) -> None:
        async with desk.client(market=True) as client:
            await client.ask("ReqUserLogin", "OnRspUserLogin")
            client.call("SubscribeMarketData", InstrumentIDs=[RB])
            await client.hear("OnRtnDepthMarketData")
            desk.world.advance()
            row = await client.until("OnRtnDepthMarketData", lambda row: row["UpdateTime"] == "09:01:00")
            ticks = [args[0][1] for name, args in client.told if name == "OnRtnDepthMarketData"]

            assert row["Volume"] == ticks[-2]["Volume"] == max(tick["Volume"] for tick in ticks)
            assert row["LowerLimitPrice"] < row["BidPrice1"] < row["AskPrice1"] < row["UpperLimitPrice"]
            client.call("UnSubscribeMarketData", InstrumentIDs=[RB])
            await client.hear("OnRspUnSubMarketData")
            assert not desk.world._wants

    play(scene)


def test_a_contract_that_is_not_listed_is_taken_and_never_told_of() -> None:
    async def scene(desk: Desk) -> None:
        async with desk.client(market=True) as client:
            await client.ask("ReqUserLogin", "OnRspUserLogin")
            client.call("SubscribeMarketData", InstrumentIDs=["RB2601", RB])
            await client.hear("OnRtnDepthMarketData")

            assert [told(args) for name, args in client.told if name == "OnRspSubMarketData"] == [
                ("RB2601", 0, False),
                (RB, 0, True),
            ]
            (view,) = desk.fronts.sockets()
            assert view.subscriptions == (RB,)

    play(scene)


def told(args: list[Any]) -> tuple[str, int, bool]:
    (_, row), (_, info), _, is_last = args
    return row["InstrumentID"], info["ErrorID"], is_last


def test_facts_are_told_of_one_contract_or_of_all() -> None:
    async def scene(desk: Desk) -> None:
        async with desk.client() as client:
            await client.log_in()
            for name in ("Instrument", "InstrumentMarginRate", "InstrumentCommissionRate", "DepthMarketData"):
                every, _ = await client.ask(f"ReqQry{name}", f"OnRspQry{name}")
                one, _ = await client.ask(f"ReqQry{name}", f"OnRspQry{name}", InstrumentID=RB)
                assert (len(every), len(one)) == (2, 1)
            ((money,), _) = await client.ask("ReqQryTradingAccount", "OnRspQryTradingAccount")
            assert money["Balance"] == 100_000
            assert (await client.ask("ReqQryNothing", "OnRspQryNothing"))[1] == 90

    play(scene)


# --- faults -------------------------------------------------------------------------------------------


def test_the_control_channel_sees_cuts_and_blocks_connections() -> None:
    async def scene(desk: Desk) -> None:
        async with desk.client() as client:
            await client.log_in()
            (view,) = desk.fronts.sockets()
            assert view.where == "account_stream"
            with pytest.raises(ConfigError, match="no socket 99"):
                desk.fronts.strike(Fault(kind=Kind.CUT, where=Where.ACCOUNT_STREAM), sockets=[99], stream=None)
            with pytest.raises(ConfigError, match="no such terms"):
                desk.fronts.terms(SocketTerms())

            struck = desk.fronts.strike(Fault(kind=Kind.CUT, where=Where.ACCOUNT_STREAM), sockets=None, stream=None)
            assert struck == (view.number,)
            assert not await client.reader.read()
            desk.fronts.block(form=0)
            async with desk.client() as blocked:
                assert not await blocked.reader.read()
            desk.fronts.block(form=None)
            async with desk.client() as again:
                await again.log_in()
            assert desk.fronts.counts()["dials"] == 3

    play(scene)


def test_a_front_that_is_half_open_hears_and_says_nothing() -> None:
    async def scene(desk: Desk) -> None:
        async with desk.client() as client:
            await client.log_in()
            desk.fronts.strike(Fault(kind=Kind.HALF_OPEN, where=Where.ACCOUNT_STREAM), sockets=None, stream=None)
            client.call("ReqQryOrder")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.reader.readline(), 0.05)

    play(scene)


@pytest.mark.parametrize("kind", [Kind.REFUSE, Kind.DROP, Kind.HALF_OPEN], ids=lambda kind: kind.value)
def test_a_subscription_is_refused_or_cut_or_hears_nothing_where_a_script_says_so(kind: Kind) -> None:
    async def scene(desk: Desk) -> None:
        desk.world.faults.replace(FaultScript(faults=(Fault(kind=kind, where=Where.SUBSCRIBE),)))
        async with desk.client(market=True) as client:
            await client.ask("ReqUserLogin", "OnRspUserLogin")
            client.call("SubscribeMarketData", InstrumentIDs=[RB, "m2601"])
            if kind is Kind.REFUSE:
                heard = [told(await client.hear("OnRspSubMarketData")) for _ in range(2)]
                assert heard == [(RB, 16, False), ("m2601", 16, True)]
            else:
                if kind is Kind.HALF_OPEN:
                    client.writer.write_eof()
                assert not await client.reader.read()
            assert [struck.what for struck in desk.world.faults.log] == [f"{RB},m2601"]

    play(scene)
