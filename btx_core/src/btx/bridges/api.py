"""The session's one ccxt instance, which all ports of a venue share.

ccxt signs and sends; the answers are read raw by an adapter's codecs, because
what ccxt makes of them are floats.
"""

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from btx.bridges.ccxt import Client, Throttle, Verdicts
from btx.model.time import to_ms
from btx.model.venue import Endpoints
from btx.ports import Context

__all__ = ("Api", "shared_api")


@attrs.define(kw_only=True)
class Api:
    """What the ports of one session share: the ccxt instance, and how the venue's symbols are called here."""

    client: Client
    name_of: Callable[[str], str]  # of a symbol that is in no catalogue; raises DataError
    symbols: dict[str, str] = attrs.field(factory=dict)  # BTCUSDT -> BTC/USDT

    def symbol(self, venue_symbol: str) -> str:
        """Return our name of a symbol.

        Raises:
            DataError: it is not in the catalogue, and its name does not say what it is.
        """
        return self.symbols.get(venue_symbol) or self.name_of(venue_symbol)


def shared_api(
    context: Context,
    exchange_class: type[Any],
    *,
    venue: str,
    verdicts: Verdicts,
    options: Mapping[str, Any],
    endpoints: Endpoints | None,
    name_of: Callable[[str], str],
    sandbox: bool = False,
    demo: bool = False,
    on_headers: Callable[[str, Mapping[str, str]], None] | None = None,
) -> Api:
    """Return the session's shared connection; the first call makes it, ``context.resources`` closes it.

    A throttle under ``context.shared["throttle"]`` is awaited before each
    request. ``options`` are ccxt's, ``endpoints`` a simulator's; ``sandbox`` and
    ``demo`` are ccxt's names of the test systems a venue has.
    """
    known: Api | None = context.shared.get(__name__)
    if known is not None:
        return known
    throttle: Throttle | None = context.shared.get("throttle")
    client = Client(
        exchange_class,
        venue=venue,
        verdicts=verdicts,
        wire_ms=lambda: to_ms(context.clock.wire_ns()),
        api_key=context.settings.api_key,
        api_secret=context.settings.api_secret,
        options=options,
        sandbox=sandbox,
        endpoints=endpoints,
        throttle=throttle,
        on_headers=on_headers,
        tap=context.tap,
        proxy=context.settings.proxy,
    )
    if demo:
        client.exchange.enable_demo_trading(True)
    context.resources.push_async_callback(client.close)
    made = context.shared[__name__] = Api(client=client, name_of=name_of)
    return made
