"""The simulated venue of USD-M and COIN-M futures."""
