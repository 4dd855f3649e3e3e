"""The honest venue's hooks, in a module that imports an exchange library before anybody asks for it."""

from btx.bridges.ccxt import Client
from btx.testing.toy.plugin import (
    btx_broker,
    btx_commission,
    btx_feed,
    btx_listed,
    btx_simulator,
    btx_store,
    btx_venue,
    btx_websocket,
)

__all__ = (
    "Client",
    "btx_broker",
    "btx_commission",
    "btx_feed",
    "btx_listed",
    "btx_simulator",
    "btx_store",
    "btx_venue",
    "btx_websocket",
)
