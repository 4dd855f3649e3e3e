"""Binance's wire protocol over ``btx.sim``: written from the venue's documentation, not from our codec."""
