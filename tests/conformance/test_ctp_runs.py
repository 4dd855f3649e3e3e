"""CTP's cards of faults, restarts and limits, of which most are whole runs: as long as all others together."""

from pathlib import Path

from tests.conformance.apart import needs_ctp, none_fails

OF_RUNS = ("FLT", "RST", "LIM")


@needs_ctp
def test_ctp_passes_every_card_of_faults_restarts_and_limits_that_is_about_what_it_declares(tmp_path: Path) -> None:
    none_fails("ctp", *OF_RUNS, folder=tmp_path)
