"""Plugins: find venues by name, load one, check its API number, call its hooks with types."""

import contextlib
import difflib
import importlib.metadata
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from btx import hookspecs
from btx.config import Settings
from btx.errors import ConfigError, IncompatiblePluginError, PluginError, UnknownVenueError
from btx.model.account import AccountSnapshot, Lots
from btx.model.calendar import ALWAYS, Calendar
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.order import OrderRequest, Part, Veto
from btx.model.restrictions import Restrictions
from btx.model.venue import Endpoints, Environment, Scenario, VenueInfo
from btx.ports import Broker, Context, Feed, Matcher, Store, Stream
from btx.rules.account import Terms

__all__ = (
    "EXTENSIONS_GROUP",
    "VENUES_GROUP",
    "Venue",
    "installed_venues",
    "load_venue",
    "new_manager",
    "offer",
    "offered",
    "register_extensions",
)

VENUES_GROUP = "btx.venues"
EXTENSIONS_GROUP = "btx.extensions"

_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NAME = re.compile("[a-z][a-z0-9_-]*")  # what a venue can be called
_REQUIRED = ("btx_venue", "btx_store", "btx_broker", "btx_feed", "btx_websocket")


class Venue:
    """One loaded adapter: a method per venue hook, so that every call is typed."""

    def __init__(self, manager: pluggy.PluginManager, info: VenueInfo) -> None:
        self.info = info
        self.manager = manager

    def _ask(self, hook: str, **arguments: object) -> Any:
        answer = getattr(self.manager.hook, hook)(**arguments)
        if answer is None:
            raise PluginError(f"the adapter {self.info.name!r} answers nothing to the hook {hook}: it is required")
        return answer

    def store(self, context: Context) -> Store:
        """Return the port for instruments and account."""
        return self._ask("btx_store", context=context)  # type: ignore[no-any-return]

    def broker(self, context: Context) -> Broker:
        """Return the port for orders."""
        return self._ask("btx_broker", context=context)  # type: ignore[no-any-return]

    def feed(self, context: Context) -> Feed:
        """Return the port for history."""
        return self._ask("btx_feed", context=context)  # type: ignore[no-any-return]

    def websocket(self, context: Context) -> Stream:
        """Return the port for pushes."""
        return self._ask("btx_websocket", context=context)  # type: ignore[no-any-return]

    def plan(self, request: OrderRequest, lots: Lots | None) -> tuple[Part, ...]:
        """Return the venue orders a request becomes."""
        return self._ask("btx_plan", request=request, lots=lots)  # type: ignore[no-any-return]

    def commission(self, instrument: Instrument, account: AccountSnapshot | None) -> FeeSchedule:
        """Return the rates in force."""
        return self._ask("btx_commission", instrument=instrument, account=account)  # type: ignore[no-any-return]

    def calendar(self, instrument: Instrument) -> Calendar:
        """Return when an instrument trades; 24x7 where nobody says."""
        if not self.manager.hook.btx_calendar.get_hookimpls():
            return ALWAYS
        return self._ask("btx_calendar", instrument=instrument)  # type: ignore[no-any-return]

    def restrictions(self, instrument: Instrument) -> Restrictions:
        """Return what the venue restricts beside its filters."""
        return self._ask("btx_restrictions", instrument=instrument)  # type: ignore[no-any-return]

    def listed(self, scenario: Scenario) -> Sequence[Terms]:
        """Return the instruments a scenario plays, from the adapter's tables; nothing where it has none."""
        if not self.manager.hook.btx_listed.get_hookimpls():
            return ()
        return self._ask("btx_listed", scenario=scenario)  # type: ignore[no-any-return]

    def simulator(self, scenario: Scenario) -> AbstractAsyncContextManager[Endpoints]:
        """Return the adapter's simulator, to be entered on a running loop."""
        return self._ask("btx_simulator", scenario=scenario)  # type: ignore[no-any-return]

    def matcher(self, scenario: Scenario) -> Matcher:
        """Return the adapter's simulated venue without its wire.

        Raises:
            PluginError: the adapter has none.
        """
        if not self.manager.hook.btx_matcher.get_hookimpls():
            raise PluginError(
                f"the adapter {self.info.name!r} has no venue for backtests (the hook btx_matcher): leave fills= out"
            )
        return self._ask("btx_matcher", scenario=scenario)  # type: ignore[no-any-return]

    def secret(self, reference: str, settings: Settings) -> str | None:
        """Ask the extensions for the secret a reference names; None when it is nobody's."""
        return self.manager.hook.btx_secret(reference=reference, settings=settings)  # type: ignore[no-any-return]

    def check_order(self, request: OrderRequest, account: AccountSnapshot) -> str | None:
        """Ask every extension, each guarded singly; return the first veto's reason. An exception is a veto too."""
        for implementation in self.manager.hook.btx_check_order.get_hookimpls():
            arguments = {"request": request, "account": account}
            try:
                veto = implementation.function(*(arguments[name] for name in implementation.argnames))
            except Exception as error:  # noqa: BLE001 -- a broken check must stop the order, whatever broke
                return f"extension {implementation.plugin_name} failed: {type(error).__name__}: {error}"
            if isinstance(veto, Veto):
                return f"extension {implementation.plugin_name}: {veto.reason}"
            if veto is not None:
                return f"extension {implementation.plugin_name} failed: it answered {veto!r}, neither a Veto nor None"
        return None


_offered: dict[str, object] = {}


@contextlib.contextmanager
def offer(name: str, plugin: object) -> Iterator[None]:
    """Let :func:`load_venue` find an adapter that is not installed, for as long as the context lasts.

    It goes before an installed one of this name. Only this process knows it: ``btx sim`` does not.
    """
    before = _offered.get(name)
    _offered[name] = plugin
    try:
        yield
    finally:
        if before is None:
            del _offered[name]
        else:
            _offered[name] = before


def offered(name: str) -> object | None:
    """Return the adapter that is offered under a name without being installed, None when there is none."""
    return _offered.get(name)


def installed_venues() -> Mapping[str, importlib.metadata.EntryPoint]:
    """Return the entry points of all installed adapters by name; nothing is imported."""
    return {point.name: point for point in importlib.metadata.entry_points(group=VENUES_GROUP)}


def load_venue(name: str, *, defaults: object) -> Venue:
    """Import one adapter by name, in front of the core's ``defaults`` and between all extensions.

    Each venue has a manager of its own, so that no other venue can answer for it,
    while the wrappers of extensions stand around every venue's hooks.

    Raises:
        UnknownVenueError: no installed distribution offers it.
        PluginError: it cannot be imported, implements unknown hooks, or lacks required ones.
        IncompatiblePluginError: it was written for another hook API number.
    """
    point = _entry_point(name) if name not in _offered else None
    its_point = f"; its entry point is {point.value!r}" if point is not None else ""
    distribution = point.dist.name if point is not None and point.dist is not None else f"btx-{name}"
    who = f"the adapter {name!r} of {distribution}"
    try:
        plugin = point.load() if point is not None else _offered[name]
        info = plugin.btx_venue() if hasattr(plugin, "btx_venue") else None
    except Exception as error:
        raise PluginError(
            f"{who} cannot be imported ({type(error).__name__}: {error}{_place(error) or its_point}): "
            f"pip install --force-reinstall {distribution}, or mend it there if it is yours"
        ) from error
    if not isinstance(info, VenueInfo):
        raise PluginError(f"{who} answers no VenueInfo to the hook btx_venue: it is required{its_point}")
    _check_api(info, distribution)  # before its hooks are looked at: those may be another API's
    manager = new_manager()
    manager.register(defaults, name="btx defaults")
    register_extensions(manager)
    _register(manager, plugin, name=f"venue {name}", who=who)
    for hook in (*_REQUIRED, *(["btx_simulator"] if Environment.SIM in info.environments else [])):
        if all(each.wrapper or each.hookwrapper for each in getattr(manager.hook, hook).get_hookimpls()):
            raise PluginError(f"{who} does not implement the hook {hook}: it is required")
    return Venue(manager, info)


def _place(error: BaseException) -> str:
    """Say in which line of an adapter an error came up; nothing where none of its lines ran."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [each for each in frames if each.filename != __file__ and "importlib" not in each.filename]
    return f", {Path(theirs[-1].filename).name} line {theirs[-1].lineno}" if theirs else ""


def _entry_point(name: str) -> importlib.metadata.EntryPoint:
    points = [point for point in importlib.metadata.entry_points(group=VENUES_GROUP) if point.name == name]
    if not points and _is_distribution(f"btx-{name}"):
        raise UnknownVenueError(
            f"btx-{name} is installed and offers no venue {name!r}: in the group {VENUES_GROUP!r} of its entry points "
            f"write {name} = 'btx_{name}.plugin', and install it again"
        )
    if not points:
        known = ", ".join(sorted(installed_venues())) or "none"
        raise UnknownVenueError(f"no adapter for {name!r} is installed (installed: {known}): {_hint(name)}")
    owners = sorted({point.dist.name if point.dist is not None else point.value for point in points})
    if len(owners) > 1:
        raise PluginError(f"the venue {name!r} is offered by {' and '.join(owners)}: uninstall all but one")
    return points[0]


def _is_distribution(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return False
    return True


def _hint(name: str) -> str:
    """Say what to write in place of a name that nobody has."""
    near = difflib.get_close_matches(str(name).lower(), installed_venues(), n=1, cutoff=0.7)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"pip install btx-{name}" if _NAME.fullmatch(str(name)) else "write one of these"


def register_extensions(manager: pluggy.PluginManager) -> None:
    """Import the installed extensions; ``BTX_EXTENSIONS=a,b`` names the only ones wanted.

    Raises:
        PluginError: one of them cannot be imported, or implements unknown hooks.
        ConfigError: ``BTX_EXTENSIONS`` names one that is not installed.
    """
    points = {point.name: point for point in importlib.metadata.entry_points(group=EXTENSIONS_GROUP)}
    for name in _wanted_extensions(points):
        who = f"the extension {name!r}"
        try:
            plugin = points[name].load()
        except Exception as error:
            raise PluginError(
                f"{who} cannot be imported ({type(error).__name__}: {error}): "
                f"uninstall it, or leave it out with BTX_EXTENSIONS"
            ) from error
        _register(manager, plugin, name=name, who=who)
    for check in manager.hook.btx_check_order.get_hookimpls():
        if check.wrapper or check.hookwrapper:  # each is called singly, so that none can silence another
            raise PluginError(f"the extension {check.plugin_name!r} wraps btx_check_order: answer a Veto instead")


def _wanted_extensions(installed: Mapping[str, object]) -> list[str]:
    setting = os.environ.get("BTX_EXTENSIONS")
    if setting is None:
        return sorted(installed)
    wanted = [name.strip() for name in setting.split(",") if name.strip()]
    if strange := [name for name in wanted if name not in installed]:
        known = ", ".join(sorted(installed)) or "none"
        raise ConfigError(f"BTX_EXTENSIONS names {', '.join(strange)}, which is not installed (installed: {known})")
    return sorted(wanted)


def new_manager() -> pluggy.PluginManager:
    """Return a manager that knows the hooks and no plugin; ``BTX_TRACE_HOOKS=1`` makes it print each call."""
    manager = pluggy.PluginManager("btx")
    manager.add_hookspecs(hookspecs)
    if os.environ.get("BTX_TRACE_HOOKS"):
        manager.trace.root.setwriter(sys.stderr.write)
        manager.enable_tracing()
    return manager


def _misfits(manager: pluggy.PluginManager, plugin: object) -> Iterator[str]:
    """Say what of a plugin's hooks cannot be, each with its cure."""
    hooks = [each for each in dir(hookspecs) if each.startswith("btx_")]
    for name in (each for each in dir(plugin) if not each.startswith("_")):  # pluggy passes the others over, too
        function = getattr(plugin, name)
        if (words := manager.parse_hookimpl_opts(plugin, name)) is None:
            if name in hooks and inspect.isfunction(function) and function.__module__ == _name_of(plugin):
                yield f"nobody calls its {name}: write @hookimpl above it"
            continue
        hook = words.get("specname") or name
        if hook not in hooks:
            near = difflib.get_close_matches(hook, hooks, n=1)
            yield f"there is no hook {hook}: " + (
                f"did you mean {near[0]}?" if near else f"choose of {', '.join(hooks)}"
            )
            continue
        given = list(inspect.signature(getattr(hookspecs, hook)).parameters)
        if strange := [each for each in _wanted(function) if each not in given]:
            yield f"the hook {hook} is given {', '.join(given) or 'nothing'}, and not {', '.join(strange)}"
        elif inspect.iscoroutinefunction(function):
            yield f"the hook {hook} is called without await: write def in place of async def"


def _name_of(plugin: object) -> str | None:
    return plugin.__name__ if isinstance(plugin, ModuleType) else None


def _wanted(function: Any) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [each.name for each in parameters if each.default is each.empty and each.kind in _BY_POSITION]


def _register(manager: pluggy.PluginManager, plugin: object, *, name: str, who: str) -> None:
    for misfit in _misfits(manager, plugin):
        raise PluginError(f"{who} does not fit this core: {misfit}")
    try:
        manager.register(plugin, name=name)
        manager.check_pending()
    except (pluggy.PluginValidationError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise PluginError(f"{who} does not fit this core: {reason}") from error


def _check_api(info: VenueInfo, distribution: str) -> None:
    if info.api != hookspecs.API:
        older = distribution if info.api < hookspecs.API else "btx-core"
        raise IncompatiblePluginError(
            f"{distribution} speaks hook API {info.api}, btx-core speaks {hookspecs.API}: pip install -U {older}"
        )
