"""Frozen values: what is traded, asked for, filled, owed and seen. Nothing here acts.

Import from the module that owns the noun: ``from btx.model.order import Side``.
"""
