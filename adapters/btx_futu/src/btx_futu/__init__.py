"""Futu for btx. Loaded by name, ``btx.load("futu")``; nothing here is imported before."""
