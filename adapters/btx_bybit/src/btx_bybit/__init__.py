"""Bybit for btx. Loaded by name, ``btx.load("bybit")``; nothing here is imported before."""
