"""The pure rules: ``(state, event, now) -> state'``. No clock, socket, log, dice or mutation.

Import from the module that owns the rule: ``from btx.rules.orders import apply``.
"""
