"""The account's socket: what it asks, what it makes of refusals, and when it says that it is subscribed."""

import asyncio
import json
from collections.abc import Iterable
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request

from btx.bridges.account import Question, Reply, run_account
from btx.bridges.places import Places
from btx.bridges.verdicts import Verdict, Verdicts
from btx.config import Secret, Settings
from btx.errors import AuthenticationError, BtxError, ClockError, DataError, MissingSecretError, TransportError
from btx.model.account import AccountUpdate, Balance
from btx.model.time import NS_PER_S
from btx.model.venue import Channel, Environment, StreamState, StreamStatus, Subscription
from btx.ports import Context, StreamEvent

KEY = "my-key"
PLACES = Places(title="Nowhere", streams={}, longest_receive_window_ms=60_000)
ACCOUNT = Subscription(channel=Channel.ACCOUNT)


class _Clock:
    def __init__(self) -> None:
        self.now_ns = 1_700_000_000_123_000_000

    def wire_ns(self) -> int:
        return self.now_ns

    market_ns = wire_ns


class _Wanted:
    now = frozenset({ACCOUNT})

    async def changed(self, known: frozenset[Subscription]) -> frozenset[Subscription]:
        await asyncio.Event().wait()
        return known


class _Dialect:
    """Logs in, and then subscribes; what is pushed is the USDT there are."""

    verdicts = Verdicts(codes={"who": Verdict.UNAUTHORISED, "when": Verdict.CLOCK, "fast": Verdict.LIMITED})

    def url(self, base: str) -> str:
        return f"{base}/mine"

    def questions(self, settings: Settings, now_ms: int) -> Iterable[Question]:
        yield Question("login", f"login {settings.api_key.reveal()} {now_ms}", what="its login")
        yield Question("all", "subscribe", what="its subscription")

    def hear(self, message: Any) -> Reply | None:
        return Reply(*message["reply"]) if "reply" in message else None

    def events(self, message: Any) -> Iterable[StreamEvent]:
        if "usdt" not in message:
            raise DataError("what is this?")
        balances = {"USDT": Balance(free=Decimal(message["usdt"]), locked=Decimal(0))}
        return (AccountUpdate(balances=balances, time_ns=0),)


def heard(
    *frames: Any, answers: int = 2, key: str = KEY, says_goodbye: bool = True, dial_s: int = 0
) -> tuple[list[str], list[StreamEvent], BtxError]:
    """What a server was asked that says one frame to each of so many questions, and then the rest and goodbye.

    By the clock it takes ``dial_s`` to connect.
    """
    asked: list[str] = []
    told: list[StreamEvent] = []
    clock = _Clock()

    async def let_in(_connection: ServerConnection, _request: Request) -> None:
        clock.now_ns += dial_s * NS_PER_S

    async def script(connection: ServerConnection) -> None:
        assert connection.request is not None
        assert connection.request.path == "/mine"
        for number, frame in enumerate(frames):
            if number < answers:
                asked.append(str(await connection.recv()))
            await connection.send(frame if isinstance(frame, str) else json.dumps(frame))
        if says_goodbye:
            await connection.close(1001, "enough")
        await connection.wait_closed()

    async def run() -> None:
        serving = serve(script, "127.0.0.1", 0, close_timeout=0.1, process_request=let_in)
        async with serving as server, AsyncExitStack() as resources:
            context = Context(
                settings=Settings(api_key=Secret(key), api_secret=Secret("my-secret")),
                environment=Environment.SIM,
                market="spot",
                endpoints=None,
                clock=clock,
                resources=resources,
            )
            base = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
            stream = run_account(
                context=context, wanted=_Wanted(), sink=told.append, dialect=_Dialect(), places=PLACES, base=base
            )
            await asyncio.wait_for(stream, 10)

    with pytest.raises(BtxError) as caught:
        asyncio.run(run())
    return asked, told, caught.value


def test_it_asks_one_thing_after_the_other_and_is_subscribed_before_anything_is_told() -> None:
    asked, told, error = heard({"reply": ["login"]}, {"reply": ["all"]}, {"usdt": 5}, {"strange": 1}, {"usdt": 6})

    assert asked == [f"login {KEY} 1700000000123", "subscribe"]
    subscribed, first, fault, second = told
    assert subscribed == StreamStatus(state=StreamState.SUBSCRIBED, subscriptions=frozenset({ACCOUNT}))
    assert isinstance(fault, StreamStatus)
    assert (fault.state, "what is this?" in fault.detail) == (StreamState.FAULT, True)
    assert [each.balances["USDT"].free for each in (first, second) if isinstance(each, AccountUpdate)] == [5, 6]
    assert isinstance(error, TransportError)
    assert "enough" in str(error)


def test_a_login_is_dated_when_the_connection_stands_however_long_the_dial_takes() -> None:
    asked, _, _ = heard({"reply": ["login"]}, answers=1, dial_s=9)

    assert asked == [f"login {KEY} 1700000009123"]


@pytest.mark.parametrize(
    ("code", "kind"),
    [("who", AuthenticationError), ("when", ClockError), ("fast", TransportError), ("new", TransportError)],
)
def test_what_is_refused_ends_the_connection_and_only_a_key_ends_the_dialling(code: str, kind: type[BtxError]) -> None:
    _, told, error = heard({"reply": ["login", code, f"no, {KEY}"]})

    assert told == []
    assert type(error) is kind
    assert str(error) == f"Nowhere: no, *** [{code}]"


@pytest.mark.parametrize("spoilt", ['{"reply": ["al', '{"reply": 5}'])
def test_an_answer_that_cannot_be_read_ends_the_connection_at_once(spoilt: str) -> None:
    """Another does not come: who waited for it would sit there until the time for an answer is over."""
    _, told, error = heard({"reply": ["login"]}, spoilt, says_goodbye=False)

    (fault,) = told
    assert isinstance(fault, StreamStatus)
    assert fault.state is StreamState.FAULT
    assert type(error) is TransportError
    assert str(error) == "Nowhere: a frame that may have answered its subscription cannot be read"


def test_without_a_key_nothing_is_dialled() -> None:
    asked, told, error = heard(key="")

    assert (asked, told) == ([], [])
    assert isinstance(error, MissingSecretError)
