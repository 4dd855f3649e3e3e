"""A script of faults as strategies and foreign clients meet it: the ledger has what was done, whatever was answered."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import backtrader as bt
import pytest

import btx
from btx.model.venue import Scenario, SimAccount
from btx.runtime.control import Control
from btx.sim.faults import Fault, FaultScript, Kind, Where, script_to_json
from btx_binance.sim.app import simulator
from tests.e2e.test_foreign_clients import at
from tests.e2e.trading import account, books_agree, run, world

TRADER = SimAccount(api_key="ccxt", api_secret="ccxt-secret", balances={"USDT": Decimal(1_000_000), "BTC": Decimal(1)})


# --- ccxt ------------------------------------------------------------------------------------------------


def trade_with_ccxt(
    faults: list[Fault], trade: Callable[[Any], Awaitable[Any]]
) -> tuple[Any, dict[str, Any], list[str]]:
    """Let ccxt trade on a market in lockstep; return what it got, the ledger, and what struck."""
    import ccxt.async_support as ccxt

    async def main() -> tuple[Any, dict[str, Any], list[str]]:
        scenario = Scenario(accounts=(TRADER,), faults=script_to_json(FaultScript(faults=tuple(faults))))
        async with asyncio.timeout(60), simulator(scenario) as endpoints, contextlib.AsyncExitStack() as resources:
            exchange = at(ccxt.binance({"apiKey": "ccxt", "secret": "ccxt-secret"}), endpoints)
            exchange.options["fetchMarkets"] = {"types": ["spot"]}
            resources.push_async_callback(exchange.close)
            control = await Control.connect(endpoints.control)
            resources.push_async_callback(control.close)
            await exchange.load_markets()
            got = await trade(exchange)
            ledger = dict(await control.ask("ledger", api_key=TRADER.api_key))
            log = (await control.ask("fault_log"))["log"]
            return got, ledger, [entry["fault"]["kind"] for entry in log]

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("kind", "form", "error", "orders"),
    [
        (Kind.DROP, 0, "NetworkError", 0),
        (Kind.LOSE, 0, "NetworkError", 1),
        (Kind.ERROR_BEFORE, 0, "ExchangeError", 0),
        (Kind.ERROR_BEFORE, 1, "OperationFailed", 0),
        (Kind.ERROR_AFTER, 0, "OperationFailed", 1),
        (Kind.ERROR_AFTER, 1, "OperationFailed", 1),
        (Kind.ERROR_AFTER, 2, "OperationFailed", 1),
        (Kind.RATE_LIMIT, 0, "NetworkError", 0),
        (Kind.BAN, 0, "NetworkError", 0),
        (Kind.KEY_EXPIRY, 0, "AuthenticationError", 0),
        (Kind.TRUNCATE, 0, "ExchangeError", 1),
        (Kind.OUTAGE, 0, "NetworkError", 0),
        (Kind.HALF_OPEN, 0, "NetworkError", 0),
    ],
    ids=str,
)
def test_ccxt_is_told_an_error_and_the_ledger_tells_whether_the_order_was_done(
    kind: Kind, form: int, error: str, orders: int
) -> None:
    import ccxt

    async def trade(exchange: Any) -> Any:
        with pytest.raises(getattr(ccxt, error)) as raised:
            await exchange.create_order("BTC/USDT", "market", "buy", 0.01)
        return raised.value

    _, ledger, struck = trade_with_ccxt([Fault(kind=kind, where=Where.PLACE, form=form, for_s=0.1)], trade)

    assert len(ledger["orders"]) == orders
    assert struck == [kind.value]


@pytest.mark.parametrize("form", [1, 2])
def test_ccxt_takes_an_answer_it_cannot_read_for_an_order_without_an_id(form: int) -> None:
    """It raises nothing, so whoever uses it has to look."""

    async def trade(exchange: Any) -> Any:
        return await exchange.create_order("BTC/USDT", "market", "buy", 0.01)

    order, ledger, struck = trade_with_ccxt([Fault(kind=Kind.TRUNCATE, where=Where.PLACE, form=form)], trade)

    assert order["id"] is None
    assert len(ledger["orders"]) == 1
    assert struck == ["truncate"]


@pytest.mark.parametrize("kind", [Kind.DELAY, Kind.ACK_AFTER_FILL, Kind.CLOCK_JUMP])
def test_ccxt_trades_through_what_only_takes_time(kind: Kind) -> None:
    async def trade(exchange: Any) -> Any:
        return await exchange.create_order("BTC/USDT", "market", "buy", 0.01)

    order, ledger, struck = trade_with_ccxt([Fault(kind=kind, where=Where.PLACE, for_s=0.1, offset_s=0.5)], trade)

    assert order["status"] == "closed"
    assert len(ledger["fills"]) >= 1
    assert struck == [kind.value]


# --- a strategy ------------------------------------------------------------------------------------------

SCRIPT = FaultScript(
    faults=(
        Fault(kind=Kind.LOSE, where=Where.PLACE, at=1),
        Fault(kind=Kind.ERROR_AFTER, where=Where.PLACE, at=3),
        Fault(kind=Kind.DUPLICATE, where=Where.ACCOUNT_STREAM, at=4, count=3),
        Fault(kind=Kind.REORDER, where=Where.ACCOUNT_STREAM, at=8),
        Fault(kind=Kind.ACK_AFTER_FILL, where=Where.PLACE, at=5),
        Fault(kind=Kind.CUT, where=Where.MARKET_STREAM, at=7),
        Fault(kind=Kind.STREAM_END, where=Where.ACCOUNT_STREAM, at=14),
        Fault(kind=Kind.LOSE, where=Where.CANCEL, at=1),
    )
)


def test_the_books_agree_through_a_script_of_faults_and_the_same_script_does_the_same_again() -> None:
    def play() -> dict[str, Any]:
        seen: dict[str, Any] = {}

        def act(strategy: Any) -> None:
            strategy.buy(size=0.02)
            price = round(strategy.data.close[0] * 0.9, 2)
            strategy.cancel(strategy.buy(size=0.01, exectype=bt.Order.Limit, price=price))

        def at_end(strategy: Any) -> None:
            books_agree(strategy)
            session = strategy.data.store.session
            seen["ledger"] = session.ledger()
            seen["log"] = session._ask_simulator("fault_log")["log"]

        scenario = world(minutes=14, accounts=(account(USDT="100000", BTC="0"),), faults=script_to_json(SCRIPT))
        run(scenario, dict.fromkeys(range(2, 8), act), at_end=at_end)
        return seen

    first, second = play(), play()

    print(*(f"{each['fault']['kind']} at {each['where']} {each['number']}" for each in first["log"]), sep=", ")  # noqa: T201
    assert len(first["ledger"]["orders"]) == 12
    assert {each["fault"]["kind"] for each in first["log"]} == {fault.kind.value for fault in SCRIPT.faults}
    assert [normal(each) for each in first["log"]] == [normal(each) for each in second["log"]]
    assert [(o["filled"], o["status"]) for o in first["ledger"]["orders"]] == [
        (o["filled"], o["status"]) for o in second["ledger"]["orders"]
    ]


def normal(entry: dict[str, Any]) -> tuple[Any, ...]:
    return entry["fault"]["kind"], entry["where"], entry["number"], entry["what"]


def test_a_world_with_faults_is_said_in_words() -> None:
    scenario = btx.scenario(until="5m", faults=[{"kind": "lose", "where": "place"}])

    strategy = run(scenario, {1: lambda s: s.buy(size=0.01)}, at_end=books_agree)

    (order,) = {order.ref: order for order in strategy.orders}.values()
    assert strategy.told(order)[-1] == "Completed"
