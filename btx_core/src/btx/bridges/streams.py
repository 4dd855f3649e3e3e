"""The Stream port of a venue that has one socket for market data and another for the account."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from btx.bridges.account import AccountDialect, run_account
from btx.bridges.market import Dialect, reading, run_market
from btx.bridges.places import Places
from btx.model.venue import Channel
from btx.ports import Context, Sink, StreamEvent, Wanted

__all__ = ("SocketStream",)


class SocketStream:
    """One connection a run; only the runtime dials again. See :class:`btx.ports.Stream`.

    ``events`` is given a push of the market, and our names of the venue's symbols.
    """

    def __init__(
        self,
        context: Context,
        *,
        places: Places,
        market: Dialect,
        events: Callable[[Any, Mapping[str, str]], Iterable[StreamEvent]],
        account: AccountDialect,
    ) -> None:
        self._context = context
        self._places = places
        self._market = market
        self._events = events
        self._account = account

    async def run(self, *, wanted: Wanted, sink: Sink) -> None:
        """Be one connection that carries what is wanted, until cancelled or lost.

        Raises: as :func:`btx.bridges.account.run_account` and :func:`btx.bridges.market.run_market`.
        """
        context, url = self._context, self._places.stream_url(self._context)
        if {each.channel for each in wanted.now} == {Channel.ACCOUNT}:
            await run_account(
                context=context, wanted=wanted, sink=sink, dialect=self._account, places=self._places, base=url
            )
        else:
            await run_market(
                context=context,
                wanted=wanted,
                sink=sink,
                dialect=self._market,
                reader=reading(self._events),
                bases=(url,),
            )
