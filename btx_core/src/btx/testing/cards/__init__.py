"""The cards, one module per group."""

import importlib
import pkgutil

__all__ = ("load",)


def load() -> None:
    """Import every module of cards, which registers them."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
