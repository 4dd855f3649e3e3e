"""Several things at once, of which the first to end ends all."""

import asyncio
from collections.abc import Coroutine
from typing import Any

__all__ = ("either",)


async def either(*parts: Coroutine[Any, Any, None]) -> None:
    """Run all until one ends, and raise what it raised; the others are cancelled, and over."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in tasks:
            each.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for error in outcomes:
        if isinstance(error, Exception):
            raise error
