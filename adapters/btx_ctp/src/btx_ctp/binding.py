"""The vendor's library through its Python binding, loaded once, when it is first needed."""

import functools
from typing import Any

from btx.errors import ConfigError
from btx.model.venue import Environment
from btx.ports import Context
from btx_ctp.locale import gb18030

__all__ = ("binding_for",)


def binding_for(context: Context) -> Any:
    """Return the package ``openctp_ctp``, in a simulated environment with the simulator's library behind it.

    Raises:
        ConfigError: it is not installed, cannot be loaded here, or leads to simulators already.
    """
    from btx_ctp.sim import dropin  # with ctypes alone: nothing of the exchange comes with it

    if context.environment is not Environment.SIM:
        if dropin.is_installed():
            raise ConfigError(
                "this process trades CTP's simulator, and its library can reach no real front any more: "
                f"run env={context.environment.value!r} in a process of its own"
            )
        return _loaded()
    if context.endpoints is None:
        raise ConfigError("env='sim' has no addresses: start a simulator for it")
    binding = _loaded()
    dropin.install(binding)
    return binding


@functools.cache
def _loaded() -> Any:
    try:
        with gb18030():
            import openctp_ctp
    except ImportError as error:
        raise ConfigError(
            "CTP's binding is not installed here: pip install 'openctp-ctp>=6.7.10,<6.8' (there are wheels for Linux "
            f"x86-64, Windows and macOS, and none for other machines): {error}"
        ) from error
    return openctp_ctp
