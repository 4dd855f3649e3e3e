"""The socket that is ours."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest
from websockets.asyncio.server import ServerConnection, serve

from btx.bridges.sockets import Send, SocketOptions, run_socket
from btx.config import is_loopback
from btx.errors import TransportError


class _Listener:
    """Keeps what it hears; reads numbers, and nothing else."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.faults: list[str] = []
        self.heard = asyncio.Event()
        self.is_open = asyncio.Event()

    async def opened(self, send: Send) -> None:
        await send("hello")
        self.is_open.set()

    async def frame(self, frame: str | bytes) -> None:
        if frame == "bye":
            raise TransportError("the venue said bye")
        self.numbers.append(int(frame))
        self.heard.set()

    def fault(self, detail: str) -> None:
        self.faults.append(detail)


async def _with_server(
    script: Callable[[ServerConnection], Awaitable[None]],
    use: Callable[[str, _Listener], Awaitable[None]],
) -> _Listener:
    listener = _Listener()
    async with serve(script, "127.0.0.1", 0, close_timeout=0.1) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        await asyncio.wait_for(use(f"ws://127.0.0.1:{port}", listener), 60)
    return listener


async def _until_lost(url: str, listener: _Listener) -> None:
    with pytest.raises(TransportError) as caught:
        await run_socket(url=url, handler=listener)
    listener.faults.append(str(caught.value))


def test_a_bad_frame_is_a_fault_and_the_connection_goes_on() -> None:
    async def script(connection: ServerConnection) -> None:
        assert await connection.recv() == "hello"
        for frame in ("1", "not a number", b"\xff", "2"):
            await connection.send(frame)

    listener = asyncio.run(_with_server(script, _until_lost))

    assert listener.numbers == [1, 2]
    assert len(listener.faults) == 3
    assert "not a number" in listener.faults[0]
    assert "closed by the venue (1000" in listener.faults[-1]


def test_no_frame_is_logged_at_any_level(caplog: pytest.LogCaptureFixture) -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.recv()

    with caplog.at_level(logging.DEBUG):
        asyncio.run(_with_server(script, _until_lost))
    said = [each.getMessage() for each in caplog.records if each.name != "websockets.server"]
    assert not [each for each in said if "hello" in each]


def test_a_handler_may_end_the_connection() -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.send("bye")
        await connection.wait_closed()

    assert asyncio.run(_with_server(script, _until_lost)).faults == ["the venue said bye"]


@pytest.mark.parametrize("how", ["abort", "close 1008"])
def test_a_lost_connection_is_a_transport_error(how: str) -> None:
    async def script(connection: ServerConnection) -> None:
        if how == "abort":
            connection.transport.abort()
        else:
            await connection.close(1008, "too fast")

    (reason,) = asyncio.run(_with_server(script, _until_lost)).faults

    assert "127.0.0.1" in reason or "1008" in reason


def test_a_refused_connection_is_a_transport_error() -> None:
    async def run() -> None:
        async with serve(lambda _: asyncio.sleep(0), "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(TransportError, match=f"127.0.0.1:{port}"):
            await run_socket(url=f"ws://127.0.0.1:{port}", handler=_Listener())

    asyncio.run(run())


def test_a_venue_that_is_silent_is_noticed_by_its_missing_pongs() -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from websockets.server import ServerProtocol

        protocol = ServerProtocol()
        while not protocol.events_received() and protocol.state.name == "CONNECTING":
            protocol.receive_data(await reader.read(4096))
            (request,) = protocol.events_received()
            protocol.send_response(protocol.accept(request))
            for chunk in protocol.data_to_send():
                writer.write(chunk)
        while await reader.read(4096):  # pings arrive, and are not answered
            pass
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(deaf, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            options = SocketOptions(ping_interval_s=0.05, ping_timeout_s=0.05, close_timeout_s=0.05)
            with pytest.raises(TransportError, match="ping"):
                await asyncio.wait_for(
                    run_socket(url=f"ws://127.0.0.1:{port}", handler=_Listener(), options=options), 60
                )

    asyncio.run(run())


@pytest.mark.parametrize("answers_the_close", [True, False])
def test_cancelling_ends_the_connection_at_once_and_leaves_no_task(answers_the_close: bool) -> None:
    release: list[asyncio.Event] = []

    async def script(connection: ServerConnection) -> None:
        release.append(asyncio.Event())
        for number in range(2000):  # more than the client reads ahead
            await connection.send(str(number))
        if answers_the_close:
            await connection.wait_closed()
        else:
            connection.transport.pause_reading()
            await release[0].wait()

    async def use(url: str, listener: _Listener) -> None:
        loop = asyncio.get_running_loop()
        before = asyncio.all_tasks()
        task = asyncio.ensure_future(run_socket(url=url, handler=listener))
        await listener.heard.wait()
        started = loop.time()

        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert loop.time() - started < 8.0  # who waits for a good-bye waits ten seconds: websockets' own time for it
        release[0].set()
        mine = {each for each in asyncio.all_tasks() - before if "run_socket" in repr(each)}
        assert not mine

    asyncio.run(_with_server(script, use))


def test_a_slow_reader_holds_the_venue_back_instead_of_hoarding() -> None:
    sent: list[int] = []

    async def script(connection: ServerConnection) -> None:
        frame = "1".zfill(10_000)
        for number in range(10_000):
            await connection.send(frame)
            sent.append(number)

    class Slow(_Listener):
        async def frame(self, frame: str | bytes) -> None:
            self.heard.set()
            await asyncio.Event().wait()

    async def run() -> int:
        slow = Slow()
        async with serve(script, "127.0.0.1", 0, close_timeout=0.1, compression=None) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            task = asyncio.ensure_future(
                run_socket(url=f"ws://127.0.0.1:{port}", handler=slow, options=SocketOptions(max_queue=16))
            )
            await asyncio.wait_for(slow.heard.wait(), 60)
            held = -1
            while held != len(sent):  # until the server can send no more
                held = len(sent)
                for _ in range(200):
                    await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return held

    assert asyncio.run(run()) < 5000


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://127.0.0.1:9/x", True),
        ("ws://[::1]:9", True),
        ("ws://localhost", True),
        ("wss://stream.binance.com:9443", False),
    ],
)
def test_only_the_loopback_goes_past_a_proxy(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected
