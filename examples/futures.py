"""The ten lines on perpetuals: five times leverage, long and short; what fees and funding took, to the last digit."""

import backtrader as bt

import btx
from btx.bt.analyzers import Costs


class Cross(bt.Strategy):
    """Hold a position whose margin is a tenth of the equity: long above the slow average, short below it."""

    def __init__(self) -> None:
        self.above = bt.indicators.SMA(period=10) > bt.indicators.SMA(period=40)
        self.was_above: bool | None = None

    def next(self) -> None:
        is_above = bool(self.above[0])
        if self.data.is_live and is_above is not self.was_above:
            self.was_above = is_above
            self.order_target_percent(target=0.1 if is_above else -0.1)  # of the equity, as margin

    def notify_store(self, message: str, *_args: object, **_kwargs: object) -> None:
        if message.startswith("FUNDING"):
            print(f"{self.data.datetime.datetime()}  {message}")

    def notify_trade(self, trade: bt.Trade) -> None:
        if trade.isclosed:
            print(f"{self.data.datetime.datetime()}  {'long' if trade.long else 'short':5}  {trade.pnlcomm:+.2f}")


store = btx.load("binance", env="sim", market="usdm", leverage=5, scenario=btx.scenario(until="9h"))
cerebro = bt.Cerebro()
cerebro.setbroker(store.getbroker())
cerebro.adddata(store.getdata(dataname="BTC/USDT", timeframe=bt.TimeFrame.Minutes, backfill="2h"))
cerebro.addstrategy(Cross)
cerebro.addanalyzer(Costs)
(strategy,) = cerebro.run()
for what, sums in strategy.analyzers[0].get_analysis().items():
    print(what, ", ".join(f"{amount} {asset}" for asset, amount in sums.items()) or "none")
print(f"value at the end: {cerebro.broker.getvalue():,.2f}")
