"""One question to a simulator's control channel, from code that has no loop."""

import asyncio
from collections.abc import Mapping
from typing import Any

from btx.runtime.control import Control

__all__ = ("ask",)


def ask(control: str, operation: str, **arguments: object) -> Mapping[str, Any]:
    """Ask and return the answer.

    Raises:
        TransportError: there is none, or the simulator refused.
    """

    async def once() -> Mapping[str, Any]:
        channel = await Control.connect(control)
        try:
            return await channel.ask(operation, **arguments)
        finally:
            await channel.close()

    return asyncio.run(once())
