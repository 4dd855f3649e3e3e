"""cryptofeed's own feeds against a simulator: the library as it is, but for addresses and ws:// in place of wss://."""

import asyncio
import atexit
from collections.abc import Mapping, Sequence
from typing import Any


def local(shipped: Any, *, rest: str, api: str, stream: str) -> Any:
    """The shipped feed at other addresses; import cryptofeed first."""
    from cryptofeed.connection import AsyncConnection, RestEndpoint, WSAsyncConn

    class PlainConnection(WSAsyncConn):
        """cryptofeed's own connection without its refusal of ws://."""

        def __init__(self, address: Any, conn_id: Any, **options: Any) -> None:
            AsyncConnection.__init__(self, f"{conn_id}.ws")
            atexit.unregister(self.__del__)
            self.address, self.ws_kwargs = address, options

    class Local(shipped):
        rest_endpoints = (RestEndpoint(rest, routes=shipped.rest_endpoints[0].routes),)
        address = stream

        def connect(self) -> Any:
            connection = PlainConnection(self._address() or stream, self.id, max_queue=1024, close_timeout=1)
            connection.subscription = self.subscription
            return [(connection, self.subscribe, self.message_handler, self.authenticate)]

    Local.api = api
    return Local


async def first(feeds: Mapping[Any, Sequence[str]], symbol: str) -> Any:
    """The first thing each channel of these feeds calls back with, by channel."""
    from cryptofeed.symbols import Symbols

    loop = asyncio.get_running_loop()
    seen = {channel: loop.create_future() for channels in feeds.values() for channel in channels}

    def callback(channel: str) -> Any:
        async def take(value: Any, _: Any) -> None:
            if not seen[channel].done():
                seen[channel].set_result(value)

        return take

    def made(feed: Any, channels: Sequence[str]) -> Any:
        return feed(
            symbols=[symbol],
            channels=list(channels),
            candle_closed_only=False,
            callbacks={channel: callback(channel) for channel in channels},
            config={"log": {"disabled": True}, "uvloop": False},
        )

    Symbols.clear()
    running = [await loop.run_in_executor(None, made, *each) for each in feeds.items()]
    for feed in running:
        feed.start(loop)
    try:
        return dict(zip(seen, await asyncio.gather(*seen.values()), strict=True))
    finally:
        for feed in running:
            feed.stop()
            await feed.shutdown()
        Symbols.clear()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
