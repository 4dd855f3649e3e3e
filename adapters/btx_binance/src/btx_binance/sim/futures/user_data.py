"""Who listens to which futures account, with which listen key, and what they are told of what happens.

A reader names a key, or ``<key>@<EVENT>`` for one kind of event (Important-WebSocket-Change-Notice, 2026-03-06).  A
key that is not active, or has ended, is silent.  Of an execution ACCOUNT_UPDATE comes first, then TRADE_LITE, then
ORDER_TRADE_UPDATE; all carry its time.
"""

from collections.abc import Iterable

from btx.model.derivatives import PositionMode
from btx.model.order import PositionSide
from btx.sim.conditionals import ConditionalEvent, ConditionalState
from btx.sim.exchange import ExecutionEvent, ExecutionKind, SimOrder
from btx.sim.faults import CALM, Kind, Where
from btx.sim.margin_events import AccountEvent, ConfigEvent, MarginCallEvent, Purse, SimBooking
from btx.sim.orders import SimPosition
from btx.sim.skin.text import JSON, dumps
from btx_binance.sim.faults import Mishaps
from btx_binance.sim.futures import user_frames
from btx_binance.sim.futures.listen_keys import ListenKeys
from btx_binance.sim.futures.venue import FuturesVenue
from btx_binance.sim.readers import Reader, combined

__all__ = ("UserData",)

_ORDER = "ORDER_TRADE_UPDATE"
_NUMBER = "btx"  # ours, in no frame of the venue, and only in lockstep: how many things have happened to the account
_BARE = 3  # one form of a truncated event in so many leaves out what the venue may leave out of it

_Told = ExecutionEvent | ConditionalEvent | AccountEvent | ConfigEvent | MarginCallEvent


class UserData:
    """The readers of accounts, and the frames made of what happens to these."""

    def __init__(self, venue: FuturesVenue, mishaps: Mishaps, keys: ListenKeys) -> None:
        self._venue = venue
        self._mishaps = mishaps
        self._keys = keys
        self._readers: dict[str, dict[Reader, dict[str, str]]] = {}  # by key: what each reader called it, and the event
        keys.on_expired = self._on_expired

    def add(self, name: str, reader: Reader) -> None:
        """Let a reader have the events of a key, all or one kind of them."""
        key, _, event = name.partition("@")
        self._readers.setdefault(key, {}).setdefault(reader, {})[name] = event

    def remove(self, name: str, reader: Reader) -> None:
        """Take them from it, if it has them."""
        key = name.partition("@")[0]
        readers = self._readers.get(key, {})
        names = readers.get(reader, {})
        names.pop(name, None)
        if not names:
            readers.pop(reader, None)
        if not readers:
            self._readers.pop(key, None)

    def tell(self, event: object) -> None:
        """Push what happened to the readers of its own account."""
        if not isinstance(event, _Told) or (key := self._keys.key(event.api_key)) not in self._readers:
            return
        # The venue numbers nothing here. Who walks in step with the market must know when all has come.
        number = {_NUMBER: event.sequence} if self._venue.world.speed is None else {}
        for frame in self._frames(event):
            self._push(key, frame | number)

    # --- frames ---------------------------------------------------------------------------------------------

    def _frames(self, event: _Told) -> list[JSON]:
        match event:
            case ExecutionEvent():
                return self._execution(event)
            case ConditionalEvent():
                return self._conditional(event)
            case AccountEvent():
                return self._account(event)
            case ConfigEvent():
                return self._config(event)
            case MarginCallEvent():
                return self._margin_call(event)

    def _execution(self, event: ExecutionEvent) -> list[JSON]:
        instrument = self._venue.listing(event.order.venue_symbol).instrument
        update = user_frames.order_update(event, instrument)
        if event.kind is not ExecutionKind.TRADE or self._venue.dialect.is_inverse:
            return [update]
        return [user_frames.trade_lite(event), update]

    def _conditional(self, event: ConditionalEvent) -> list[JSON]:
        child: SimOrder | None = None
        if event.conditional.order_id is not None:
            child = self._venue.desk.order(
                api_key=event.api_key,
                venue_symbol=event.conditional.venue_symbol,
                order_id=event.conditional.order_id,
            )
        frames = [user_frames.algo_update(event, child)]
        if event.conditional.state is ConditionalState.REJECTED:
            frames.append(user_frames.trigger_reject(event))
        return frames

    def _account(self, event: AccountEvent) -> list[JSON]:
        wallets, positions = event.wallets.values(), event.positions
        if positions and self._venue.dialect.is_inverse:  # "All symbols will be pushed"
            held = {each.key: each for each in self._venue.desk.positions(api_key=event.api_key)}
            positions = tuple((held | {each.key: each for each in positions}).values())
        return [
            self._account_update(
                event.reason, event.time_ns, wallets=wallets, bookings=event.bookings, positions=positions
            )
        ]

    def _config(self, event: ConfigEvent) -> list[JSON]:
        if event.venue_symbol is None:
            return []  # the position mode: the manual has no event for it
        if event.leverage is not None:
            return [user_frames.leverage_update(event.venue_symbol, event.leverage, event.time_ns, self._head())]
        sides = _SIDES[self._venue.desk.position_mode(api_key=event.api_key)]
        positions = [
            self._venue.desk.position(api_key=event.api_key, venue_symbol=event.venue_symbol, position_side=side)
            for side in sides
        ]
        return [self._account_update("MARGIN_TYPE_CHANGE", event.time_ns, wallets=(), bookings=(), positions=positions)]

    def _margin_call(self, event: MarginCallEvent) -> list[JSON]:
        desk = self._venue.desk
        return [
            user_frames.margin_call(event, unrealised=desk.unrealised, maintenance=desk.maintenance, head=self._head())
        ]

    def _account_update(
        self,
        reason: str,
        time_ns: int,
        *,
        wallets: Iterable[Purse],
        bookings: Iterable[SimBooking],
        positions: Iterable[SimPosition],
    ) -> JSON:
        return user_frames.account_update(
            reason,
            time_ns,
            wallets=wallets,
            bookings=bookings,
            positions=positions,
            unrealised=self._venue.desk.unrealised,
            head=self._head(),
        )

    def _head(self) -> JSON:
        return user_frames.alias(is_inverse=self._venue.dialect.is_inverse)

    # --- sockets --------------------------------------------------------------------------------------------

    def _push(self, key: str, frame: JSON) -> None:
        raw = dumps(frame)
        for reader, names in tuple(self._readers.get(key, {}).items()):
            if self._keys.account(key) is None:  # it has ended just now
                return
            if "" in names.values() or frame["e"] in names.values():
                self._hand(key, reader, frame, raw)

    def _hand(self, key: str, reader: Reader, frame: JSON, raw: str) -> None:
        """Hand a frame to one reader, or do to it what is to go wrong."""
        action = self._mishaps.on_push(Where.ACCOUNT_STREAM, frame["e"])
        if (end := action.get(Kind.STREAM_END)) is not None and not end.form % 2:
            self._keys.expire(key)
            return
        if (spoilt := action.get(Kind.TRUNCATE)) is not None and spoilt.form % _BARE == _BARE - 1:
            action = CALM
            if frame["e"] == _ORDER:
                raw = dumps(user_frames.without_commission(frame))
        reader.connection.push(combined(key, raw) if reader.is_combined else raw, action, stream=key)

    def _on_expired(self, key: str) -> None:
        raw = dumps(user_frames.key_expired(key, self._venue.wire_ms()))
        for reader in self._readers.get(key, {}):
            reader.connection.put(combined(key, raw) if reader.is_combined else raw)


_SIDES = {
    PositionMode.ONE_WAY: (PositionSide.NET,),
    PositionMode.HEDGE: (PositionSide.LONG, PositionSide.SHORT),
}
