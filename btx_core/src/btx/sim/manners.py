"""Manners: in what venues differ although they take the same orders."""

import attrs

__all__ = ("BINANCE", "Manners")


@attrs.frozen(kw_only=True)
class Manners:
    """How a venue treats its clients; the exchanges are told at the start.

    ``ends_post_only``: a post-only order that would take is accepted, and ended at once; else it is refused.
    ``reduces_in_hedge``: reduce-only may be said of two-sided positions too, whose side says it already.
    ``charges_closing``: margins include the fees of a taker, to open what is ordered and to close what is held.
    ``default_leverage`` is what a symbol is traded with before the account says otherwise.
    ``marks_on_tick``: mark and index prices lie on the grid of orders' prices.
    """

    ends_post_only: bool = False
    reduces_in_hedge: bool = False
    charges_closing: bool = False
    default_leverage: int = 20
    marks_on_tick: bool = False


BINANCE = Manners()
