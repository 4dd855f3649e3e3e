"""What ``btx new`` writes: a distribution with an adapter, its simulator and its tests, under the venue's name."""
