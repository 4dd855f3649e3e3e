"""What goes wrong at a venue, and when: a script of faults that is data, seeded, and can be shrunk.

Values and bookkeeping only; a skin carries out what :meth:`Faults.on_request`
and :meth:`Faults.on_push` tell it.  As JSON a script is
``{"seed": 42, "faults": [{"kind": "lose", "where": "place", "at": 2}]}``, or
the list alone.

A fault strikes at the ``at``-th to ``at + count - 1``-th occurrence of its
``where``: operations that were asked for; in ``market_stream`` and
``account_stream`` events that were pushed, to each socket that gets them; in
``dial`` sockets that are being opened, in ``subscribe`` wishes for streams,
in ``amendment`` amendments that were acknowledged, where the venue's
acknowledgement is no promise.
Counting, not time, decides, so that a schedule strikes alike in every run in
lockstep.  What is commanded (:meth:`Faults.command`) strikes now.

=================  ====================================================  ==============================
kind               what happens                                          ``for_s``
=================  ====================================================  ==============================
drop               the request is not done, its connection cut
lose               it is done, its connection cut instead of an answer
error_before       it is not done and answered 5xx
error_after        it is done and answered 5xx, "status unknown"
rate_limit         refused like all that follow (429, Retry-After)       until the limit is over
ban                likewise (418, Retry-After)                           until the ban is over
key_expiry         authentication is refused, as long as ``count`` says  and all else that needs it
ack_after_fill     the answer comes after what was pushed of it          and so much later
delay              the answer, or the pushes of a socket, come late      so late
half_open          the socket stays open and says nothing more           until it is cut; 0: never
truncate           half an answer or a frame, or something unreadable
clock_jump         the wire's clock runs ``offset_s`` ahead of the wall  then it is back; 0: never
outage             every connection is cut, new ones too; state is kept  until the venue is back
refuse             a socket, or a subscription, is refused               so long every socket; 0: this one
duplicate          the event is pushed twice
reorder            the event comes after the next one of its socket      at most so late
cut                the socket is cut and the event lost
silence            this stream says nothing more; its socket lives       until it speaks again; 0: never
shutdown           it is said that the socket ends, and then it does     so much later
stream_end         the account's events end, this one is lost
lapse              what was acknowledged is not done, and not told
=================  ====================================================  ==============================

``form`` chooses among the ways a venue has of doing it (which code, which
text, a cut or a good-bye); a skin takes the remainder of what it has.
"""

import enum
import itertools
import json
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

import attrs

from btx.errors import ConfigError
from btx.sim.dice import key_of, unit

__all__ = (
    "CALM",
    "PUSH_KINDS",
    "REQUEST_KINDS",
    "SOCKET_KINDS",
    "Action",
    "Fault",
    "FaultScript",
    "Faults",
    "Kind",
    "Struck",
    "Where",
    "random_script",
    "script_from_json",
    "script_to_json",
    "shrink",
)


class Kind(enum.Enum):
    """What goes wrong; the value is what a script says."""

    DROP = "drop"
    LOSE = "lose"
    ERROR_BEFORE = "error_before"
    ERROR_AFTER = "error_after"
    RATE_LIMIT = "rate_limit"
    BAN = "ban"
    KEY_EXPIRY = "key_expiry"
    ACK_AFTER_FILL = "ack_after_fill"
    DELAY = "delay"
    HALF_OPEN = "half_open"
    TRUNCATE = "truncate"
    CLOCK_JUMP = "clock_jump"
    OUTAGE = "outage"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    CUT = "cut"
    STREAM_END = "stream_end"
    REFUSE = "refuse"
    SILENCE = "silence"
    SHUTDOWN = "shutdown"
    LAPSE = "lapse"


class Where(enum.Enum):
    """The class of an operation, the same for every venue; the value is what a script says."""

    PLACE = "place"  # orders, lists of them, replacements
    CANCEL = "cancel"
    QUERY = "query"  # orders and fills
    ACCOUNT = "account"  # balances, fees, sessions
    MARKET = "market"  # everything that needs no signature
    MARKET_STREAM = "market_stream"
    ACCOUNT_STREAM = "account_stream"
    DIAL = "dial"  # a socket that is being opened
    SUBSCRIBE = "subscribe"  # a message that asks for streams
    AMENDMENT = "amendment"  # one that was acknowledged, on its way to the matching engine
    ANY = "any"  # every request; for kinds that only pushes know, every push


_STREAMS = frozenset({Where.MARKET_STREAM, Where.ACCOUNT_STREAM})
_SIGNED = frozenset({Where.PLACE, Where.CANCEL, Where.QUERY, Where.ACCOUNT})
_ONLY_PUSHES = frozenset({Kind.DUPLICATE, Kind.REORDER, Kind.CUT, Kind.STREAM_END, Kind.SILENCE, Kind.SHUTDOWN})
_SOCKETS = frozenset({Where.DIAL, Where.SUBSCRIBE})
_APART = _SOCKETS | {Where.AMENDMENT}  # no requests, nor pushes: "any" does not count them
_BOTH = frozenset({Kind.DELAY, Kind.HALF_OPEN, Kind.TRUNCATE, Kind.CLOCK_JUMP, Kind.OUTAGE})

PUSH_KINDS = _ONLY_PUSHES | _BOTH
"""What can happen to an event that is pushed."""

REQUEST_KINDS = frozenset(Kind) - _ONLY_PUSHES - {Kind.REFUSE, Kind.LAPSE}
"""What can happen to a request."""

SOCKET_KINDS = frozenset({Kind.REFUSE, Kind.DROP, Kind.HALF_OPEN, Kind.DELAY})
"""What can happen to a socket that is being opened, and to a message that asks for streams."""

# How long, in seconds of wall time, when a script does not say.
_FOR_S = {
    Kind.RATE_LIMIT: 1.0,
    Kind.BAN: 2.0,
    Kind.DELAY: 0.2,
    Kind.HALF_OPEN: 5.0,
    Kind.OUTAGE: 0.5,
    Kind.REORDER: 1.0,
    Kind.SHUTDOWN: 1.0,
}
_LASTING = frozenset({Kind.RATE_LIMIT, Kind.BAN, Kind.KEY_EXPIRY, Kind.OUTAGE, Kind.REFUSE})
_JUMP_S = 3.0


def _usual_s(fault: "Fault") -> float:
    return _FOR_S.get(fault.kind, 0.0)


def _usual_jump_s(fault: "Fault") -> float:
    return _JUMP_S if fault.kind is Kind.CLOCK_JUMP else 0.0


@attrs.frozen(kw_only=True)
class Fault:
    """One thing that goes wrong; the module says what each kind means.

    Raises:
        ValueError: the kind cannot happen there, or a number is out of range.
    """

    kind: Kind = attrs.field(converter=Kind)
    where: Where = attrs.field(default=Where.ANY, converter=Where)
    at: int = 1  # the n-th occurrence, from 1
    count: int = 1  # so many occurrences in a row
    for_s: float = attrs.field(default=attrs.Factory(_usual_s, takes_self=True))  # wall seconds
    offset_s: float = attrs.field(default=attrs.Factory(_usual_jump_s, takes_self=True))  # wall seconds, clock_jump
    form: int = 0

    def __attrs_post_init__(self) -> None:
        if not _fits(self.kind, self.where):
            raise ValueError(f"{self.kind.value} cannot happen in {self.where.value}")
        if not all(isinstance(number, int) for number in (self.at, self.count, self.form)):
            raise ValueError("at, count and form are whole numbers")
        if self.at < 1 or self.count < 1 or self.form < 0:
            raise ValueError(f"at={self.at}, count={self.count}, form={self.form}: counted from 1, and forms from 0")
        if not 0 <= self.for_s < float("inf"):
            raise ValueError(f"for_s={self.for_s}: seconds from now on")

    def strikes(self, number: int) -> bool:
        """Whether the ``number``-th occurrence is one it strikes at."""
        return self.at <= number < self.at + self.count


_ONLY_IN = {
    Kind.REFUSE: _SOCKETS,
    Kind.LAPSE: frozenset({Where.AMENDMENT}),
    Kind.SILENCE: frozenset({Where.MARKET_STREAM, Where.ANY}),
    Kind.STREAM_END: frozenset({Where.ACCOUNT_STREAM, Where.ANY}),
    Kind.ACK_AFTER_FILL: frozenset({Where.PLACE, Where.CANCEL, Where.ANY}),
    Kind.KEY_EXPIRY: frozenset(Where) - _STREAMS - _APART - {Where.MARKET},
}


def _fits(kind: Kind, where: Where) -> bool:
    if (places := _ONLY_IN.get(kind)) is not None:
        return where in places
    if where in _SOCKETS:
        return kind in SOCKET_KINDS
    if where in _STREAMS:
        return kind in PUSH_KINDS
    return where is Where.ANY or (where is not Where.AMENDMENT and kind in REQUEST_KINDS)


@attrs.frozen(kw_only=True)
class FaultScript:
    """A schedule of faults; ``seed`` is what it was made from, if it was."""

    faults: tuple[Fault, ...] = ()
    seed: int | None = None


@attrs.frozen(kw_only=True)
class Struck:
    """A fault did happen: to the ``number``-th occurrence of ``where``, which was ``what``."""

    fault: Fault
    where: Where
    number: int
    what: str

    def to_json(self) -> dict[str, Any]:
        """Return the entry as the control channel tells it."""
        return {"fault": _fault_json(self.fault), "where": self.where.value, "number": self.number, "what": self.what}


@attrs.frozen(kw_only=True)
class Action:
    """What is to go wrong with one request or one push; false when nothing is."""

    faults: tuple[Fault, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.faults)

    def get(self, *kinds: Kind) -> Fault | None:
        """Return the first fault of these kinds."""
        return next((fault for fault in self.faults if fault.kind in kinds), None)


CALM = Action()
"""Nothing goes wrong."""


class Faults:
    """A script being played: counts what occurs, says what goes wrong, and remembers what did."""

    def __init__(self, script: FaultScript = FaultScript()) -> None:
        self.log: list[Struck] = []
        self._without: frozenset[Kind] = frozenset()
        self.replace(script)

    def leave_out(self, *kinds: Kind) -> None:
        """Say that these do not exist at this venue: they never strike, and nothing is written down of them."""
        self._without |= frozenset(kinds)

    def replace(self, script: FaultScript) -> None:
        """Play another script from its beginning: counts start anew, what lasts ends, the log is emptied."""
        self.script = script
        self.log.clear()
        self._counts: Counter[tuple[Where, bool]] = Counter()  # (where, whether it is a push)
        self._lasting: list[tuple[float, Fault]] = []  # until when

    def on_request(self, where: Where, *, now_s: float, what: str = "") -> Action:
        """Count a request and say what goes wrong with it; ``now_s`` is any clock that only goes forward."""
        if not self.script.faults and not self._lasting:
            return CALM
        struck = self._occur(where, now_s, what)
        lasting = [
            attrs.evolve(fault, for_s=until_s - now_s)
            for until_s, fault in self._still(now_s)
            if fault not in struck
            and fault.kind is not Kind.REFUSE
            and (fault.kind is not Kind.KEY_EXPIRY or where in _SIGNED)
        ]
        return Action(faults=(*struck, *lasting))

    def on_push(self, where: Where, *, now_s: float, what: str = "") -> Action:
        """Count an event that is to be pushed on one socket and say what goes wrong with it."""
        if not self.script.faults:
            return CALM
        return Action(faults=self._occur(where, now_s, what))

    def on_dial(self, *, now_s: float, what: str = "") -> Action:
        """Count a socket that is being opened and say what goes wrong with it."""
        return self._on_socket(Where.DIAL, now_s, what)

    def on_subscribe(self, *, now_s: float, what: str = "") -> Action:
        """Count a message that asks for streams and say what goes wrong with it."""
        return self._on_socket(Where.SUBSCRIBE, now_s, what)

    def on_amendment(self, *, what: str = "") -> Action:
        """Count an amendment that is acknowledged and say whether it is done."""
        return Action(faults=self._occur(Where.AMENDMENT, 0.0, what)) if self.script.faults else CALM

    def command(self, fault: Fault, *, now_s: float, what: str = "") -> Action:
        """Let a fault strike now, beside the script, and say what goes wrong; it counts as occurrence 0."""
        self._strike(fault, fault.where, 0, now_s, what)
        return Action(faults=(fault,))

    def calm(self, *kinds: Kind) -> None:
        """End what lasts of these kinds."""
        self._lasting = [(until_s, fault) for until_s, fault in self._lasting if fault.kind not in kinds]

    def is_out(self, *, now_s: float) -> bool:
        """Whether the venue is not to be reached now."""
        return any(fault.kind is Kind.OUTAGE for _, fault in self._still(now_s))

    def _on_socket(self, where: Where, now_s: float, what: str) -> Action:
        if not self.script.faults and not self._lasting:
            return CALM
        struck = self._occur(where, now_s, what)
        lasting = (fault for _, fault in self._still(now_s) if fault.kind is Kind.REFUSE and fault.where is where)
        return Action(faults=(*struck, *(fault for fault in lasting if fault not in struck)))

    def _occur(self, where: Where, now_s: float, what: str) -> tuple[Fault, ...]:
        is_push = where in _STREAMS
        self._counts[where, is_push] += 1
        if where not in _APART:
            self._counts[Where.ANY, is_push] += 1
        struck = tuple(fault for fault in self.script.faults if self._hits(fault, where, is_push=is_push))
        for fault in struck:
            self._strike(fault, where, self._counts[where, is_push], now_s, what)
        return struck

    def _strike(self, fault: Fault, where: Where, number: int, now_s: float, what: str) -> None:
        self.log.append(Struck(fault=fault, where=where, number=number, what=what))
        if fault.kind in _LASTING and fault.for_s > 0:
            self._lasting.append((now_s + fault.for_s, fault))

    def _hits(self, fault: Fault, where: Where, *, is_push: bool) -> bool:
        if fault.kind in self._without:
            return False
        if fault.where is Where.ANY:
            if where in _APART:
                return False
            if is_push is not (fault.kind in _ONLY_PUSHES) or not _fits(fault.kind, where):
                return False
        elif fault.where is not where:
            return False
        return fault.strikes(self._counts[fault.where, is_push])

    def _still(self, now_s: float) -> list[tuple[float, Fault]]:
        if self._lasting:
            self._lasting = [(until_s, fault) for until_s, fault in self._lasting if now_s < until_s]
        return self._lasting


# --- scripts as text ---------------------------------------------------------------------------------------


def script_to_json(script: FaultScript) -> str:
    """Return a script as one line of JSON; what has its usual value is left out."""
    return json.dumps({"seed": script.seed, "faults": [_fault_json(fault) for fault in script.faults]})


def script_from_json(text: str) -> FaultScript:
    """Return the script a text says: an object with ``faults`` (and ``seed``), or the list of them alone.

    Raises:
        ConfigError: the text is no script.
    """
    try:
        read = json.loads(text)
        if isinstance(read, list):
            read = {"faults": read}
        seed, faults = read.pop("seed", None), read.pop("faults", [])
        script = FaultScript(seed=seed, faults=tuple(Fault(**item) for item in faults))
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"no script of faults: {error}") from error
    if read:
        raise ConfigError(f"no script of faults: {', '.join(read)} is unknown, write seed and faults")
    return script


def _fault_json(fault: Fault) -> dict[str, Any]:
    usual = Fault(kind=fault.kind, where=fault.where)
    said: dict[str, Any] = {"kind": fault.kind.value, "where": fault.where.value, "at": fault.at}
    for name in ("count", "for_s", "offset_s", "form"):
        if (value := getattr(fault, name)) != getattr(usual, name):
            said[name] = value
    return said


# --- scripts by dice, and fewer faults ---------------------------------------------------------------------

# From and to, in seconds; a kind that is not here lasts as long as usual.
_SPANS_S = {
    Kind.RATE_LIMIT: (0.2, 2.0),
    Kind.BAN: (0.5, 2.0),
    Kind.DELAY: (0.01, 0.4),
    Kind.HALF_OPEN: (0.3, 2.0),
    Kind.OUTAGE: (0.1, 1.0),
    Kind.REORDER: (0.05, 0.3),
    Kind.ACK_AFTER_FILL: (0.0, 0.1),
    Kind.REFUSE: (0.1, 1.0),
    Kind.SILENCE: (0.3, 2.0),
    Kind.SHUTDOWN: (0.05, 0.5),
}
_JUMPS_S = (-4.0, 4.0)
_FORMS = 6  # what a skin makes 1, 2 or 3 forms of evenly


_BY_CHANCE = PUSH_KINDS | REQUEST_KINDS | SOCKET_KINDS


def random_script(
    seed: int, *, intensity: float = 6.0, horizon: int = 20, kinds: Collection[Kind] = _BY_CHANCE
) -> FaultScript:
    """Return a script of about ``intensity`` faults (half to one and a half times), the same for a seed.

    Args:
        seed: of the dice.
        intensity: how many faults on average.
        horizon: each strikes at one of so many first occurrences.
        kinds: what may go wrong; usually what can at every venue.
    """

    def die(*key: object) -> float:
        return unit(key_of(seed, "fault", *key))

    def among(options: Sequence[Any], *key: object) -> Any:
        return options[int(die(*key) * len(options))]

    choice = sorted(kinds, key=lambda kind: kind.value)
    faults = []
    for number in range(round(intensity * (0.5 + die("how many"))) if choice else 0):
        kind = among(choice, number, "kind")
        places = [where for where in Where if where is not Where.ANY and _fits(kind, where)]
        low_s, high_s = _SPANS_S.get(kind, (0.0, 0.0))
        from_s, to_s = _JUMPS_S if kind is Kind.CLOCK_JUMP else (0.0, 0.0)
        faults.append(
            Fault(
                kind=kind,
                where=among(places, number, "where"),
                at=1 + int(die(number, "at") * horizon),
                count=among((1, 1, 1, 2), number, "count"),
                for_s=round(low_s + die(number, "for") * (high_s - low_s), 3),
                offset_s=round(from_s + die(number, "offset") * (to_s - from_s), 3),
                form=int(die(number, "form") * _FORMS),
            )
        )
    return FaultScript(seed=seed, faults=tuple(faults))


def shrink(script: FaultScript, fails: Callable[[FaultScript], bool]) -> FaultScript:
    """Return a part of a failing script that still fails, and none of whose faults can be left out.

    Delta debugging (Zeller, 2002): parts are tried first, then what is left
    without a part, then smaller parts.  ``fails`` is asked once of each script.

    Raises:
        ValueError: the script does not fail.
    """
    asked: dict[tuple[Fault, ...], bool] = {}

    def still_fails(faults: tuple[Fault, ...]) -> bool:
        if faults not in asked:
            asked[faults] = fails(attrs.evolve(script, faults=faults))
        return asked[faults]

    faults = script.faults
    if not still_fails(faults):
        raise ValueError("this script does not fail: there is nothing to shrink")
    parts = 2
    while len(faults) > 1:
        bounds = [len(faults) * index // parts for index in range(parts + 1)]
        pieces = [(faults[low:high], faults[:low] + faults[high:]) for low, high in itertools.pairwise(bounds)]
        if (piece := next((piece for piece, _ in pieces if still_fails(piece)), None)) is not None:
            faults, parts = piece, 2
        elif (rest := next((rest for _, rest in pieces if still_fails(rest)), None)) is not None:
            faults, parts = rest, max(parts - 1, 2)
        elif parts < len(faults):
            parts = min(2 * parts, len(faults))
        else:
            break
    if len(faults) == 1 and still_fails(()):
        faults = ()
    return attrs.evolve(script, faults=faults)
