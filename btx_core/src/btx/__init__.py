"""btx: a backtrader strategy, unchanged, on a real venue.

::

    store = btx.load("binance", env="sim")
    cerebro.setbroker(store.getbroker())
    cerebro.adddata(store.getdata(dataname="BTC/USDT", timeframe="1m"))

Importing btx imports no adapter, no exchange library and not backtrader.
"""

import importlib.metadata
from typing import TYPE_CHECKING, Any, Literal, overload

from btx.hookspecs import hookimpl
from btx.model.venue import Scenario
from btx.rules.risk import Limits

if TYPE_CHECKING:
    from btx.bt.backtest import BacktestStore
    from btx.bt.broker import LiveBroker
    from btx.bt.store import LiveStore

__all__ = ("Limits", "Scenario", "__version__", "broker", "hookimpl", "limits", "load", "scenario", "venues")


@overload
def load(name: str, *, env: Literal["backtest"], **settings: Any) -> "BacktestStore": ...
@overload
def load(name: str, **settings: Any) -> "LiveStore": ...
def load(name: str, **settings: Any) -> Any:
    """Return the store of one account at one venue; see :func:`btx.compose.load` for the settings.

    ``env="backtest"`` gives a store of history, see :func:`btx.backtests.load_backtest`.

    Raises:
        ConfigError: a setting is wrong or missing; the message says what to write.
        PluginError: the adapter cannot be used.
    """
    from btx import compose

    compose.check_words(compose.load, settings)
    if settings.get("env") == "backtest":
        from btx.backtests import load_backtest

        del settings["env"]
        return load_backtest(name, **settings)
    return compose.load(name, **settings)


def broker(*stores: "LiveStore", currency: str | None = None) -> "LiveBroker":
    """Return one broker for a cerebro with several stores; it routes each order by the store of its data.

    Raises:
        ConfigError: no store, or stores that count cash in different currencies.
    """
    from btx.bt.broker import broker as join

    return join(*stores, currency=currency)


def limits(**words: Any) -> Limits:
    """Return what an order must keep before it leaves, in words; see :func:`btx.config.limits`.

    Raises:
        ConfigError: a word is unknown, or says nothing.
    """
    from btx.config import limits as make

    return make(**words)


def scenario(**settings: Any) -> Scenario:
    """Return a world for ``env="sim"``, in words; see :func:`btx.compose.scenario` for the settings.

    Raises:
        ConfigError: one of them cannot be read.
    """
    from btx.compose import check_words
    from btx.compose import scenario as make

    check_words(make, settings)
    return make(**settings)


def venues() -> dict[str, str]:
    """Return the installed adapters: name → distribution and version. None of them is imported."""
    from btx.plugins import installed_venues

    return {
        name: f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value
        for name, point in sorted(installed_venues().items())
    }


def __getattr__(name: str) -> str:
    if name == "__version__":
        return importlib.metadata.version("btx-core")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
