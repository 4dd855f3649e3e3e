"""The backtrader façade: store, datas and broker as backtrader wants them. The only package that imports it."""
