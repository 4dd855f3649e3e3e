"""The Binance adapter of btx. Everything is found through the entry point ``btx.venues``."""
