"""What sets Binance's two futures markets apart on the wire: the names of their endpoints, and little else."""

from collections.abc import Mapping

import attrs

from btx.model.instrument import InstrumentKind
from btx.ports import Context

__all__ = ("MARKETS", "FuturesMarket", "market_of")


@attrs.frozen(kw_only=True)
class FuturesMarket:
    """One of them."""

    name: str
    prefix: str  # of ccxt's implicit endpoints
    kind: InstrumentKind
    brackets: str  # endpoint of the leverage tiers of symbols
    positions: str
    account: str

    def public(self, path: str) -> str:
        """Return ccxt's name of a public endpoint."""
        return f"{self.prefix}Public{path}"

    def private(self, path: str) -> str:
        """Return ccxt's name of a private endpoint."""
        return f"{self.prefix}Private{path}"


MARKETS: Mapping[str, FuturesMarket] = {
    "usdm": FuturesMarket(
        name="usdm",
        prefix="fapi",
        kind=InstrumentKind.LINEAR,
        brackets="fapiPrivateGetLeverageBracket",
        positions="fapiPrivateV3GetPositionRisk",
        account="fapiPrivateV3GetAccount",
    ),
    "coinm": FuturesMarket(
        name="coinm",
        prefix="dapi",
        kind=InstrumentKind.INVERSE,
        brackets="dapiPrivateV2GetLeverageBracket",
        positions="dapiPrivateGetPositionRisk",
        account="dapiPrivateGetAccount",
    ),
}


def market_of(context: Context) -> FuturesMarket:
    """Return what is special of the context's market."""
    return MARKETS[context.market]
