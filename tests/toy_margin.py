"""The toy venue with positions on margin: wallet, leverage, funding, liquidation, and two position modes."""

import itertools
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs

from btx.errors import OrderRejectedError
from btx.hookspecs import API, hookimpl
from btx.model.account import AccountSnapshot, AccountUpdate, Balance, Booking, BookingKind, MarginCall, PositionReport
from btx.model.derivatives import FundingRate, LeverageTier, MarginMode, MarkPrice, PositionMode
from btx.model.instrument import Instrument
from btx.model.order import (
    VENUE_MADE,
    Fill,
    Leg,
    Liquidity,
    OrderReport,
    OrderRequest,
    OrderType,
    Origin,
    PositionSide,
    Side,
    Status,
)
from btx.model.time import NS_PER_MINUTE
from btx.model.venue import Capabilities, Channel, VenueInfo
from btx.plugins import Venue, new_manager
from btx.rules.contracts import value
from btx.rules.money import booked
from btx.rules.positions import Position, apply_fill
from btx.rules.wallet import Key
from tests.perpetuals import BTCUSDT, LINEAR
from tests.toy_venue import FEES, INFO, ToyOrder, ToyPlugin, ToyVenue
from tests.values import MINUTE

MARGIN_INFO: VenueInfo = attrs.evolve(
    INFO,
    markets=("usdm",),
    api=API,
    limits={},
    costs={},
    capabilities={
        "usdm": Capabilities(
            order_types=frozenset(OrderType) - {OrderType.TRAILING_STOP},
            times_in_force=frozenset(),
            intervals=(MINUTE,),
            channels=frozenset({Channel.BAR, Channel.MARK, Channel.ACCOUNT}),
            margined=True,
            reduce_only=True,
            position_modes=frozenset(PositionMode),
            margin_modes=frozenset(MarginMode),
        )
    },
)

MORE_REQUESTS = ("leverage_tiers", "bookings", "mark_price", "set_leverage", "set_margin_mode", "set_position_mode")


class ToyMargin(ToyVenue):
    """One account on margin; each booking has an id, and what is not pushed can be asked for."""

    def __init__(self, *, instruments: Sequence[Instrument] = (LINEAR,), **changes: Any) -> None:
        super().__init__(instruments=instruments, **changes)
        self.balances = {"USDT": Decimal(10_000)}
        self.positions: dict[Key, Position] = {}
        self.entries: list[Booking] = []
        self.hidden = 0  # of the newest entries, that are not listed yet
        self.position_mode = PositionMode.ONE_WAY
        self.is_multi_asset = False
        self.leverage: dict[str, int] = {}
        self.margin_mode: dict[str, MarginMode] = {}
        self.mark = Decimal(100)
        self.refusals: dict[str, str] = {}  # what of the settings is refused, and with which words
        self._booking_ids = itertools.count(1)
        for name in (
            "leverage_tiers",
            "bookings",
            "mark_price",
            "set_leverage",
            "set_margin_mode",
            "set_position_mode",
        ):
            self.faults.setdefault(name, type(self.faults["place"])())

    # --- what happens ------------------------------------------------------------------------------------

    def execute(self, client_order_id: str, quantity: Decimal | int | str, *, told_fee: bool = True) -> None:
        order = self.orders[client_order_id]
        size, price = Decimal(quantity), order.leg.request.price or self.price
        fill = self.fill(order, size, price)
        order.fills.append(fill)
        order.status = Status.FILLED if order.filled >= order.leg.quantity else Status.PARTIALLY_FILLED
        pushed = fill if told_fee else attrs.evolve(fill, fee=None, fee_asset=None)
        key = Key(fill.symbol, fill.position_side)
        self._tell(self.update("ORDER", key), pushed, self.report(order))
        self.follow(order)

    def fill(self, order: ToyOrder, size: Decimal, price: Decimal, *, origin: Origin = Origin.CLIENT) -> Fill:
        """Fill a part of an order, and pay for it."""
        request = order.leg.request
        key = Key(request.instrument.symbol, request.position_side)
        before = self.positions.get(key) or Position.of(request.instrument)
        done = apply_fill(before, signed_quantity=request.side.sign * size, price=price)
        self.positions[key] = done.position
        fee, realised = booked(abs(value(request.instrument, size, price)) * FEES.taker), booked(done.realised)
        fill_id = str(next(self._fill_ids))
        self.balances["USDT"] += realised - fee
        self.entries += [
            self.booking(BookingKind.FEE, -fee, symbol=key.symbol, fill_id=fill_id),
            self.booking(BookingKind.REALISED, realised, symbol=key.symbol, fill_id=fill_id),
        ]
        return Fill(
            fill_id=fill_id,
            client_order_id=order.leg.client_order_id,
            venue_order_id=order.order_id,
            symbol=key.symbol,
            side=request.side,
            price=price,
            quantity=size,
            fee=fee,
            fee_asset="USDT",
            liquidity=Liquidity.TAKER,
            realised=realised,
            position_side=key.position_side,
            origin=origin,
            time_ns=self.now_ns,
        )

    def booking(self, kind: BookingKind, amount: Decimal, **changes: Any) -> Booking:
        return Booking(
            booking_id=str(next(self._booking_ids)),
            kind=kind,
            asset="USDT",
            amount=amount,
            time_ns=self.now_ns,
            **changes,
        )

    def book(self, kind: BookingKind, amount: str | int, *, reason: str | None, symbol: str | None = None) -> Booking:
        """Let money move, a minute later; with a reason it is pushed."""
        self.now_ns += NS_PER_MINUTE
        entry = self.booking(kind, Decimal(amount), symbol=symbol)
        self.entries.append(entry)
        self.balances["USDT"] += entry.amount
        if reason is not None:
            self._tell(self.update(reason))
        return entry

    def liquidate(self, symbol: str = LINEAR.symbol, side: PositionSide = PositionSide.NET, *, price: int = 50) -> None:
        """Close a position as the exchange does, and take its fee."""
        self.now_ns += NS_PER_MINUTE
        key = Key(symbol, side)
        held = self.positions[key].quantity
        request = OrderRequest(
            instrument=self.listed[symbol],
            side=Side.SELL if held > 0 else Side.BUY,
            order_type=OrderType.LIMIT,
            quantity=abs(held),
            price=Decimal(price),
            position_side=side,
            signal_ns=self.now_ns,
        )
        leg = Leg(client_order_id="autoclose-1", request=request, quantity=request.quantity)  # all have one name
        order = ToyOrder(leg=leg, order_id=str(next(self._order_ids)))
        self.orders[f"made {order.order_id}"] = order
        order.fills.append(self.fill(order, abs(held), Decimal(price), origin=Origin.LIQUIDATION))
        order.status = Status.FILLED
        fee = self.booking(BookingKind.LIQUIDATION_FEE, Decimal("-1.25"), symbol=symbol)
        self.entries.append(fee)
        self.balances["USDT"] += fee.amount
        self._tell(
            self.update("ORDER", key),
            order.fills[-1],
            attrs.evolve(self.report(order), origin=Origin.LIQUIDATION),
            self.update("INSURANCE_CLEAR"),
        )

    async def query(self, *, leg: Leg) -> tuple[OrderReport | Fill, ...]:
        order = self.orders.get(f"made {leg.client_order_id.rpartition('-')[2]}")
        if order is None or not leg.client_order_id.startswith(VENUE_MADE):
            return await super().query(leg=leg)
        await self._request("query", leg.client_order_id)
        told = (self.report(order), *order.fills)
        made = {"client_order_id": leg.client_order_id, "origin": Origin.LIQUIDATION, "sequence": None}
        return tuple(attrs.evolve(each, **made) for each in told)

    def warn(self, key: Key) -> None:
        """Push a margin call."""
        self._tell(MarginCall(positions=(self._position(key),), time_ns=self.now_ns))

    def push_mark(self, price: str | int) -> None:
        """Let the mark price change."""
        self.mark = Decimal(price)
        self.now_ns += 1
        for connection in self.connections:
            if connection.has(Channel.MARK):
                connection.frames.put_nowait(self._mark(LINEAR))

    def update(self, reason: str, *keys: Key) -> AccountUpdate:
        balances = {asset: Balance(free=total, locked=Decimal(0)) for asset, total in self.balances.items()}
        positions = tuple(self._position(key) for key in keys)
        return AccountUpdate(balances=balances, positions=positions, reason=reason, time_ns=self.now_ns)

    def report(self, order: ToyOrder, *, sequence: int | None = None) -> OrderReport:
        request = order.leg.request
        whole = attrs.evolve(super().report(order, sequence=0), sequence=None)
        return attrs.evolve(whole, position_side=request.position_side, reduce_only=request.reduce_only)

    def _position(self, key: Key) -> PositionReport:
        position = self.positions.get(key, Position())
        return PositionReport(
            symbol=key.symbol,
            position_side=key.position_side,
            quantity=position.quantity,
            entry_price=position.price or None,
            mark_price=self.mark,
            leverage=self.leverage.get(key.symbol, 20),
            margin_mode=self.margin_mode.get(key.symbol, MarginMode.CROSS),
            time_ns=self.now_ns,
        )

    def _mark(self, instrument: Instrument) -> MarkPrice:
        return MarkPrice(
            symbol=instrument.symbol,
            mark_price=self.mark,
            funding_rate=Decimal("0.0001"),
            next_funding_ns=self.now_ns + 1,
            time_ns=self.now_ns,
        )

    # --- Store, Feed -------------------------------------------------------------------------------------

    async def account(self) -> AccountSnapshot:
        await self._request("account", None)
        update = self.update("", *(key for key, position in self.positions.items() if position.quantity))
        return AccountSnapshot(
            balances=update.balances,
            positions=update.positions,
            position_mode=self.position_mode,
            is_multi_asset=self.is_multi_asset,
            time_ns=self.now_ns,
        )

    async def leverage_tiers(self, *, instruments: Collection[Instrument]) -> Mapping[str, tuple[LeverageTier, ...]]:
        await self._request("leverage_tiers", None)
        return {each.symbol: BTCUSDT for each in instruments}

    async def bookings(self, *, start_ns: int) -> Sequence[Booking]:
        await self._request("bookings", start_ns)
        listed = self.entries[: len(self.entries) - self.hidden]
        return [each for each in listed if each.time_ns >= start_ns]

    async def set_leverage(self, *, instrument: Instrument, leverage: int) -> None:
        await self._set("set_leverage", (instrument.symbol, leverage))
        self.leverage[instrument.symbol] = leverage

    async def set_margin_mode(self, *, instrument: Instrument, mode: MarginMode) -> None:
        await self._set("set_margin_mode", (instrument.symbol, mode))
        self.margin_mode[instrument.symbol] = mode

    async def set_position_mode(self, *, mode: PositionMode) -> None:
        await self._set("set_position_mode", mode)
        self.position_mode = mode

    async def _set(self, name: str, what: Any) -> None:
        await self._request(name, what)
        if name in self.refusals:
            raise OrderRejectedError(self.refusals[name], code=-4061)

    async def mark_price(self, *, instrument: Instrument) -> MarkPrice:
        await self._request("mark_price", instrument.symbol)
        return self._mark(instrument)

    async def funding_rates(self, *, instrument: Instrument, start_ns: int, end_ns: int) -> Sequence[FundingRate]:
        return []


class MarginPlugin(ToyPlugin):
    """The hooks of the toy venue on margin."""

    @hookimpl
    def btx_venue(self) -> VenueInfo:
        return MARGIN_INFO


def loaded_on_margin(toy: ToyMargin) -> Venue:
    """Return the venue as a session gets it."""
    manager = new_manager()
    manager.register(MarginPlugin(toy), name="venue toy")
    return Venue(manager, MARGIN_INFO)
