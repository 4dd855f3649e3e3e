"""The vendor's protobuf messages, without the vendor's library: importing that takes over signals and opens files.

They stand beside it in its distribution, and import one another by their bare names.
"""

import functools
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

__all__ = ("message_module",)


@functools.cache
def message_module(name: str) -> Any:
    """Return the module of a message, ``Trd_PlaceOrder``: its ``Request`` and ``Response``."""
    folder = _folder()
    sys.path.append(folder)
    try:
        return importlib.import_module(f"{name}_pb2")
    finally:
        sys.path.remove(folder)


@functools.cache
def _folder() -> str:
    spec = importlib.util.find_spec("futu")
    assert spec is not None, "futu-api is a dependency"
    assert spec.submodule_search_locations, "it is a package"
    return str(Path(spec.submodule_search_locations[0]) / "common" / "pb")
