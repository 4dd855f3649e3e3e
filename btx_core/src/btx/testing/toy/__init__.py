"""Toy for btx: the adapter, and in ``sim`` a simulator that speaks its wire protocol."""
