"""Bybit in a box."""
