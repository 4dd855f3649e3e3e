"""What a session has beside its venue: its journal, its recording, and what other processes ask of it."""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from decimal import Decimal
from pathlib import Path

from btx.config import Settings, home, proxy_secrets
from btx.errors import ConfigError
from btx.model.venue import Endpoints, Environment
from btx.ops.alerts import Alarms, Webhook
from btx.ports import Clock, Journal
from btx.runtime.facts import OpenJournal, OpenRecording
from btx.storage.places import JOURNAL, account_folder
from btx.storage.presence import remove_presence, write_presence
from btx.storage.recording import Recorder, check_folder
from btx.storage.requests import RequestKind, take_requests

__all__ = ("Outside", "journal_of", "record_folder", "recording_of")


class Outside:
    """What reaches a session from other processes, what it tells them, and whom it alarms."""

    def __init__(self, settings: Settings, *, name: str, folder: Callable[..., Path] | None) -> None:
        self._settings = settings
        self._name = name
        self._folder_of = folder
        self._folder: Path | None = None
        self._webhook: Webhook | None = None
        self._alarms: Alarms | None = None

    def enter(self, *, api_key: str, endpoints: Endpoints | None) -> None:
        """Say that this process trades on the account."""
        if self._settings.webhook:
            self._webhook = Webhook(self._settings.webhook, session=self._name)
            self._alarms = Alarms(self._webhook.tell)
        if self._folder_of is not None:
            self._folder = self._folder_of(api_key=api_key)
            where = None
            if endpoints is not None:
                from btx.sim.texts import endpoints_to_json

                where = endpoints_to_json(endpoints)
            write_presence(self._folder, pid=os.getpid(), endpoints_json=where)

    def look(
        self, *, halted: str | None, naked: Mapping[str, Decimal], unknown: Collection[str]
    ) -> tuple[tuple[str, str], ...]:
        """Tell what is so, and return what is asked: ``("halt", reason)`` or ``("resume", "")``."""
        if self._alarms is not None:
            self._alarms.look(now_ns=time.monotonic_ns(), halted=halted, naked=naked, unknown=unknown)
        if self._folder is None:
            return ()
        return tuple(
            ("halt" if each.kind is RequestKind.HALT else "resume", each.reason) for each in take_requests(self._folder)
        )

    def leave(self) -> None:
        """Say that it does no longer."""
        if self._webhook is not None:
            self._webhook.close()
        if self._folder is not None:
            remove_presence(self._folder)
        self._webhook = self._alarms = self._folder = None


def journal_of(venue: str, environment: Environment, market: str, keep: str | None, *, is_kept: bool) -> OpenJournal:
    """Return what opens an account's journal; of a world that is not kept it goes with the run."""

    @contextlib.contextmanager
    def opened(api_key: str, on_fault: Callable[[str], None]) -> Iterator[Journal]:
        from btx.storage.journal import open_journal  # the database library is needed where orders are

        with contextlib.ExitStack() as resources:
            if not is_kept:
                place = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="btx-")))
            else:
                place = account_folder(
                    home(), venue=venue, environment=environment, market=market, api_key=api_key, world=keep
                )
            journal = open_journal(place / JOURNAL, on_fault=on_fault)
            resources.callback(journal.close)
            yield journal

    return opened


def record_folder(record: str | Path | None) -> Path | None:
    """Return the folder that ``record=`` or ``BTX_RECORD`` names, None where nothing is written down.

    Raises:
        ConfigError: it cannot be one.
    """
    text = record if record is not None else os.environ.get("BTX_RECORD", "")
    if not text:
        return None
    if not isinstance(text, str | Path):
        raise ConfigError(f"record={text!r}: write the path of a folder")
    folder = Path(text).expanduser()
    check_folder(folder, said=f"record={str(record)!r}" if record is not None else f"BTX_RECORD={text}")
    return folder


def recording_of(venue: str, environment: Environment, market: str, folder: Path) -> OpenRecording:
    """Return what begins a recording of a session, without its secrets."""

    def opened(clock: Clock, settings: Settings, on_fault: Callable[[str], None]) -> Recorder:
        return Recorder(
            folder,
            about={
                "session": f"{venue}/{environment.value}/{market}",
                "venue": venue,
                "environment": environment.value,
                "market": market,
            },
            clock=clock,
            secrets=(
                *(each.reveal() for each in (settings.api_key, settings.api_secret, settings.webhook)),
                *proxy_secrets(settings.proxy),
            ),
            on_fault=on_fault,
        )

    return opened
