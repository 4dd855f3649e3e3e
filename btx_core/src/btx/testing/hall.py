"""A hall: whole runs of an adapter, as a user makes them: ``btx.load``, a cerebro, a strategy, on its simulator."""

import contextlib
import io
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs

from btx import compose, worlds
from btx.bt.scripted import Scripted, scripted_cerebro
from btx.model.venue import Capabilities, Endpoints, Scenario, VenueInfo
from btx.plugins import Venue
from btx.rules.backoff import Backoff
from btx.rules.breaker import Breaker
from btx.runtime.bars import BarTimes
from btx.runtime.facts import Timing
from btx.testing.asking import ask
from btx.testing.card import CardFailedError
from btx.testing.simulators import Simulators

__all__ = ("TIMING", "Hall", "Run", "World")

_numbers = itertools.count(1)

TIMING = Timing(
    redial=Backoff(base_s=0.05, cap_s=1.0),
    patience_s=0.8,
    settle_pause_s=0.05,
    poll_s=0.5,
    audit_s=2.0,
    grace_drift_s=0.2,
    nudge_s=0.3,
    bars=BarTimes(late_pause_s=0.05),
    breaker=Breaker(open_ns=500_000_000),
)
"""On loopback nothing is under way for long, so what is lost is settled quickly."""


@attrs.define(kw_only=True)
class World:
    """One simulator that runs, for one run or for several after each other."""

    hall: "Hall"
    endpoints: Endpoints
    symbol: str
    other: str
    number: int  # unlike that of any world before it in this process

    @property
    def api_key(self) -> str:
        """The account's key."""
        return self.endpoints.accounts[0].api_key

    def ask(self, operation: str, **arguments: object) -> Mapping[str, Any]:
        """Ask the simulator's control channel, as this account. Any thread."""
        return ask(self.endpoints.control, operation, api_key=self.api_key, **arguments)

    def ledger(self) -> Mapping[str, Any]:
        """Return the account as the simulator has it."""
        return self.ask("ledger")

    def faults(self, *faults: Mapping[str, Any]) -> None:
        """Let these go wrong from now on."""
        self.ask("faults", script={"faults": list(faults)})

    def journal(self, keep: str) -> str:
        """Return what a journal of this world is kept as: no other world's has the name."""
        return f"{keep}_{self.number}"

    def load(self, *, keep: str | None = None, **words: Any) -> Any:
        """Return the store of the account on this world; ``keep`` names its journal."""
        scenario = worlds.scenario(attach=self.endpoints.control)
        words.setdefault("timing", TIMING)
        words.setdefault("limits", None)
        return compose.load(
            self.hall.venue.info.name,
            env="sim",
            market=self.hall.market,
            scenario=scenario,
            keep=self.journal(keep) if keep is not None else None,
            **words,
        )


@attrs.frozen(kw_only=True)
class Run:
    """A run that ended."""

    strategy: Scripted
    store: Any


@attrs.define(kw_only=True)
class Hall:
    """What a card of whole runs works with."""

    venue: Venue
    market: str
    simulators: Simulators
    symbols: tuple[str, ...]
    deadline_s: float
    scenario: Callable[..., Scenario]

    @property
    def info(self) -> VenueInfo:
        """The adapter's visiting card."""
        return self.venue.info

    @property
    def can(self) -> Capabilities:
        """What the market declares."""
        return self.venue.info.capabilities[self.market]

    @contextlib.contextmanager
    def world(self, **changes: Any) -> Iterator[World]:
        """Serve a world for as long as the context lasts."""
        with self.simulators.serve(self.venue, self.scenario(**changes)) as endpoints:
            yield World(
                hall=self,
                endpoints=endpoints,
                symbol=self.symbols[0],
                other=(*self.symbols[1:], "")[0],
                number=next(_numbers),
            )

    def play(
        self,
        store: Any,
        steps: Mapping[int, Callable[[Any], Any]],
        *,
        datas: Iterable[Mapping[str, Any]],
        on_stop: str = "keep_protection",
        last: int | None = None,
    ) -> Run:
        """Run a scripted strategy until the world ends, or until its ``last`` live bar; raise what the run raised.

        Raises:
            CardFailedError: the run does not end.
        """
        cerebro = scripted_cerebro(store, datas, steps=steps, on_stop=on_stop, last=last)
        found: list[Any] = []

        def run() -> None:
            try:
                with contextlib.redirect_stderr(io.StringIO()):  # what a run tells its user is not for who proves it
                    found.extend(cerebro.run())
            except BaseException as error:  # noqa: BLE001 -- it is raised where it is waited for
                found.append(error)

        thread = threading.Thread(target=run, name="btx-conformance-run", daemon=True)
        thread.start()
        thread.join(self.deadline_s * 3)
        if thread.is_alive():
            cerebro.runstop()
            store.session.stop()
            thread.join(self.deadline_s)
            raise CardFailedError(
                f"expected cerebro.run() to end with the market, and it went on for {self.deadline_s * 3:g} s"
            )
        (ended,) = found
        if isinstance(ended, BaseException):
            raise ended
        return Run(strategy=ended, store=store)
