"""What is asked on a connection: what a frame that nobody can read means for those who wait."""

import asyncio
import json
from typing import Any

import pytest

from btx.bridges.requests import Requests
from btx.errors import DataError, TransportError


def hear(message: Any) -> str:
    if message.get("strange"):
        raise DataError("it is no answer")
    return str(message["key"])


async def _asked(requests: Requests, *asking: asyncio.Future[Any]) -> None:
    """Let those who ask send, and wait."""
    left: asyncio.Queue[str] = asyncio.Queue()
    requests.opened(left.put)
    for _ in asking:
        await left.get()


def test_who_waits_for_an_answer_is_told_of_a_frame_that_cannot_be_read_but_for_a_ping() -> None:
    async def scene() -> None:
        requests = Requests("Nowhere")
        asking = asyncio.ensure_future(requests.ask(1, "all of it", what="a SUBSCRIBE"))
        beating = asyncio.ensure_future(requests.beat("ping", "ping", 0.0))
        await _asked(requests, asking, beating)

        with pytest.raises(json.JSONDecodeError):
            requests.read('{"key": 1, "re', hear)
        with pytest.raises(TransportError, match="a frame that may have answered a SUBSCRIBE cannot be read"):
            await asking

        assert not beating.done()
        assert requests.answer("ping")
        beating.cancel()

    asyncio.run(scene())


def test_a_message_that_is_known_to_be_none_costs_no_answer() -> None:
    async def scene() -> Any:
        requests = Requests("Nowhere")
        asking = asyncio.ensure_future(requests.ask("1", "all of it", what="a SUBSCRIBE"))
        await _asked(requests, asking)
        with pytest.raises(DataError):
            requests.read('{"strange": true}', hear)
        message, key = requests.read('{"key": 1}', hear)
        requests.answer(key, message)
        return await asking

    assert asyncio.run(scene()) == {"key": 1}
