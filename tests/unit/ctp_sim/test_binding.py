"""The real binding with the drop-in below it; in a process of its own, as the patch is for all of one."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.measured import python

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or importlib.util.find_spec("openctp_ctp") is None,
    reason="CTP's binding, or what stands behind it here, is not there",
)


def test_the_binding_calls_and_is_called_as_by_the_vendors_library(root: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        python("-m", "tests.unit.ctp_sim.bound", str(tmp_path)),
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=60.0,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "before": [False, True, -1],  # no connection
        "thread": "ctp-api",
        "login": [-77, "正确", 7, True],
        "limits": [2, 6, True],
        "day": "20251103",
        "queries": [0, -2, 0, -3],  # one at a time, two in a second
        "rows": [None, None, 10, True],
        "order": ["a1", 3.5],
        "kept": "",  # a struct is gone when its callback has returned
        "reason": 0x2003,  # a packet that cannot be read
        "heard": [{"UserID": "me", "ResumeType": 2}, {"LimitPrice": 3.5, "OrderMemo": "a1"}],
    }


def test_a_process_that_trades_the_simulator_reaches_no_real_front(root: Path) -> None:
    script = (
        "import btx\n"
        "from btx_ctp.locale import gb18030\n"
        "from btx_ctp.sim import dropin\n"
        "with gb18030():\n    import openctp_ctp\n"
        "dropin.install(openctp_ctp)\n"
        "fronts = {'broker_id': '1', 'trading_front': 'tcp://127.0.0.1:9', 'market_front': 'tcp://127.0.0.1:9'}\n"
        "store = btx.load('ctp', env='live', confirm=True, api_key='me', api_secret='x', options=fronts)\n"
        "try:\n    store.session.start()\n"
        "except btx.errors.ConfigError as error:\n    print(error)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False, timeout=60.0
    )

    assert "run env='live' in a process of its own" in done.stdout, done.stderr
