"""The stand-in for a venue: what a recording says is said again, to a client that need not do all it did."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiohttp
import pytest

from btx.model.frames import Frame, FrameKind
from btx.model.venue import Endpoints
from btx.sim import replay as module
from btx.sim.replay import Moment, Replay

_MS = 1_000_000


class _Client:
    """Sends what a test says, and tells the replay as bridges do."""

    def __init__(self, replay: Replay, endpoints: Endpoints, http: aiohttp.ClientSession) -> None:
        self.replay = replay
        self._endpoints = endpoints
        self._http = http

    async def ask(self, path: str, method: str = "GET") -> tuple[int, Any]:
        async with self._http.request(method, f"{self._endpoints.rest}{path}") as answer:
            body = await answer.text()
        self.replay(Frame(kind=FrameKind.ANSWER, connection=0))
        return answer.status, json.loads(body)

    async def dial(self, path: str) -> "_Line":
        socket = await self._http.ws_connect(f"{self._endpoints.stream}{path}")
        line = _Line(self.replay, socket)
        self.replay(Frame(kind=FrameKind.OPENED, connection=line.number, url=path))
        return line

    async def ended(self) -> None:
        async with self._http.ws_connect(self._endpoints.control) as control:
            await control.send_str("{}")
            said = [await control.receive_json() for _ in range(2)]  # in either order: the end may have been before
        assert [each["event"] for each in said if "event" in each] == ["ended"]
        assert "no questions" in next(each["error"] for each in said if "error" in each)


class _Line:
    def __init__(self, replay: Replay, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.replay = replay
        self.number = replay.number()
        self.socket = socket

    async def hear(self) -> Any:
        message = await self.socket.receive(timeout=60)
        if message.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
            self.replay(Frame(kind=FrameKind.RECEIVED, connection=self.number))
            return message.data
        self.replay(Frame(kind=FrameKind.CLOSED, connection=self.number))
        return self.socket.close_code


def _at(*frames: Frame | None) -> list[Moment]:
    return [Moment(market_ns=number * _MS, frame=frame, note=number) for number, frame in enumerate(frames)]


def _asked(number: int, url: str, *, method: str = "GET", text: str = "") -> Frame:
    return Frame(kind=FrameKind.REQUEST, connection=number, url=f"https://venue{url}", method=method, text=text)


def _answered(number: int, body: Any, code: int | None = 200) -> Frame:
    headers = {"Content-Type": "application/json", "Content-Length": "9999"}
    return Frame(kind=FrameKind.ANSWER, connection=number, text=json.dumps(body), code=code, headers=headers)


def _frame(kind: str, connection: int = 1, text: str | bytes = "", url: str = "", code: int | None = None) -> Frame:
    return Frame(kind=FrameKind(kind), connection=connection, text=text, url=f"wss://venue{url}", code=code)


def _played(
    moments: Sequence[Moment], use: Callable[[_Client], Awaitable[Any]], **kwargs: Any
) -> tuple[Any, Replay, list[int]]:
    clock: list[int] = []

    async def run() -> tuple[Any, Replay]:
        async def settled() -> None:
            return None

        replay = Replay(lambda: moments, set_clock=clock.append, settled=settled, **kwargs)
        async with asyncio.timeout(60), replay.serve() as endpoints, aiohttp.ClientSession() as http:
            return await use(_Client(replay, endpoints, http)), replay

    got, replay = asyncio.run(run())
    return got, replay, clock


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody here is slow."""
    for name in ("_DIAL_S", "_ASK_S", "_HOLD_ASK_S", "_HOLD_DIAL_S"):
        monkeypatch.setattr(module, name, 0.3)


def test_answers_come_in_their_order_at_their_time_whatever_the_stamps_and_signatures() -> None:
    moments = _at(
        _asked(1, "/time"),
        _answered(1, {"t": 1}),
        _asked(2, "/account?timestamp=1&signature=aa"),
        _answered(2, {"cash": 5}),
        _asked(3, "/time"),
        _answered(3, {"t": 2}),
    )

    async def use(client: _Client) -> list[Any]:
        asks = ("/time", "/account?timestamp=999&signature=bb", "/time")
        return [await client.ask(path) for path in asks]

    got, replay, clock = _played(moments, use)

    assert got == [(200, {"t": 1}), (200, {"cash": 5}), (200, {"t": 2})]
    assert replay.remarks == []
    assert clock == sorted(clock)


def test_the_page_that_begins_where_it_is_asked_for_is_given_and_an_unknown_one_is_empty() -> None:
    moments = _at(
        *(_asked(1, "/bars?symbol=A&start=100&end=200&limit=9"), _answered(1, ["first"])),
        *(_asked(2, "/bars?symbol=A&start=200&end=300&limit=9"), _answered(2, ["second"])),
        *(_asked(3, "/bars?symbol=B&start=100&end=200&limit=9"), _answered(3, ["other"])),
    )

    async def use(client: _Client) -> list[Any]:
        second = await client.ask("/bars?symbol=A&start=200&end=333&limit=9")
        first = await client.ask("/bars?symbol=A&start=100&end=444&limit=9")
        nobodys = await client.ask("/bars?symbol=A&start=555&end=666&limit=9")
        return [second, first, nobodys]

    got, replay, _ = _played(moments, use)

    assert [body for _, body in got] == [["second"], ["first"], []]
    assert replay.remarks == []


def test_an_unknown_page_in_an_envelope_is_empty_too_also_where_one_request_was_refused() -> None:
    def said(*rows: str) -> dict[str, Any]:
        return {"retCode": 0, "result": {"symbol": "A", "list": [*rows]}}

    moments = _at(
        *(_asked(1, "/bars?symbol=A&start=100"), _answered(1, said("first"))),
        *(_asked(2, "/bars?symbol=A&start=200"), _answered(2, "busy", code=503)),
        *(_asked(3, "/bars?symbol=A&start=300"), _answered(3, said("third"))),
        *(_asked(4, "/terms?limit=1"), _answered(4, {"result": {"rows": 1}})),
        *(_asked(5, "/terms?limit=2"), _answered(5, {"result": None})),
    )

    async def use(client: _Client) -> list[Any]:
        asks = *(f"/bars?symbol=A&start={start}" for start in (100, 200, 300, 900)), "/terms?limit=9"
        return [(await client.ask(path))[1] for path in asks]

    got, replay, _ = _played(moments, use)

    assert got[:4] == [said("first"), "busy", said("third"), said()]
    assert got[4] in ({"result": {"rows": 1}}, {"result": None})  # it is no list: the nearest counts
    assert replay.remarks == []


def test_a_page_is_given_to_who_asks_again_after_he_hung_up() -> None:
    moments = _at(
        *(_asked(1, "/bars?symbol=A&start=100"), _answered(1, ["first"])),
        *(_asked(2, "/time"), _answered(2, 2)),
        *(_asked(3, "/bars?symbol=A&start=200"), _answered(3, ["second"])),
    )

    async def use(client: _Client) -> list[Any]:
        early = asyncio.create_task(client.ask("/bars?symbol=A&start=200"))
        await asyncio.wait({early}, timeout=0.05)  # it is held: the recording has not got there
        early.cancel()
        await asyncio.wait({early})
        asks = ("/bars?symbol=A&start=100", "/time", "/bars?symbol=A&start=200")
        return [(await client.ask(path))[1] for path in asks]

    got, _, _ = _played(moments, use)

    assert got == [["first"], 2, ["second"]]


def test_a_page_is_said_again_until_something_is_pushed() -> None:
    moments = _at(
        _frame("opened", connection=9, url="/stream"),
        *(_asked(1, "/bars?symbol=A&start=100"), _answered(1, ["first"])),
        *(_asked(2, "/bars?symbol=A&start=200"), _answered(2, ["second"])),
        _frame("received", connection=9, text="{}"),
    )

    async def use(client: _Client) -> list[Any]:
        line = await client.dial("/stream")
        said = [await client.ask(f"/bars?symbol=A&start={start}") for start in (100, 100, 200)]
        await line.hear()
        return [*said, await client.ask("/bars?symbol=A&start=200"), await client.ask("/bars?symbol=A&start=300")]

    got, _, _ = _played(moments, use)

    assert [body for _, body in got] == [["first"], ["first"], ["second"], [], []]


def test_what_nobody_ever_asked_is_refused_loudly() -> None:
    moments = _at(_asked(1, "/time"), _answered(1, {"t": 1}))

    async def use(client: _Client) -> Any:
        return await client.ask("/orders?symbol=A", "DELETE")

    (status, _), replay, _ = _played(moments, use)

    assert status == 404
    assert replay.remarks == ["DELETE /orders symbol=A: the recording has no such request"]


def test_what_anybody_may_ask_is_said_again_but_not_what_was_said_of_the_account() -> None:
    others = [None] * 60
    moments = _at(
        *(_asked(1, "/catalogue"), _answered(1, {"all": 1})),
        *(_asked(2, "/account?signature=a"), _answered(2, {"cash": 5})),
        *others,
    )

    async def use(client: _Client) -> list[Any]:
        first = [await client.ask("/catalogue"), await client.ask("/account?signature=b")]
        await client.ended()
        return [*first, await client.ask("/catalogue"), await client.ask("/account?signature=c")]

    got, replay, _ = _played(moments, use)

    assert [status for status, _ in got] == [200, 200, 200, 404]
    assert len(replay.remarks) == 1


def test_a_request_nobody_answered_is_not_answered_again() -> None:
    moments = _at(_asked(1, "/time"), _answered(1, "TimeoutError", code=None))

    async def use(client: _Client) -> None:
        with pytest.raises(aiohttp.ClientError):
            await client.ask("/time")

    _played(moments, use)


def test_a_socket_is_given_its_frames_and_its_closing_code_and_ids_are_rewritten() -> None:
    moments = _at(
        _frame("opened", url="/stream?streams=a/b"),
        _frame("sent", text='{"id":7,"method":"SUBSCRIBE","params":["x","y"]}'),
        _frame("received", text='{"id":7,"result":null}'),
        _frame("received", text='{"id":8,"other":1}'),
        _frame("received", text=b"\x01"),
        _frame("closed", code=1012),
    )

    async def use(client: _Client) -> list[Any]:
        line = await client.dial("/stream?streams=b/a")
        await line.socket.send_str('{"id":"mine","method":"SUBSCRIBE","params":["y","x"]}')
        return [await line.hear() for _ in range(4)]

    got, replay, _ = _played(moments, use)

    assert [json.loads(each) if isinstance(each, str) else each for each in got] == [
        {"id": "mine", "result": None},
        {"id": 8, "other": 1},
        b"\x01",
        1012,
    ]
    assert replay.remarks == []


def test_a_login_is_known_without_its_secrets_and_answered_by_the_number_it_has_now() -> None:
    moments = _at(
        _frame("opened", url="/private"),
        _frame("sent", text='{"req_id":"1","op":"auth","args":["***"]}'),
        _frame("received", text='{"req_id":"1","op":"auth","success":true}'),
        _frame("sent", text='{"req_id":"2","op":"subscribe","args":["order","wallet"]}'),
        _frame("received", text='{"req_id":"2","op":"subscribe","success":true}'),
        _frame("received", text='{"id":"9","topic":"order"}'),
        _frame("received", text="no message, for all its req_id"),
    )

    async def use(client: _Client) -> list[Any]:
        line = await client.dial("/private")
        await line.socket.send_str('{"req_id":"5","op":"auth","args":["key",1700000000000,"signature"]}')
        login = await line.hear()
        await line.socket.send_str('{"req_id":"6","op":"subscribe","args":["wallet","order"]}')
        return [login, *[await line.hear() for _ in range(3)]]

    got, replay, _ = _played(moments, use)

    assert [json.loads(each).get("req_id") for each in got[:3]] == ["5", "6", None]
    assert got[3] == "no message, for all its req_id"
    assert replay.remarks == []


def test_a_page_that_is_asked_for_late_is_not_taken_for_the_next_one() -> None:
    moments = _at(
        *(_asked(1, "/bars?symbol=A&start=100&end=200"), _answered(1, {"list": ["first"]})),
        *(_asked(2, "/bars?symbol=A&start=200&end=300"), _answered(2, {"list": ["second"]})),
    )

    async def use(client: _Client) -> list[Any]:
        return [await client.ask(f"/bars?symbol=A&start={start}&end=999") for start in (200, 100)]

    got, _, _ = _played(moments, use)

    assert [body for _, body in got] == [{"list": ["second"]}, {"list": ["first"]}]


def test_a_connection_that_was_cut_is_cut() -> None:
    moments = _at(_frame("opened", url="/s"), _frame("received", text="a"), _frame("closed"))

    async def use(client: _Client) -> list[Any]:
        line = await client.dial("/s")
        return [await line.hear(), await line.hear()]

    got, _, _ = _played(moments, use)

    assert got == ["a", 1006]


def test_two_connections_to_one_place_are_told_apart_by_what_is_sent_over_them() -> None:
    moments = _at(
        *(_frame("opened", 1, url="/ws"), _frame("opened", 2, url="/ws")),
        *(_frame("sent", 1, text='{"id":1,"params":["a"]}'), _frame("sent", 2, text='{"id":1,"params":["b"]}')),
        *(_frame("received", 1, text="for a"), _frame("received", 2, text="for b")),
    )

    async def use(client: _Client) -> list[Any]:
        one, other = await client.dial("/ws"), await client.dial("/ws")
        await one.socket.send_str('{"id":1,"params":["b"]}')
        await other.socket.send_str('{"id":1,"params":["a"]}')
        return list(await asyncio.gather(one.hear(), other.hear()))

    got, _, _ = _played(moments, use)

    assert got == ["for b", "for a"]


def test_a_connection_that_is_not_dialled_is_left_out_and_remarked() -> None:
    moments = _at(
        *(_asked(1, "/time"), _answered(1, {"t": 1})),
        *(_frame("opened", 5, url="/s"), _frame("received", 5, text="a"), _frame("closed", 5)),
        *(_asked(2, "/time"), _answered(2, {"t": 2})),
    )

    async def use(client: _Client) -> list[Any]:
        return [await client.ask("/time"), await client.ask("/time")]

    got, replay, _ = _played(moments, use)

    assert [body for _, body in got] == [{"t": 1}, {"t": 2}]
    assert replay.remarks == ["a connection to /s was not dialled: what came over it is left out"]


def test_a_connection_the_recording_has_not_is_refused() -> None:
    moments = _at(_asked(1, "/time"), _answered(1, {"t": 1}))

    async def use(client: _Client) -> None:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await client.dial("/other")

    _played(moments, use)


def test_orders_are_not_waited_for_and_notes_come_at_their_time() -> None:
    notes: list[int] = []
    moments = _at(
        *(_asked(1, "/time"), _answered(1, {"t": 1})),
        *(_asked(2, "/order?a=1", method="POST", text="side=BUY"), _answered(2, {"id": 1})),
        None,
        *(_asked(3, "/time"), _answered(3, {"t": 2})),
    )

    async def use(client: _Client) -> Any:
        await client.ask("/time")
        await client.ask("/time")
        await client.ended()
        return None

    _, replay, _ = _played(moments, use, on_note=notes.append)

    assert notes == [4]
    assert replay.played == len(moments)


def test_with_a_speed_the_recordings_own_pace_is_kept() -> None:
    moments = [
        Moment(market_ns=at, frame=frame)
        for at, frame in ((0, _asked(1, "/time")), (0, _answered(1, {})), (60_000 * _MS, None))
    ]

    async def use(client: _Client) -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await client.ask("/time")
        await client.ended()
        return loop.time() - began

    took_s, _, _ = _played(moments, use, speed=120.0)

    assert took_s >= 0.4
