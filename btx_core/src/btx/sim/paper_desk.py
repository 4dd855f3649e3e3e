"""One run of a paper account that owns what it trades, and the rules of an instrument as it describes itself."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from btx.model.account import AccountSnapshot, AccountUpdate
from btx.model.derivatives import LeverageTier
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.venue import SimAccount
from btx.sim.engine import Engine
from btx.sim.exchange import Exchange
from btx.sim.filters import FilterSet, LotRange, NotionalRange, PercentPriceBySide, PriceRange
from btx.sim.orders import ExecutionEvent, Listing
from btx.sim.paper_ledger import PaperBooks, event_line, read_lines
from btx.sim.paper_stream import PAPER_KEY, PaperStream
from btx.sim.paper_words import fill_of, report_of

__all__ = ("PAPER_KEY", "PaperDesk", "listing_of")

_ZERO = Decimal(0)


class PaperDesk(PaperStream):
    """A paper account that owns what it trades."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self._exchange: Exchange | None = None
        self._past: PaperBooks | None = None  # until it is given back to the exchange

    @property
    def exchange(self) -> Exchange:
        """The account's exchange, once the venue's instruments are known."""
        assert self._exchange is not None, "instruments are asked for before the account"
        return self._exchange

    @property
    def engine(self) -> Engine[Any]:
        """The account's exchange, once the venue's instruments are known."""
        return self.exchange

    async def account(self) -> AccountSnapshot:
        """Return the paper account."""
        return AccountSnapshot(
            balances=self.exchange.balances(api_key=PAPER_KEY), time_ns=self.clock.market_ns(), can_trade=True
        )

    async def _open(self, instruments: Mapping[str, Instrument]) -> None:
        self._past = past = read_lines(self._ledger.read())
        self._exchange = Exchange(
            listings=[listing_of(each, self._fees(each)) for each in instruments.values()],
            accounts=[SimAccount(api_key=PAPER_KEY, api_secret="", balances=self._balances)],
            market=self._market,
            listener=self._on_execution,
        )
        self._is_new = past is None
        self._matched_ns = past.time_ns if past is not None else 0

    async def _restore(self) -> None:
        """Give the account its past back, its open orders behind the books as they are now."""
        self._write_opening()
        past = self._past
        if past is None:
            return
        resting = {order.venue_symbol for order in past.orders.values() if order.is_open}
        await self._return_to(resting)
        self.exchange.restore(
            api_key=PAPER_KEY,
            balances=past.balances,
            orders=past.orders.values(),
            fills=past.fills,
            lists=past.lists.values(),
            sequence=past.sequence,
        )
        self._past = None
        for venue_symbol in resting:
            await self._wanted.add(self._by_venue[venue_symbol])

    def _on_execution(self, event: ExecutionEvent) -> None:
        order = event.order
        order_list = None
        if order.list_id is not None:
            order_list = self.exchange.order_list(api_key=PAPER_KEY, list_id=order.list_id)
        self._ledger.write(event_line(event, order_list=order_list))
        if self._sink is None:
            return  # whoever placed or cancelled it asks, once the stream stands again
        symbol = self._by_venue[order.venue_symbol].symbol
        if event.fill is not None:
            self._sink(fill_of(event.fill, symbol=symbol, sequence=event.sequence))
        self._sink(report_of(order, symbol=symbol, sequence=event.sequence))
        if event.balances:
            self._sink(AccountUpdate(balances=event.balances, time_ns=event.time_ns))


def listing_of(instrument: Instrument, fees: FeeSchedule, tiers: tuple[LeverageTier, ...] = ()) -> Listing:
    """Return the rules of an exchange that lists an instrument as it describes itself."""
    band = instrument.price_band
    return Listing(
        instrument=instrument,
        fees=fees,
        tiers=tiers,
        filters=FilterSet(
            price=PriceRange(
                min=instrument.min_price or _ZERO, max=instrument.max_price or _ZERO, tick=instrument.tick_size
            ),
            lot=LotRange(min=instrument.min_quantity, max=instrument.max_quantity or _ZERO, step=instrument.step_size),
            market_lot=LotRange(
                min=instrument.market_min_quantity or _ZERO,
                max=instrument.market_max_quantity or _ZERO,
                step=instrument.market_step_size or _ZERO,
            ),
            notional=NotionalRange(
                min=instrument.min_notional or _ZERO,
                max=instrument.max_notional or _ZERO,
                apply_min_to_market=instrument.min_notional_for_market,
            ),
            percent_price_by_side=PercentPriceBySide(
                bid_up=band.bid_up,
                bid_down=band.bid_down,
                ask_up=band.ask_up,
                ask_down=band.ask_down,
                avg_price_mins=band.minutes,
            )
            if band is not None
            else None,
            max_position=instrument.max_position,
            max_num_orders=instrument.max_orders,
            max_num_algo_orders=instrument.max_conditional_orders,
            max_num_iceberg_orders=instrument.max_iceberg_orders,
            iceberg_parts=instrument.max_iceberg_parts,
        ),
    )
