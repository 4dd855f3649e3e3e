"""Load and packaging: an adapter is found, fits this core, and says what is so."""

import functools
import importlib.metadata
import re
import subprocess
import sys

import attrs

from btx.hookspecs import API
from btx.model.order import OrderType
from btx.model.venue import Channel, Environment
from btx.testing.card import CardFailedError, expect, skip, static_card
from btx.testing.subject import Subject

__all__ = ()

_HEAVY = ("backtrader", "ccxt", "cryptofeed", "futu", "openctp_ctp", "pandas", "pybit")
_OURS = "0123456789abcdefghijklmnopqrstuv"  # what the core makes its ids of
_ID_LENGTH = 12
# What a session asks of a venue, as the operations that may cost something.
_OPERATIONS = frozenset(
    (
        *("place", "place_oco", "place_oto", "place_otoco", "place_trailing_stop", "replace", "amend", "dead_man"),
        *("cancel", "cancel_trailing_stop", "cancel_all"),
        *("query", "open_orders", "open_orders_one", "fills", "account", "bookings", "fees", "key_rights", "time"),
        *("instruments", "leverage_tiers", "set_leverage", "set_margin_mode", "set_position_mode", "mark_price"),
        *("bars", "archive", "last_price", "book", "book_top", "trades", "funding_rates"),
    )
)


@static_card("LOAD-01", "The adapter speaks this core's hook API number", hint="VenueInfo.api: hookspecs.API")
def _api(subject: Subject) -> None:
    expect(subject.info.api == API, f"expected hook API {API}, and the adapter speaks {subject.info.api}")


@static_card("LOAD-02", "The adapter's name is the one it is loaded by", hint="VenueInfo.name and the entry point")
def _name(subject: Subject) -> None:
    expect(subject.info.name == subject.name, f"expected the name {subject.name!r}, and it says {subject.info.name!r}")
    expect(bool(subject.info.title.strip()), "expected a title for people in VenueInfo.title, and it is empty")


@static_card("LOAD-03", "Importing the plugin imports no exchange library", hint="imports inside the hooks, not above")
def _lazy(subject: Subject) -> None:
    if subject.module is None:
        skip("the plugin is no module that could be imported by itself")
    assert subject.module is not None
    heavy = _loaded_with(subject.module.__name__) & (set(_HEAVY) | _required_by(subject))
    expect(
        not heavy, f"expected the plugin to import hooks and values alone, and it imports {', '.join(sorted(heavy))}"
    )


@functools.cache
def _loaded_with(module: str) -> frozenset[str]:
    """Return the packages that a new process has after importing a module."""
    done = subprocess.run(  # noqa: S603 -- this Python, and a module that was imported already
        [sys.executable, "-c", f"import {module}, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        words = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise CardFailedError(f"expected {module} to be imported by a new process, and it was not: {words[0]}")
    return frozenset(name.partition(".")[0] for name in done.stdout.split())


def _required_by(subject: Subject) -> set[str]:
    """Return the packages of the distributions that the adapter asks for beside btx-core."""
    distribution = subject.distribution
    if distribution is None:
        return set()
    wanted = {
        re.split(r"[^A-Za-z0-9._-]", each)[0].lower() for each in distribution.requires or () if "extra" not in each
    }
    light = {"btx-core", "attrs", "pluggy", "aiohttp"}  # the core has them anyway
    offered = importlib.metadata.packages_distributions()
    return {package for package, owners in offered.items() if {each.lower() for each in owners} & (wanted - light)}


@static_card("LOAD-04", "Every market has its capabilities, and there are no others", hint="VenueInfo.markets")
def _markets(subject: Subject) -> None:
    info = subject.info
    expect(len(set(info.markets)) == len(info.markets), f"expected each market once, and there are {info.markets}")
    expect(
        set(info.markets) == set(info.capabilities),
        f"expected capabilities of {', '.join(info.markets)}, and there are those of {', '.join(info.capabilities)}",
    )
    for name, words in (("limits", info.limits), ("costs", info.costs)):
        strange = set(words) - set(info.markets)
        expect(not strange, f"expected {name} of declared markets, and there are those of {', '.join(sorted(strange))}")


@static_card("LOAD-05", "The adapter brings a simulator", hint="the hook btx_simulator, and Environment.SIM")
def _has_simulator(subject: Subject) -> None:
    expect(Environment.SIM in subject.info.environments, "expected env='sim' among VenueInfo.environments")
    expect(
        bool(subject.venue.manager.hook.btx_simulator.get_hookimpls()),
        "expected an implementation of the hook btx_simulator, and there is none",
    )


@static_card("LOAD-06", "An order can be sent: market or limit orders are declared", hint="Capabilities.order_types")
def _has_orders(subject: Subject) -> None:
    types = subject.can.order_types
    expect(bool(types & {OrderType.MARKET, OrderType.LIMIT}), f"expected MARKET or LIMIT, and {len(types)} types are")


@static_card("LOAD-07", "What is declared fits together", hint="Capabilities of the market")
def _fits(subject: Subject) -> None:
    can = subject.can
    expect(Channel.ACCOUNT in can.channels, "expected the channel ACCOUNT: orders and fills are pushed over it")
    expect(
        (Channel.BAR in can.channels) <= bool(can.intervals), "expected intervals beside the channel BAR, and none are"
    )
    expect(len(set(can.intervals)) == len(can.intervals), "expected each interval once in Capabilities.intervals")
    expect(can.streams_per_connection >= 1, f"expected room for a stream, not {can.streams_per_connection}")
    if can.margined:
        expect(Channel.MARK in can.channels or not can.position_modes, "expected the channel MARK of a margined market")
    else:
        expect(
            not (can.position_modes or can.margin_modes or can.reduce_only),
            "expected no position modes, margin modes or reduce-only orders where nothing is on margin",
        )
    if can.trailing_bps is not None:
        low, high = can.trailing_bps
        expect(0 < low <= high, f"expected the smallest trail before the largest, and they are {low} and {high}")
        expect(
            OrderType.TRAILING_STOP in can.order_types, "expected TRAILING_STOP among the order types beside a trail"
        )


@static_card("LOAD-08", "The venue takes client order ids as the core makes them", hint="ClientIdSpec: 12 of 0-9 a-v")
def _ids(subject: Subject) -> None:
    spec = subject.info.client_id
    expect(spec.max_len >= _ID_LENGTH, f"expected room for {_ID_LENGTH} characters, and there is for {spec.max_len}")
    strange = "".join(each for each in _OURS if each not in spec.alphabet)
    expect(not strange, f"expected {_OURS} in the alphabet, and {strange} is not in it")


@static_card(
    "LOAD-09", "Every cost is of a port's operation, and counts against a limit", hint="VenueInfo.costs, limits"
)
def _costs(subject: Subject) -> None:
    limits = {each.name for each in subject.info.limits.get(subject.market, ())}
    for operation, cost in subject.info.costs.get(subject.market, {}).items():
        expect(operation in _OPERATIONS, f"expected an operation of a port, and there is a cost of {operation!r}")
        strange = set(cost) - limits
        expect(not strange, f"expected limits {limits or 'none'}, and {operation} counts against {', '.join(strange)}")
        expect(all(units > 0 for units in cost.values()), f"expected units above zero, and {operation} costs {cost}")


@static_card("LOAD-10", "Every limit counts something in some time", hint="VenueInfo.limits")
def _limits(subject: Subject) -> None:
    limits = subject.info.limits.get(subject.market, ())
    names = [(each.name, each.window_s) for each in limits]
    expect(len(set(names)) == len(names), f"expected each limit once, and there are {names}")
    for each in limits:
        expect(each.limit > 0 and each.window_s > 0, f"expected a limit above zero in a time, and {each} has not")
        expect(each.scope in {"ip", "account"}, f"expected scope 'ip' or 'account', and {each.name} has {each.scope!r}")


@static_card(
    "LOAD-11", "Settings of the adapter's own are an attrs class with a default for each", hint="VenueInfo.settings"
)
def _settings(subject: Subject) -> None:
    settings = subject.info.settings
    if settings is None:
        skip("the adapter has no settings of its own")
    assert settings is not None
    expect(attrs.has(settings), f"expected an attrs class in VenueInfo.settings, and it is {settings!r}")
    bare = [each.name for each in attrs.fields(settings) if each.default is attrs.NOTHING]
    expect(not bare, f"expected a default of each option, and {', '.join(bare)} has none: nobody could leave it out")


@static_card("LOAD-12", "The visiting card is the same whenever it is asked for", hint="the hook btx_venue: a constant")
def _constant(subject: Subject) -> None:
    again = subject.venue.manager.hook.btx_venue()
    expect(again == subject.info, "expected the same VenueInfo from btx_venue again, and it differs")


@static_card("LOAD-13", "The distribution names btx-core among what it needs", hint="dependencies in pyproject.toml")
def _needs_core(subject: Subject) -> None:
    distribution = subject.distribution
    if distribution is None:
        skip("the adapter is not installed")
    assert distribution is not None
    needed = [re.split(r"[^A-Za-z0-9._-]", each)[0].lower() for each in distribution.requires or ()]
    expect(
        "btx-core" in needed, f"expected btx-core among the requirements, and there are {', '.join(needed) or 'none'}"
    )
