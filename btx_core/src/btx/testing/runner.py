"""The runner: plays cards at one market of one adapter, those of a group on one world where they allow it."""

import asyncio
import contextlib
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import attrs

from btx.errors import BtxError, ConfigError
from btx.model.instrument import Instrument
from btx.model.time import NS_PER_HOUR
from btx.model.venue import Scenario
from btx.plugins import offer
from btx.testing.bench import Bench
from btx.testing.card import DEADLINE_S, Card, CardFailedError, CardSkippedError, Kind, Outcome, Place, Result
from btx.testing.hall import Hall
from btx.testing.opening import bench_of
from btx.testing.simulators import Simulators
from btx.testing.subject import Subject, subject_of

__all__ = ("Runner",)

_CARD_S = 4  # deadlines: the longest a card of the ports may take


class Runner:
    """Plays cards; close it, and the simulators end.

    ``plugin`` is an adapter's module that is not installed; without it ``venue``
    is found by its entry point.  ``scenario`` is what every world of the market
    has other than the usual one: symbols, an origin.
    """

    def __init__(
        self,
        venue: str,
        market: str,
        *,
        plugin: object | None = None,
        scenario: Mapping[str, Any] | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._stack = ExitStack()
        self._changes = dict(scenario or {})
        self._deadline_s = deadline_s
        self._group: _Group | None = None
        self._simulators: Simulators | None = None
        self._known: _Usual | None = None
        try:
            if plugin is not None:
                self._stack.enter_context(offer(venue, plugin))
            self.subject: Subject = subject_of(venue, market)
            self._folder = self._stack.enter_context(_home())
        except BaseException:
            self._stack.close()
            raise
        if market not in self.subject.info.capabilities:
            self._stack.close()
            raise ConfigError(f"{venue} has no market {market!r}: choose of {', '.join(self.subject.info.markets)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything; an adapter that does not let go was told of by a card."""
        with contextlib.suppress(CardFailedError):
            self._leave_group()
        if self._simulators is not None:
            self._simulators.close()
            self._simulators = None
        self._stack.close()

    # --- one card ---------------------------------------------------------------------------------------------

    def run(self, card: Card) -> Result:
        """Play a card and return what came of it; nothing is raised for an adapter that is broken."""
        began = time.perf_counter()
        outcome, reason = self._judge(card)
        return Result(
            number=card.number,
            title=card.title,
            outcome=outcome,
            reason=reason,
            seconds=time.perf_counter() - began,
        )

    def _judge(self, card: Card) -> tuple[Outcome, str]:
        if why := card.why_not(self.subject.info, self.subject.market):
            return Outcome.SKIPPED, why
        try:
            self._play(card)
        except CardSkippedError as error:
            return Outcome.SKIPPED, str(error)
        except CardFailedError as error:
            return Outcome.FAILED, f"{error}; look at {card.hint}"
        except Exception as error:  # noqa: BLE001 -- whatever an adapter raises where it should not is a finding
            return Outcome.FAILED, f"{_unexpected(error, self.subject.package)}; look at {card.hint}"
        return Outcome.PASSED, ""

    def _play(self, card: Card) -> None:
        match card.kind:
            case Kind.STATIC:
                card.check(self.subject)
            case Kind.RUN:
                self._leave_group()
                card.check(self._hall())
            case Kind.PORTS:
                self._play_on_ports(card)

    # --- the ports ----------------------------------------------------------------------------------------------

    def _play_on_ports(self, card: Card) -> None:
        if card.alone or self._group is None or self._group.letters != card.group:
            self._leave_group()
            self._group = _Group(card.group, self._open(card.world(self._place()) if card.world else {}))
        group = self._group
        is_clean = False
        try:
            group.run(self._timed(card, group.bench))
            is_clean = not card.alone
        except (CardSkippedError, CardFailedError):
            is_clean = not card.alone
            raise
        finally:
            if not is_clean or group.bench.pace.is_worn() or not group.tidied():
                self._leave_group()

    async def _timed(self, card: Card, bench: Bench) -> None:
        limit_s = self._deadline_s * _CARD_S
        try:
            async with asyncio.timeout(limit_s):
                await card.check(bench)
        except TimeoutError as error:
            raise CardFailedError(f"expected an end within {limit_s:g} s, and something never answered") from error

    def _open(self, world: Mapping[str, Any]) -> Callable[[AsyncExitStack], Any]:
        async def enter(stack: AsyncExitStack) -> Bench:
            endpoints = stack.enter_context(self._served(**world))
            return await stack.enter_async_context(
                bench_of(
                    self.subject.venue,
                    self.subject.market,
                    endpoints,
                    deadline_s=self._deadline_s,
                    symbols=self._symbols(),
                )
            )

        return enter

    def _leave_group(self) -> None:
        group, self._group = self._group, None
        if group is not None:
            group.close()

    # --- worlds ---------------------------------------------------------------------------------------------------

    def scenario(self, **changes: Any) -> Scenario:
        """Return the world that cards share: in lockstep, with some history, long enough for all of a group."""
        usual = Scenario(seed=7, market=self.subject.market, warmup_ns=4 * NS_PER_HOUR, until_ns=10 * NS_PER_HOUR)
        return attrs.evolve(usual, **{**self._changes, **changes})

    def _symbols(self) -> tuple[str, ...]:
        return tuple(self._changes.get("symbols") or ())

    def _place(self) -> Place:
        def usual() -> tuple[Instrument, Decimal]:
            return self._usual().instrument, self._usual().price

        return Place(can=self.subject.can, usual=usual, folder=self._folder)

    def _usual(self) -> "_Usual":
        """Return what the usual world has; its simulator is asked once."""
        if self._known is None:
            group = _Group("", self._open({}))
            try:
                self._known = group.run(_usual_of(group.bench))
            finally:
                group.close()
        return self._known

    @contextlib.contextmanager
    def _served(self, **changes: Any) -> Iterator[Any]:
        if self._simulators is None:
            self._simulators = Simulators()
        with self._simulators.serve(self.subject.venue, self.scenario(**changes)) as endpoints:
            yield endpoints

    def _hall(self) -> Hall:
        symbols = self._usual().symbols
        if self._simulators is None:
            self._simulators = Simulators()
        return Hall(
            venue=self.subject.venue,
            market=self.subject.market,
            simulators=self._simulators,
            symbols=symbols,
            deadline_s=self._deadline_s,
            scenario=self.scenario,
        )


@attrs.frozen(kw_only=True)
class _Usual:
    """What is traded in the usual world: one or two symbols, and the first of them."""

    symbols: tuple[str, ...]
    instrument: Instrument
    price: Decimal


async def _usual_of(bench: Bench) -> _Usual:
    symbols = tuple(filter(None, (bench.symbol, bench.other)))
    return _Usual(symbols=symbols, instrument=bench.instrument, price=await bench.price())


class _Group:
    """A bench that several cards use after each other, and the loop it lives on."""

    def __init__(self, letters: str, enter: Callable[[AsyncExitStack], Any]) -> None:
        self.letters = letters
        self._stack = AsyncExitStack()
        self._runner = asyncio.Runner()
        try:
            self.bench: Bench = self._runner.run(enter(self._stack))
        except BaseException:
            self.close()
            raise

    def run(self, coroutine: Any) -> Any:
        return self._runner.run(coroutine)

    def tidied(self) -> bool:
        """Take away what a card left; say whether the next one may come."""
        try:
            self._runner.run(self.bench.tidy())
        except (BtxError, CardFailedError):
            return False
        return True

    def close(self) -> None:
        try:
            self._runner.run(self._stack.aclose())
        finally:
            self._runner.close()


@contextlib.contextmanager
def _home() -> Iterator[Path]:
    """Keep what runs write down in a folder that goes with the runner; the folder."""
    before = os.environ.get("BTX_HOME")
    with tempfile.TemporaryDirectory(prefix="btx-conformance-") as folder:
        os.environ["BTX_HOME"] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["BTX_HOME"]
            else:
                os.environ["BTX_HOME"] = before


def _unexpected(error: BaseException, package: str) -> str:
    """Say what an adapter raised, and in which of its own lines: of what led to it the first, where it has one."""
    text = str(error) or "no message"
    awaits = " (is an await missing?)" if "coroutine" in text else ""
    where = next((place for each in reversed(list(_chain(error))) if (place := _line_of(each, package))), None)
    place = where or _line_of(error, "") or "?"
    return f"expected no error here, and {type(error).__name__} came from {place}: {text}{awaits}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def _line_of(error: BaseException, package: str) -> str:
    """Return the last line of a package that an error came through, nothing where there is none."""
    frames = [(frame.f_globals.get("__name__", "?"), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    of_it = [(name, line) for name, line in frames if f"{name}.".startswith(f"{package}." if package else "")]
    return ":".join(map(str, of_it[-1])) if of_it else ""
