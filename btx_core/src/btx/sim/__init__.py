"""A venue without a wire: market, accounts, matching, clocks. Adapters put their protocol over it."""
