"""What the README says of the simulator."""

from pathlib import Path

from btx_futu.sim.app import NOT_MODELLED


def test_the_readme_lists_exactly_what_is_not_modelled(root: Path) -> None:
    readme = (root / "adapters" / "btx_futu" / "README.md").read_text(encoding="utf-8")

    section = readme.partition("### What is not modelled")[2].partition("\n## ")[0]
    assert [line.removeprefix("- ") for line in section.splitlines() if line.startswith("- ")] == list(NOT_MODELLED)
