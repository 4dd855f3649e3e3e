"""CTP's cards of its ports and of all that is quickly told; those of whole runs are beside, in test_ctp_runs.py."""

from pathlib import Path

from btx.testing import GROUPS
from tests.conformance.apart import needs_ctp, none_fails
from tests.conformance.test_ctp_runs import OF_RUNS


@needs_ctp
def test_ctp_passes_every_card_of_its_ports_that_is_about_what_it_declares(tmp_path: Path) -> None:
    none_fails("ctp", *(group for group in GROUPS if group not in OF_RUNS), folder=tmp_path)
