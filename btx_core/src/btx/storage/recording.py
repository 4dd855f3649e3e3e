"""A flight recorder: every frame of a run, and what the live path made of it, in files that outlive a kill.

A recording is JSON lines in gzip members, one member per flush, in parts
``<session>-<start>-<part>.jsonl.gz``.  The line's ``k`` says what it is: a
:class:`btx.model.frames.FrameKind`, or

=========  ==============================================================================
header     the first line of each part: venue, market, environment, part
data       a feed of bars was opened; ``market``: quotes, trades or a book beside it
bar        a closed bar was delivered: what it is in ``n``, what it says in ``t``
left       the strategy began to go: of bars that are pushed from here on, some are not delivered
event      the account stream told something of an order, or an order of ours took a step
order      an order was handed over; ``placed``: what came of it
mark       what there was until then (:mod:`btx.storage.tally`); ``trailer`` is the last one
dropped    so many frames are missing here, because the disk was slower than the wire
=========  ==============================================================================

Secrets are blotted out before a line reaches the queue.
"""

import base64
import contextlib
import gzip
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from btx.errors import ConfigError
from btx.model.account import AccountSnapshot
from btx.model.frames import Frame
from btx.model.market import Bar
from btx.model.order import Fill, Order, OrderReport
from btx.model.time import NS_PER_HOUR, Interval
from btx.model.venue import Channel
from btx.ports import Broker, Clock, Tap
from btx.storage.handed import RecordingBroker
from btx.storage.redaction import Redactor
from btx.storage.tally import Tally

__all__ = ("SUFFIX", "VERSION", "Limits", "Recorder", "check_folder")

SUFFIX = ".jsonl.gz"
VERSION = 1
_LINES_EACH = 100  # between two looks at who else wants to run
_WAKE_AT = 2048  # entries in the queue that are worth waking the writer for
_JOIN_S = 5.0


@attrs.frozen(kw_only=True)
class Limits:
    """How much a recorder may use."""

    queue: int = 50_000  # entries in memory
    queue_bytes: int = 64 * 1024 * 1024  # of frames in memory
    part_bytes: int = 256 * 1024 * 1024  # of a part, compressed
    part_ns: int = NS_PER_HOUR
    keep_bytes: int = 20 * 1024**3  # of all recordings in the folder: the oldest parts go first
    flush_s: float = 0.5  # what a kill may cost
    level: int = 3  # of compression


def check_folder(folder: Path, *, said: str) -> None:
    """Make the folder of the recordings; ``said`` is how the user named it.

    Raises:
        ConfigError: nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{said}: the folder cannot be made ({error.strerror}): name another") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{said}: nothing can be written there: name another folder")


class Recorder:
    """Writes one run down, on a thread of its own; what it cannot keep up with is counted, never waited for."""

    def __init__(
        self,
        folder: Path,
        *,
        about: Mapping[str, Any],
        clock: Clock,
        secrets: Iterable[str],
        on_fault: Callable[[str], None],
        limits: Limits | None = None,
    ) -> None:
        """Begin; ``about`` goes into the header. ``on_fault`` is told, on another thread, why the recording ended.

        Raises:
            OSError: the file cannot be made.
        """
        self._limits = limits or Limits()
        self._clock = clock
        self._redact = Redactor(secrets)
        self._tally = Tally()
        self._known: set[str] = set()  # orders that were handed over
        self._queue: deque[tuple[Any, ...]] = deque()
        self._bytes_in = 0  # each of the two is counted by one thread alone
        self._bytes_out = 0
        self._numbers = 0
        self._dropped = 0
        self._wake = threading.Event()
        self._is_over = False
        self._has_left = False
        self._writer = _Writer(folder, about=about, clock=clock, limits=self._limits)
        self._on_fault = on_fault
        self._told_dropped = 0
        self._thread = threading.Thread(target=self._run, name="btx-recorder", daemon=True)
        self._thread.start()

    # --- what the run tells ----------------------------------------------------------------------------------

    @property
    def tap(self) -> Tap:
        """What hears the frames."""
        return self

    @property
    def path(self) -> Path:
        """The part that is written now."""
        return self._writer.path

    @property
    def dropped(self) -> int:
        """How many entries the disk was too slow for."""
        return self._dropped

    def number(self) -> int:
        """Return a number for a new connection or request."""
        self._numbers += 1
        return self._numbers

    def __call__(self, frame: Frame) -> None:
        """Take a frame."""
        if self._is_over:
            return
        text = frame.text
        text = self._redact(text) if isinstance(text, str) else self._redact_bytes(text)
        url = self._redact(frame.url) if frame.url else ""
        self._put("frame", frame, text, url, size=len(text))

    def data(
        self,
        *,
        symbol: str,
        interval: Interval,
        start_ns: int | None,
        counted: int | None,
        end_ns: int | None,
        live: bool,
        from_trades: bool,
        fills: bool,
    ) -> None:
        """A feed of bars was opened."""
        spec = {"symbol": symbol, "interval": str(interval), "start_ns": start_ns, "end_ns": end_ns, "live": live}
        spec |= {"counted": counted, "from_trades": from_trades, "fills": fills}
        self._put("line", {"k": "data", **spec})

    def market(self, *, symbol: str, channel: Channel, depth: int) -> None:
        """Quotes, trades or a book were asked for beside the bars."""
        self._put("line", {"k": "market", "symbol": symbol, "channel": channel.value, "depth": depth})

    def bar(self, bar: Bar) -> None:
        """A closed bar was delivered."""
        if (counted := self._tally.bar(bar)) is not None:
            self._put("line", {"k": "bar", "n": counted[0], "t": counted[1]})

    def left(self) -> None:
        """The strategy has begun to go."""
        if not self._has_left:
            self._has_left = True
            self._put("line", {"k": "left"})

    def account(self, event: OrderReport | Fill) -> None:
        """The account stream told something of an order."""
        if (line := self._tally.account(event)) is not None:
            self._put("line", {"k": "event", "t": line})

    def broker(self, inner: Broker) -> Broker:
        """Return ``inner``, with what it is given and what it answers written down."""
        return RecordingBroker(inner, self._handed)

    def order(self, before: Order | None, after: Order) -> None:  # noqa: ARG002 -- what the desk tells
        """An order of ours took a step; one that never left is none of the recording's."""
        if after.client_order_id in self._known and (line := self._tally.own(after)) is not None:
            self._put("line", {"k": "event", "t": line})

    def _handed(self, line: dict[str, Any]) -> None:
        if line["k"] == "order":
            self._known.add(line["id"])
        if "t" in line:
            line["t"] = self._redact(line["t"])
        self._put("line", line)

    def mark(self, account: AccountSnapshot | None, *, ended: bool = False) -> None:
        """Write down what there is so far."""
        self._put("line", {"k": "trailer" if ended else "mark", "state": self._tally.state(account)}, always=ended)

    def close(self) -> None:
        """Write what waits. Idempotent."""
        self._is_over = True
        self._wake.set()
        self._thread.join(_JOIN_S)

    def _redact_bytes(self, raw: bytes) -> bytes:
        """Frames that are no text may hold one all the same."""
        text = raw.decode("latin-1")
        clean = self._redact(text)
        return raw if clean == text else clean.encode("latin-1")

    def _put(self, *entry: Any, size: int = 100, always: bool = False) -> None:
        if self._is_over:
            return
        limits, queue = self._limits, self._queue
        waiting = self._bytes_in - self._bytes_out
        if not always and (len(queue) >= limits.queue or waiting + size > limits.queue_bytes):
            self._dropped += 1
            return
        self._bytes_in += size
        wire_ns = self._clock.wire_ns()
        queue.append((wire_ns, self._clock.market_ns(), size, self._dropped, *entry))
        if len(queue) == _WAKE_AT:
            self._wake.set()

    # --- the writer's thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._is_over:
                self._wake.wait(self._limits.flush_s)
                self._wake.clear()
                self._drain()
            self._drain()
            self._writer.close()
        except Exception as error:  # noqa: BLE001 -- whatever it is, it must not touch the trading; it is told
            self._is_over = True
            self._queue.clear()
            with contextlib.suppress(OSError):
                self._writer.close()
            self._on_fault(f"the recording has ended, trading goes on: {getattr(error, 'strerror', None) or error}")

    def _drain(self) -> None:
        lines: list[bytes] = []
        while self._queue:
            wire_ns, market_ns, size, dropped, kind, *entry = self._queue.popleft()
            self._bytes_out += size
            stamps = {"w": wire_ns} if market_ns == wire_ns else {"w": wire_ns, "m": market_ns}
            if dropped != self._told_dropped:
                if not self._told_dropped:
                    self._on_fault("the disk is slower than the wire: frames are missing in the recording")
                lines.append(_line({"k": "dropped", "n": dropped - self._told_dropped, **stamps}))
                self._told_dropped = dropped
            lines.append(_line({**(_fields(*entry) if kind == "frame" else entry[0]), **stamps}))
            if len(lines) % _LINES_EACH == 0:
                time.sleep(0)  # the threads that trade come first
            if len(lines) >= _WAKE_AT:
                self._writer.write(lines)
                lines.clear()
        if self._is_over and self._dropped != self._told_dropped:
            lines.append(_line({"k": "dropped", "n": self._dropped - self._told_dropped}))
            self._told_dropped = self._dropped
        if lines:
            self._writer.write(lines)


def _line(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _fields(frame: Frame, text: str | bytes, url: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"k": frame.kind.value, "c": frame.connection}
    if isinstance(text, bytes):
        fields["b"] = base64.b64encode(text).decode()
    elif text:
        fields["t"] = text
    if url:
        fields["u"] = url
    if frame.method:
        fields["q"] = frame.method
    if frame.code is not None:
        fields["s"] = frame.code
    if frame.headers:
        fields["h"] = dict(frame.headers)
    return fields


class _Writer:
    """The parts of one recording on disk. The writer's thread alone, but for the first part."""

    def __init__(self, folder: Path, *, about: Mapping[str, Any], clock: Clock, limits: Limits) -> None:
        self._folder = folder
        self._about = about
        self._clock = clock
        self._limits = limits
        name = str(about.get("session", "session")).replace("/", "-")
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        self._stem = f"{name}-{stamp}-{os.urandom(3).hex()}"
        self._part = 0
        self._size = 0
        self._file: BinaryIO | None = None
        self.path = folder
        self._next()

    def write(self, lines: list[bytes]) -> None:
        """Write lines as one gzip member; to the disk's cache, which outlives the process."""
        if self._size >= self._limits.part_bytes or time.monotonic_ns() - self._since_ns >= self._limits.part_ns:
            self._next()
        self._append(b"".join(lines))

    def close(self) -> None:
        """Close the part."""
        if self._file is not None:
            self._file.close()

    def _append(self, raw: bytes) -> None:
        assert self._file is not None
        packed = gzip.compress(raw, self._limits.level)
        self._file.write(packed)
        self._file.flush()
        self._size += len(packed)

    def _next(self) -> None:
        self.close()
        self._part += 1
        self.path = self._folder / f"{self._stem}-{self._part:04}{SUFFIX}"
        self._make_room()
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(handle, "wb", buffering=0)
        self._size = 0
        self._since_ns = time.monotonic_ns()
        stamps = {"w": self._clock.wire_ns(), "m": self._clock.market_ns()}
        self._append(_line({"k": "header", "version": VERSION, **self._about, "part": self._part, **stamps}))

    def _make_room(self) -> None:
        """Let the oldest parts go; the first one of this recording stays, nothing can be replayed without it."""
        first = f"{self._stem}-0001{SUFFIX}"
        others = [path for path in self._folder.glob(f"*{SUFFIX}") if path.name != first]
        parts = sorted((path.stat().st_mtime_ns, path.stat().st_size, path) for path in others)
        total = sum(size for _, size, _ in parts)
        for _, size, path in parts:
            if total <= self._limits.keep_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size
