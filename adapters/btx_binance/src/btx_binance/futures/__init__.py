"""Binance USD-M and COIN-M: one code, and a table of what differs."""
