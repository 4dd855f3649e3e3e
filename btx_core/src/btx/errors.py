"""What can go wrong, and by its class alone what the caller may do about it.

::

    BtxError
    ├── ConfigError                  a human must act: settings, before anything is sent
    │   ├── UnknownVenueError        no such adapter is installed
    │   ├── MissingSecretError       a key or secret is not there
    │   └── UnknownSymbolError       the venue lists no such instrument
    ├── PluginError                  an adapter cannot be used
    │   └── IncompatiblePluginError  adapter and core speak different API numbers
    ├── VenueError                   the venue answered: definitely not done
    │   ├── OrderRejectedError       this order, as it is, never
    │   │   ├── InsufficientFundsError
    │   │   └── FilterError          a price, size or notional rule of the venue
    │   ├── OrderNotFoundError       the venue knows no such (open) order
    │   ├── NotSupportedError
    │   ├── AuthenticationError      a human must act: keys, permissions
    │   │   └── ClockError           the request's time stamp: read the venue's clock, then retry
    │   └── RateLimitedError         may retry after ``retry_after_s``
    ├── TransportError               nothing was done; may retry
    │   ├── OutcomeUnknownError      it may have been done: ask the venue, never send again
    │   └── SubscriptionRefusedError a stream will not carry something it was asked for
    ├── DataError
    │   ├── GapError                 something is missing in a stream
    │   └── SequenceError            something is out of order in a stream
    ├── RiskVetoError                a rule or an extension refused before sending
    ├── JournalError                 the intent is not on disk: nothing was sent
    └── OrderTransitionError         an event that does not belong to this order

Three questions, three answers: *may I retry* (``TransportError`` but not
``OutcomeUnknownError``; ``RateLimitedError`` later), *must I reconcile*
(``OutcomeUnknownError``), *must a human act* (``ConfigError``,
``AuthenticationError``).
"""

__all__ = (
    "AuthenticationError",
    "BtxError",
    "ClockError",
    "ConfigError",
    "DataError",
    "FilterError",
    "GapError",
    "IncompatiblePluginError",
    "InsufficientFundsError",
    "JournalError",
    "MissingSecretError",
    "NotSupportedError",
    "OrderNotFoundError",
    "OrderRejectedError",
    "OrderTransitionError",
    "OutcomeUnknownError",
    "PluginError",
    "RateLimitedError",
    "RiskVetoError",
    "SequenceError",
    "SubscriptionRefusedError",
    "TransportError",
    "UnknownSymbolError",
    "UnknownVenueError",
    "VenueError",
)


class BtxError(Exception):
    """Everything btx raises on purpose."""


class ConfigError(BtxError):
    """A setting is wrong or missing; the message says which and what to write instead."""


class UnknownVenueError(ConfigError):
    """No installed distribution offers this venue."""


class MissingSecretError(ConfigError):
    """A key or secret that this environment needs is not there."""


class UnknownSymbolError(ConfigError):
    """The venue lists no instrument of this name."""


class PluginError(BtxError):
    """An adapter is broken: it cannot be imported, or a required hook answers nothing."""


class IncompatiblePluginError(PluginError):
    """Adapter and core were written for different hook API numbers."""


class VenueError(BtxError):
    """The venue answered and did not do it; ``code`` is the venue's own."""

    def __init__(self, message: str, *, code: int | str | None = None) -> None:
        super().__init__(message)
        self.code = code


class OrderRejectedError(VenueError):
    """The venue refused the order (or the cancel); no order of that id came to life."""


class InsufficientFundsError(OrderRejectedError):
    """The account cannot pay for the order."""


class FilterError(OrderRejectedError):
    """The order breaks a trading rule of the instrument; the rule is in the message."""


class OrderNotFoundError(VenueError):
    """The venue has no such order. For a cancel: it is not open any more."""


class NotSupportedError(VenueError):
    """The venue, or this adapter, cannot do it at all."""


class AuthenticationError(VenueError):
    """Key, signature, permission, address or clock is not accepted; retrying does not help."""


class ClockError(AuthenticationError):
    """The time stamp of the request is outside the venue's receive window; nothing was done."""


class RateLimitedError(VenueError):
    """Too many requests; the venue will listen again after ``retry_after_s`` seconds.

    ``scope`` says to whom it does not listen: the whole address (``ip``), or to
    what counts against the limits of the account (``account``).
    """

    def __init__(self, message: str, *, retry_after_s: float, code: int | str | None = None, scope: str = "ip") -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s
        self.scope = scope


class TransportError(BtxError):
    """The venue was not reached, or a connection ended; the request certainly did nothing."""


class OutcomeUnknownError(TransportError):
    """The request left and no answer came: it may have been done. Ask by client order id."""


class SubscriptionRefusedError(TransportError):
    """The venue answered that it will not push something that was asked of a connection, which ends by it."""


class DataError(BtxError):
    """Market data that cannot be trusted."""


class GapError(DataError):
    """A piece of a stream or of history is missing."""


class SequenceError(DataError):
    """A piece of a stream came out of its sequence."""


class RiskVetoError(BtxError):
    """A rule or an extension refused the order before anything was sent.

    ``lacks_funds``: the money for it is not there, so no rule would let it pass.
    """

    def __init__(self, message: str, *, lacks_funds: bool = False) -> None:
        super().__init__(message)
        self.lacks_funds = lacks_funds


class JournalError(BtxError):
    """The journal could not be written, and so nothing was sent; or it could not be read."""


class OrderTransitionError(BtxError):
    """The event cannot belong to this order, or contradicts one that was already counted."""
