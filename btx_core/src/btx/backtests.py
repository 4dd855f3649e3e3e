"""The composition root behind ``btx.load(..., env="backtest")``: files or the cache → rules → store."""

import functools
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from btx.cached import CachedBars
from btx.config import Settings
from btx.defaults import open_venue
from btx.errors import ConfigError
from btx.model.derivatives import PositionMode
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.venue import Scenario, SimAccount
from btx.played import PlayedRules
from btx.plugins import Venue
from btx.rules.risk import NO_LIMITS
from btx.rules.symbols import perpetual_of
from btx.runtime.margining import AS_IT_IS, Margining, margining_of
from btx.worlds import account_of, in_market, usual_total

if TYPE_CHECKING:
    from btx.bt.backtest import BacktestStore, BarSource

__all__ = ("check_fills", "load_backtest")


def load_backtest(
    name: str,
    *,
    market: str | None = None,
    scenario: Scenario | None = None,
    currency: str | None = None,
    leverage: int | Mapping[str, int] | None = None,
    margin_mode: str | None = None,
    position_mode: str | None = None,
    balances: Mapping[str, str | int] | None = None,
    fills: str = "bars",
    **live: Any,  # noqa: ARG001 -- one script runs everywhere
) -> "BacktestStore":
    """Return a store of history: the same words as :func:`btx.compose.load`, and nothing ever connects to an account.

    Args:
        name: the venue, as its adapter is named: ``"binance"``.
        market: ``"spot"``, ...; the adapter's first market when not given.
        scenario: files of bars and the part of them to play, ``btx.scenario(data={...}, warmup=..., until=...)``;
            or a simulator whose history is fetched, ``btx.scenario(attach=...)``; the cache without.
        currency: what cash is counted in; as there.
        leverage: of positions on margin; what is not given, of this and of the next two, is as the venue has
            it for a new account.
        margin_mode: ``"cross"`` or ``"isolated"``.
        position_mode: ``"one_way"`` or ``"hedge"``.
        balances: what the run begins with, ``{"USDT": "1000"}``; 100,000 of ``currency`` when not given.
        fills: ``"bars"``: orders meet bars under the venue's rules, fees and margin; ``"stock"``: backtrader's own
            broker; or ``"venue"``: orders go to the simulator's exchange in this process, so they are filled
            as in ``env="sim"`` in lockstep; of files only, and bar by bar.
        live: what else is said there; keys, limits and the like say nothing here.

    Raises:
        ConfigError: a setting is wrong or missing; the message says what to write.
        PluginError: the adapter cannot be used.
    """
    from btx.bt.backtest import BacktestStore, Period, StartingAccount

    venue = open_venue(name)
    market = market or venue.info.markets[0]
    if market not in venue.info.markets:
        raise ConfigError(
            f"{venue.info.title} has no market {market!r} here: choose one of {', '.join(venue.info.markets)}"
        )
    _check_played(scenario)
    check_fills(fills)
    can = venue.info.capabilities[market]
    margining = margining_of(
        can, market=market, leverage=leverage, margin_mode=margin_mode, position_mode=position_mode
    )
    currency = currency if currency is not None else can.currency
    if scenario is not None:
        scenario = in_market(scenario, market, is_margined=can.margined)
    _check_leverages(margining, scenario)
    if fills == "stock" and margining != AS_IT_IS:
        raise ConfigError(
            'fills="stock" is backtrader\'s own broker, and knows no leverage and no modes: leave these words out, '
            "or fills= out"
        )
    if fills == "venue":
        if scenario is None or not scenario.data:
            raise ConfigError(
                'fills="venue" plays files: name them, scenario=btx.scenario(data={"BTC/USDT": "btc.csv"})'
            )
        world = attrs.evolve(
            scenario, market=market, accounts=(account_of(balances),) if balances is not None else scenario.accounts
        )
        return _venue_backtest(venue, market, world, currency=currency, margining=margining)
    if balances is not None:
        account: SimAccount | None = account_of(balances)
    else:
        account = scenario.accounts[0] if scenario is not None and scenario.accounts else None
    owned = dict(account.balances) if account is not None else {currency: Decimal(usual_total(currency))}
    cash = owned.pop(currency, Decimal(0))
    if any(owned.values()):
        raise ConfigError(
            f"a backtest begins with {currency} alone, not with {', '.join(sorted(owned))}: buy what it should hold"
        )
    return BacktestStore(
        name=f"{name}/backtest/{market}",
        title=venue.info.title,
        source=_bar_source(scenario, venue=name, market=market),
        intervals=venue.info.capabilities[market].intervals,
        period=Period(warmup_ns=scenario.warmup_ns, until_ns=scenario.until_ns) if scenario is not None else Period(),
        account=StartingAccount(
            cash=cash,
            currency=currency,
            commission=venue.commission(_nominal(name, "BTC", currency, is_margined=can.margined), None).taker,
        ),
        market=market,
        rules=PlayedRules(venue=name, market=market, scenario=scenario, margining=margining, open_venue=_opened)
        if fills == "bars"
        else None,
        is_margined=can.margined,
        position_mode=margining.position_mode,
    )


def _venue_backtest(
    venue: Venue, market: str, scenario: Scenario, *, currency: str, margining: Margining
) -> "BacktestStore":
    """Return a store whose orders the venue's own simulator fills, in this process."""
    if margining.position_mode is PositionMode.HEDGE:
        raise ConfigError(
            "fills=\"venue\" has no position_mode='hedge' yet: leave fills= out, or take env='sim', they have it"
        )
    from btx.bt.backtest import Period, StartingAccount
    from btx.bt.venue import VenueBacktestStore
    from btx.runtime.inline import InlineSession

    return VenueBacktestStore(
        session=InlineSession(
            venue=venue,
            market=market,
            settings=Settings(currency=currency, limits=NO_LIMITS),
            open_matcher=lambda: venue.matcher(scenario),
            margining=margining,
        ),
        title=venue.info.title,
        source=_bar_source(scenario, venue=venue.info.name, market=market),
        intervals=venue.info.capabilities[market].intervals,
        period=Period(warmup_ns=scenario.warmup_ns, until_ns=scenario.until_ns),
        account=StartingAccount(cash=Decimal(0), currency=currency, commission=Decimal(0)),  # the venue has them
        position_mode=PositionMode.ONE_WAY,
    )


def _check_leverages(margining: Margining, scenario: Scenario | None) -> None:
    """Refuse a leverage of what is not played: it would be a wish that nobody grants."""
    played = scenario.data if scenario is not None else {}
    strange = [each for each in margining.leverages if played and not {each, perpetual_of(each)} & set(played)]
    if strange:
        raise ConfigError(f"leverage= names {strange[0]}, and what is played is {', '.join(played)}")


def check_fills(fills: Any) -> None:
    """Refuse what ``fills=`` cannot be.

    Raises:
        ConfigError: it is unknown.
    """
    if fills not in {"bars", "stock", "venue"}:
        raise ConfigError(
            f"fills={fills!r}: write 'bars' (orders meet bars under the venue's rules), 'stock' (backtrader's own "
            "broker) or 'venue' (the simulator's exchange)"
        )


@functools.cache
def _opened(name: str) -> Venue:
    return open_venue(name)


def _check_played(scenario: Any) -> None:
    if scenario is None:
        return
    if not isinstance(scenario, Scenario):
        raise ConfigError(f"scenario={scenario!r} is none: write btx.scenario(data={{...}})")
    if not scenario.data and scenario.attach is None:
        raise ConfigError(
            "env='backtest' plays files or the cache: name files, btx.scenario(data={'BTC/USDT': 'btc.csv.gz'}), "
            "or leave scenario= out"
        )
    if scenario.faults or len(scenario.accounts) > 1:
        raise ConfigError(
            "faults and several accounts are of env='sim': a backtest has one account, and no wire to cut"
        )


def _bar_source(scenario: Scenario | None, *, venue: str, market: str) -> "BarSource":
    if scenario is not None and scenario.attach is None:
        from btx.storage.klines import FileBars

        return FileBars(files={symbol: Path(path) for symbol, path in scenario.data.items()})
    return CachedBars(
        open_venue=_opened, venue=venue, market=market, attach=scenario.attach if scenario is not None else None
    )


def _nominal(venue: str, base: str, quote: str, *, is_margined: bool) -> Instrument:
    """Return an instrument to ask fees of, where its grids are not known and not needed."""
    finest = Decimal("1e-8")
    return Instrument(
        venue=venue,
        symbol=f"{base}/{quote}",
        venue_symbol=f"{base}{quote}",
        kind=InstrumentKind.LINEAR if is_margined else InstrumentKind.SPOT,
        base=base,
        quote=quote,
        settle=quote,
        tick_size=finest,
        step_size=finest,
        min_quantity=Decimal(0),
    )
