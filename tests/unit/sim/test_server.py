"""The simulator as a process: its control channel, and how it starts, serves and ends."""

import asyncio
import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest

from btx.errors import ConfigError, TransportError
from btx.model.order import Side
from btx.model.time import NS_PER_MINUTE
from btx.model.venue import Endpoints, Scenario
from btx.sim import server
from btx.sim.faults import Where
from btx.sim.server import run_server, serve_control, spawn
from btx.sim.texts import endpoints_from_fields, endpoints_from_json, scenario_to_json
from btx.sim.world import Want, World
from tests.leftovers import children_of
from tests.unit.sim.margin_toys import margin_world, stop
from tests.unit.sim.simulator_child import port_taken, toy
from tests.unit.sim.toys import KEY, START_NS, account, limit_order, market_order, world
from tests.values import MINUTE, d

DEADLINE_S = 60.0
CHILD = (sys.executable, str(Path(__file__).with_name("simulator_child.py")))
SCENARIO = Scenario(until_ns=5 * NS_PER_MINUTE)


class Client:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        await self.socket.send_json({"id": 7, "op": op, **fields})
        answer = await self.hear()
        assert answer.pop("id") == 7
        return answer

    async def hear(self) -> dict[str, Any]:
        message: dict[str, Any] = await self.socket.receive_json(timeout=DEADLINE_S)
        return message


@contextlib.asynccontextmanager
async def connected(address: str) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session, session.ws_connect(address) as socket:
        yield Client(socket)


@contextlib.asynccontextmanager
async def controlled(played: World) -> AsyncIterator[Client]:
    async with played, serve_control(played) as address, connected(address) as client:
        yield client


# --- the control channel ---------------------------------------------------------------------------------------


def test_hello_tells_the_clock() -> None:
    async def scenario() -> dict[str, Any]:
        async with controlled(world()) as client:
            return await client.ask("hello")

    assert asyncio.run(scenario()) == {"market_ns": START_NS, "speed": None, "ended": False}


def test_advance_plays_a_step_flushes_and_tells_what_closed() -> None:
    async def scenario() -> None:
        played, flushed = world(until_ns=2 * NS_PER_MINUTE), []

        async def flush() -> None:
            flushed.append(played.market_ns())

        played.on_flush(flush)
        played.want("ETHUSDT", Want.BARS, MINUTE)
        async with controlled(played) as client:
            played.exchange.place(api_key=KEY, order=market_order(Side.SELL, 1), now_ns=START_NS)
            first = await client.ask("advance", api_key=KEY)
            assert flushed == [START_NS + NS_PER_MINUTE]
            last = await client.ask("advance", api_key=KEY)
            sync = await client.ask("sync", api_key=KEY)
        sequence = played.exchange.sequence(api_key=KEY)
        assert first == {
            "market_ns": START_NS + NS_PER_MINUTE,
            "ended": False,
            "sequence": sequence,
            "closed": [["ETHUSDT", "1m", START_NS]],
            "told": [],
        }
        assert last["ended"] is True
        assert sync == {"sequence": sequence}
        assert len(flushed) == 3

    asyncio.run(scenario())


def test_a_step_tells_what_was_pushed_last() -> None:
    async def scenario() -> tuple[Any, Any]:
        played = world()
        for kind in (Want.TRADES, Want.QUOTES, Want.BOOK):
            played.want("BTCUSDT", kind)
        async with controlled(played) as client:
            step = await client.ask("advance", api_key=KEY)
        return step, played

    step, played = asyncio.run(scenario())

    last = played.market.trades_between("BTCUSDT", START_NS, START_NS + NS_PER_MINUTE)[-1]
    played.market.seek(last.time_ns)
    update_id = played.market.update_id("BTCUSDT")
    assert step["told"] == [
        ["trade", "BTCUSDT", last.trade_id],
        ["quote", "BTCUSDT", update_id],
        ["book", "BTCUSDT", update_id],
    ]


def test_the_ledger_has_every_digit() -> None:
    async def scenario() -> dict[str, Any]:
        played = world(accounts=(account(USDT=1_000_000, BTC=10, ETH="0.1234567800"),))
        async with controlled(played) as client:
            order = market_order(Side.BUY, "0.00123", client_order_id="mine")
            played.exchange.place(api_key=KEY, order=order, now_ns=START_NS)
            rests = limit_order(Side.SELL, 1, 200_000)
            played.exchange.place(api_key=KEY, order=rests, now_ns=START_NS)
            return await client.ask("ledger", api_key=KEY)

    ledger = asyncio.run(scenario())

    (fill,) = ledger["fills"]
    assert ledger["balances"]["ETH"] == {"free": "0.1234567800", "locked": "0"}
    assert d(ledger["balances"]["BTC"]["free"]) == 9 + d("0.00123") - d("0.00000246")
    assert d(ledger["balances"]["BTC"]["locked"]) == 1
    assert d(ledger["balances"]["USDT"]["free"]) == 1_000_000 - d(fill["price"]) * d(fill["quantity"])
    assert [(order["client_order_id"], order["status"], order["is_open"]) for order in ledger["orders"]] == [
        ("mine", "FILLED", False),
        (ledger["orders"][1]["client_order_id"], "NEW", True),
    ]
    assert ledger["orders"][0] | {"filled": "0.00123", "price": None} == ledger["orders"][0]
    assert ledger["orders"][1] | {"quantity": "1", "filled": "0", "price": "200000"} == ledger["orders"][1]
    assert fill.pop("price")
    assert fill == {
        "client_order_id": "mine",
        "order_id": 1,
        "fill_id": "1",
        "symbol": "BTCUSDT",
        "side": "BUY",
        "quantity": "0.00123",
        "fee": "0.00000246",
        "fee_asset": "BTC",
        "time_ns": START_NS,
        "is_maker": False,
        "position_side": "NET",
        "realised": "0",
        "origin": "CLIENT",
    }


def test_the_ledger_of_a_margin_account_has_its_positions_and_the_house() -> None:
    async def scenario() -> tuple[dict[str, Any], ...]:
        played = margin_world()
        async with controlled(played) as client:
            played.margin.place(api_key=KEY, order=market_order(Side.BUY, "0.1"), now_ns=played.market_ns())
            played.margin.place_conditional(api_key=KEY, order=stop(Side.SELL, 90_000, 1), now_ns=played.market_ns())
            await client.ask("transfer", api_key=KEY, asset="USDT", amount="-1000")
            await client.ask("tier", api_key=KEY, tier="VIP 1")
            return await client.ask("ledger", api_key=KEY), await client.ask("mark", symbol="BTCUSDT")

    ledger, mark = asyncio.run(scenario())

    (position,) = ledger["positions"]
    assert (position["quantity"], position["leverage"], position["position_side"]) == ("0.1", 20, "NET")
    assert [each["kind"] for each in ledger["bookings"]] == ["FEE", "TRANSFER"]
    wallet = d(ledger["wallets"]["USDT"]["wallet"])
    assert wallet + sum(d(purse.get("USDT", "0")) for purse in ledger["house"].values()) == 0
    assert d(mark["mark_price"]) > 0
    (waiting,) = ledger["conditionals"]
    assert (waiting["state"], waiting["trigger_price"], waiting["order_id"]) == ("NEW", "90000", None)


def test_bars_are_counted() -> None:
    async def scenario() -> tuple[dict[str, Any], dict[str, Any]]:
        async with controlled(world()) as client:
            before = await client.ask("bars", symbol="BTCUSDT")
            for _ in range(3):
                await client.ask("advance", api_key=KEY)
            return before, await client.ask("bars", symbol="BTCUSDT")

    before, after = asyncio.run(scenario())

    assert (before["played"], before["first_open_ns"], before["last_open_ns"]) == (0, None, None)
    assert (after["played"], after["first_open_ns"]) == (3, START_NS)
    assert after["last_open_ns"] == START_NS + 2 * NS_PER_MINUTE
    assert after["synthesised"] == ["BTC/USDT: everything (seeded market)", "ETH/USDT: everything (seeded market)"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("what?", "a request is a JSON object"),
        ("[]", "a request is a JSON object"),
        ('{"op": "dance"}', "unknown op 'dance': write one of hello, sync, advance, ledger, bars"),
        ('{"op": "ledger", "api_key": "nobody"}', "api_key names no account of this simulator"),
        ('{"op": "bars", "symbol": "XXX"}', "unknown symbol XXX: write one of BTCUSDT, ETHUSDT"),
        ('{"op": "advance", "api_key": "key"}', "a market with a speed runs by itself"),
        ('{"op": "endpoints"}', "nobody can attach to it"),
        ('{"op": "faults"}', "no script of faults: "),
        ('{"op": "faults", "script": [{"kind": "meteor"}]}', "no script of faults: 'meteor' is not a valid Kind"),
    ],
)
def test_what_cannot_be_done_is_answered(text: str, error: str) -> None:
    async def scenario() -> dict[str, Any]:
        async with controlled(world(speed=1.0)) as client:
            await client.socket.send_str(text)
            return await client.hear()

    assert error in asyncio.run(scenario())["error"]


def test_whoever_attaches_is_told_the_addresses_and_the_clock_as_it_stands() -> None:
    async def scenario() -> tuple[str, Endpoints]:
        played = world()

        def describe(control: str) -> Endpoints:
            return Endpoints(
                rest="a", stream="b", trading_stream="c", control=control, accounts=played.accounts, clock=played.clock
            )

        async with played, serve_control(played, describe) as address, connected(address) as client:
            for _ in range(3):
                await client.ask("advance", api_key=KEY)
            return address, endpoints_from_fields((await client.ask("endpoints"))["endpoints"])

    address, endpoints = asyncio.run(scenario())

    assert endpoints.control == address
    assert endpoints.accounts[0].api_key == KEY
    assert endpoints.clock.market_origin_ns == START_NS + 3 * NS_PER_MINUTE
    assert endpoints.clock.speed is None


def test_a_script_of_faults_is_replaced_and_its_log_is_told() -> None:
    async def scenario() -> None:
        played = world(faults='[{"kind": "drop", "where": "place"}]')
        async with controlled(played) as client:
            played.faults.on_request(Where.PLACE, now_s=0.0, what="order.place")
            before = await client.ask("fault_log")
            replaced = await client.ask("faults", script={"seed": 7, "faults": [{"kind": "lose", "where": "place"}]})
            after = await client.ask("fault_log")
        fault = {"kind": "drop", "where": "place", "at": 1}
        assert before == {
            "log": [{"fault": fault, "where": "place", "number": 1, "what": "order.place"}],
            "script": {"seed": None, "faults": [fault]},
        }
        assert replaced == {"faults": 1}
        assert after == {"log": [], "script": {"seed": 7, "faults": [fault | {"kind": "lose"}]}}

    asyncio.run(scenario())


def test_how_often_each_operation_was_asked_for_is_told() -> None:
    async def scenario() -> Any:
        played = world()
        async with controlled(played) as client:
            played.requests.update(["GET /time", "GET /time", "order.place"])
            return await client.ask("requests")

    assert asyncio.run(scenario()) == {"requests": {"GET /time": 2, "order.place": 1}}


def test_the_end_of_a_running_market_is_pushed_to_all() -> None:
    async def scenario() -> None:
        played = world(speed=60_000.0, until_ns=5 * NS_PER_MINUTE)
        async with serve_control(played) as address, connected(address) as one, connected(address) as two, played:
            end = {"event": "ended", "market_ns": START_NS + 5 * NS_PER_MINUTE}
            assert await one.hear() == end
            assert await two.hear() == end

    asyncio.run(scenario())


def test_closing_the_server_closes_its_sockets() -> None:
    async def scenario() -> aiohttp.WSMsgType:
        async with contextlib.AsyncExitStack() as stack:
            address = await stack.enter_async_context(serve_control(world()))
            async with connected(address) as client:
                await client.ask("hello")
                closing = asyncio.create_task(stack.aclose())
                message = await client.socket.receive(timeout=DEADLINE_S)
                await closing
                return message.type

    assert asyncio.run(scenario()) is aiohttp.WSMsgType.CLOSE


# --- the child process -----------------------------------------------------------------------------------------


def test_a_spawned_simulator_serves_and_ends_with_its_context() -> None:
    async def scenario() -> None:
        async with spawn("toy", SCENARIO, command=CHILD) as endpoints, connected(endpoints.control) as client:
            api_key = endpoints.accounts[0].api_key
            for _ in range(5):
                answer = await client.ask("advance", api_key=api_key)
            assert answer["ended"]
        with pytest.raises(aiohttp.ClientConnectorError):
            async with connected(endpoints.control):
                pass

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("venue", "error", "text"),
    [
        ("crash", TransportError, "ended with code 70 before it was ready: something broke"),
        ("babble", TransportError, "'hello there'"),
        ("port_taken", ConfigError, r"port 0 of 127.0.0.1 cannot be served \(Address already in use\): choose another"),
    ],
)
def test_a_child_that_does_not_start_says_why(venue: str, error: type[Exception], text: str) -> None:
    async def scenario() -> None:
        async with spawn(venue, SCENARIO, command=CHILD):
            raise AssertionError("it started")

    with pytest.raises(error, match=text):
        asyncio.run(scenario())


def test_a_child_refuses_a_bad_scenario_in_its_own_words() -> None:
    async def scenario() -> None:
        async with spawn("toy", Scenario(symbols=("DOGE/USDT",)), command=CHILD):
            raise AssertionError("it started")

    with pytest.raises(ConfigError) as caught:
        asyncio.run(scenario())
    assert str(caught.value) == "the simulator does not list DOGE/USDT: write one of BTC/USDT, ETH/USDT"


def test_a_child_that_is_not_ready_in_time_is_killed() -> None:
    async def scenario() -> None:
        async with spawn("mute", SCENARIO, command=CHILD, start_timeout_s=1.0):
            raise AssertionError("it started")

    with pytest.raises(TransportError, match="was not ready after 1 s"):
        asyncio.run(asyncio.wait_for(scenario(), DEADLINE_S))


def test_a_child_that_does_not_listen_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_STOP_S", 0.2)

    async def scenario() -> str:
        async with spawn("deaf", SCENARIO, command=CHILD) as endpoints:
            return endpoints.rest

    assert asyncio.run(asyncio.wait_for(scenario(), DEADLINE_S)) == "http://127.0.0.1:1"


def test_a_child_whose_end_is_not_waited_for_is_killed_and_nothing_of_it_is_left() -> None:
    before = children_of(os.getpid())
    is_ending = asyncio.Event()

    async def use() -> None:
        async with spawn("deaf", SCENARIO, command=CHILD):
            is_ending.set()

    async def scenario() -> None:
        user = asyncio.create_task(use())
        await is_ending.wait()
        await asyncio.sleep(0)
        user.cancel()
        with pytest.raises(asyncio.CancelledError):
            await user

    asyncio.run(asyncio.wait_for(scenario(), DEADLINE_S))

    gc.collect()  # a transport that was left open is told when it goes
    assert children_of(os.getpid()) <= before


def serve(*options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*CHILD, "sim", "toy", *options, scenario_to_json(SCENARIO)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_humans_get_a_listing() -> None:
    with serve() as child:
        text, errors = child.communicate(timeout=DEADLINE_S)

    assert (child.returncode, errors) == (0, "")
    for part in (
        "in lockstep",
        "control channel  ws://127.0.0.1:",
        "key     btxsim",
        "owns    100000 USDT",
        "- weather",
    ):
        assert part in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_detached_simulator_outlives_its_stdin_and_ends_on_a_signal(number: signal.Signals) -> None:
    with serve("--json", "--detach") as child:
        assert child.stdin is not None
        assert child.stdout is not None
        line = child.stdout.readline()
        child.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.3)
        os.kill(child.pid, number)
        code = child.wait(DEADLINE_S)

    assert code == 0
    assert json.loads(line)["extra"] == {"not_modelled": "dividends\nweather"}


# --- the same, in this process ---------------------------------------------------------------------------------


def test_serving_ends_with_stdin(capsys: pytest.CaptureFixture[str]) -> None:
    # pytest's stdin is at its end already.
    assert run_server(toy, SCENARIO, json_line=True, detach=False) == 0

    assert endpoints_from_json(capsys.readouterr().out).clock.market_origin_ns == START_NS


@pytest.mark.parametrize(("speed", "pace"), [(None, "in lockstep"), (2.5, "at speed 2.5")])
def test_a_detached_server_ends_on_a_signal(capsys: pytest.CaptureFixture[str], speed: float | None, pace: str) -> None:
    @contextlib.asynccontextmanager
    async def interrupted(scenario: Scenario) -> AsyncIterator[Endpoints]:
        async with toy(scenario) as endpoints:
            os.kill(os.getpid(), signal.SIGTERM)
            yield endpoints

    assert run_server(interrupted, attrs.evolve(SCENARIO, speed=speed), json_line=False, detach=True) == 0

    assert f"simulator ready, market {pace}" in capsys.readouterr().out


def test_a_port_that_is_taken_is_a_matter_of_configuration() -> None:
    with pytest.raises(ConfigError, match=r"port 0 of 127\.0\.0\.1 cannot be served \(Address already in use\)"):
        run_server(port_taken, SCENARIO, json_line=True, detach=True)
