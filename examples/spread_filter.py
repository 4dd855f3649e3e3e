"""Trade a bar's signal only while the spread is narrow and the book is deep enough to take the order."""

from decimal import Decimal

import backtrader as bt

import btx


class SpreadFilter(bt.Strategy):
    """Buy above the average and sell below it, if the market just now is worth trading in."""

    params = (("period", 20), ("size", 0.01), ("widest_bps", 2))

    def __init__(self) -> None:
        self.average = bt.indicators.SMA(period=self.p.period)
        self.refused = 0

    def next(self) -> None:
        is_above = self.data.close[0] > self.average[0]
        if is_above and not self.position:
            if self.is_worth_it():
                self.buy(size=self.p.size)
            else:
                self.refused += 1
        elif not is_above and self.position:
            self.close()

    def is_worth_it(self) -> bool:
        """Say whether the spread is narrow and the best asks hold the order ten times over."""
        quote, book = self.data.market.quote, self.data.market.book
        if quote is None or book is None:  # history, a cut, or a book that is being put right
            return False
        spread_bps = (quote.ask_price - quote.bid_price) / quote.bid_price * 10_000
        offered = sum((quantity for _, quantity in book.asks), Decimal(0))
        return spread_bps <= self.p.widest_bps and offered >= 10 * Decimal(str(self.p.size))


store = btx.load("binance", env="sim", scenario=btx.scenario(until="4h"))
cerebro = bt.Cerebro()
cerebro.setbroker(store.getbroker())
data = store.getdata(dataname="BTC/USDT", timeframe=bt.TimeFrame.Minutes, backfill="2h", quotes=True, book=20)
cerebro.adddata(data)
cerebro.addstrategy(SpreadFilter)
(strategy,) = cerebro.run()
overwritten = data.market.conflated
print(f"refused {strategy.refused} entries; {overwritten.quotes} quotes and {overwritten.book} books were overwritten")
print(f"value at the end: {cerebro.broker.getvalue():,.2f}")
