"""The control channel: answers by id, remarks apart, and an end that is noticed."""

import asyncio
import socket

import pytest

from btx.errors import TransportError
from btx.runtime.control import Control
from tests.control_peer import ControlPeer
from tests.toy_venue import ToyVenue
from tests.unit.runtime.rig import run


def test_questions_asked_at_the_same_time_get_their_own_answers() -> None:
    async def scene() -> None:
        peer = ControlPeer(toy=ToyVenue())
        peer.toy.sequence = 7
        async with peer.served() as endpoints:
            control = await Control.connect(endpoints.control)

            sync, bars = await asyncio.gather(control.ask("sync", api_key="k"), control.ask("bars", symbol="BTCUSDT"))

            assert sync["sequence"] == 7
            assert bars["symbol"] == "BTCUSDT"
            await control.close()

    run(scene())


def test_what_the_simulator_tells_unasked_does_not_disturb_the_answers() -> None:
    async def scene() -> None:
        peer = ControlPeer(toy=ToyVenue())
        async with peer.served() as endpoints:
            control = await Control.connect(endpoints.control)
            await control.ask("sync", api_key="k")

            await peer.push({"event": "ended", "market_ns": 1})

            assert await control.next_event() == {"event": "ended", "market_ns": 1}
            await control.close()

    run(scene())


def test_a_refusal_is_an_error_with_the_simulators_words() -> None:
    async def scene() -> None:
        peer = ControlPeer(toy=ToyVenue(), refused={"advance"})
        async with peer.served() as endpoints:
            control = await Control.connect(endpoints.control)

            with pytest.raises(TransportError, match="refused 'advance': not today"):
                await control.ask("advance", api_key="k")
            await control.close()

    run(scene())


def test_an_answer_that_does_not_come_is_an_error_and_not_a_hang() -> None:
    async def scene() -> None:
        peer = ControlPeer(toy=ToyVenue(), silent={"sync"})
        async with peer.served() as endpoints:
            control = await Control.connect(endpoints.control, timeout_s=1.0)  # for connecting, too

            with pytest.raises(TransportError, match="did not answer 'sync' in"):
                await control.ask("sync", api_key="k")
            await control.close()

    run(scene())


def test_a_channel_that_closes_fails_what_was_asked_and_what_will_be() -> None:
    async def scene() -> None:
        peer = ControlPeer(toy=ToyVenue(), silent={"sync"})
        async with peer.served() as endpoints:
            control = await Control.connect(endpoints.control)
            asking = asyncio.create_task(control.ask("sync", api_key="k"))
            await peer.until_asked("sync")

            await peer.hang_up()

            with pytest.raises(TransportError, match="closed its control channel"):
                await asking
            await control.wait_closed()
            with pytest.raises(TransportError, match="closed its control channel before 'sync'"):
                await control.ask("sync", api_key="k")
            assert await control.next_event() is None
            await control.close()

    run(scene())


def test_what_cannot_be_read_ends_the_channel() -> None:
    async def scene() -> None:
        peer = ControlPeer(toy=ToyVenue(), silent={"sync"})
        async with peer.served() as endpoints:
            control = await Control.connect(endpoints.control)
            asking = asyncio.create_task(control.ask("sync", api_key="k"))
            await peer.until_asked("sync")

            await peer.push("{")

            with pytest.raises(TransportError, match="not readable"):
                await asking
            await control.close()

    run(scene())


def test_a_simulator_that_is_not_there_is_named() -> None:
    async def scene() -> None:
        peer = ControlPeer(toy=ToyVenue())
        async with peer.served():
            pass

        with pytest.raises(TransportError, match="does not answer"):
            await Control.connect(peer.url)

    run(scene())


def test_a_simulator_that_says_nothing_is_told_as_such() -> None:
    async def scene() -> None:
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            host, port = deaf.getsockname()

            with pytest.raises(TransportError, match=r"does not answer: nothing came within 0\.05 s"):
                await Control.connect(f"ws://{host}:{port}/", timeout_s=0.05)

    run(scene())


def test_connecting_may_be_cancelled_without_a_trace() -> None:
    async def scene() -> None:
        async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted.append(writer)
            arrived.set()

        arrived = asyncio.Event()
        accepted: list[asyncio.StreamWriter] = []
        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()[:2]
        connecting = asyncio.create_task(Control.connect(f"ws://{host}:{port}/"))
        await asyncio.wait_for(arrived.wait(), 60)

        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)

        assert connecting.cancelled()
        for writer in accepted:
            writer.close()
        server.close()
        await server.wait_closed()

    run(scene())
