"""The ten lines: change ``env`` and nothing else."""

import backtrader as bt

import btx


class BuyTheDip(bt.Strategy):
    """Buy after three falling closes, sell after three rising ones."""

    def next(self) -> None:
        closes = [self.data.close[-ago] for ago in range(4)] if len(self.data) > 3 else []
        if closes and closes == sorted(closes) and not self.position:
            self.buy(size=0.01)
        elif closes and closes == sorted(closes, reverse=True) and self.position:
            self.close()

    def notify_trade(self, trade: bt.Trade) -> None:
        if trade.isclosed:
            print(f"{self.data.datetime.datetime()}  {trade.pnlcomm:+.2f}")


# --8<-- [start:load]
store = btx.load("binance", env="sim")  # "backtest", "sim", "paper", "testnet" or "live"
cerebro = bt.Cerebro()
cerebro.setbroker(store.getbroker())
cerebro.adddata(store.getdata(dataname="BTC/USDT", timeframe=bt.TimeFrame.Minutes, backfill="2h"))
cerebro.addstrategy(BuyTheDip)
cerebro.run()
# --8<-- [end:load]
print(f"value at the end: {cerebro.broker.getvalue():,.2f}")
