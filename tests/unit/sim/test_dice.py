"""Dice: keys decide, nothing else."""

from btx.sim.dice import key_of, mix, unit


def test_the_same_key_falls_the_same_way() -> None:
    assert key_of(1, "BTC/USDT") == key_of(1, "BTC/USDT") != key_of(2, "BTC/USDT")
    assert mix(1) == 0x910A2DEC89025CC1  # the published first number of splitmix64 with seed 1


def test_neighbours_differ_and_fill_the_unit_interval_evenly() -> None:
    numbers = [unit(mix(key)) for key in range(10_000)]

    assert all(0 <= number < 1 for number in numbers)
    assert abs(sum(numbers) / len(numbers) - 0.5) < 0.01
