"""A process that records a hundred frames, says so when they are flushed, and waits to be killed."""

import sys
import threading
from pathlib import Path

from btx.model.frames import Frame, FrameKind
from btx.storage.recorded import lines, parts
from btx.storage.recording import Limits, Recorder


class _Clock:
    def wire_ns(self) -> int:
        return 1

    def market_ns(self) -> int:
        return 1


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    recorder = Recorder(
        folder,
        about={"session": "toy"},
        clock=_Clock(),
        secrets=(),
        on_fault=print,
        limits=Limits(flush_s=0.01),
    )
    for number in range(100):
        recorder.tap(Frame(kind=FrameKind.RECEIVED, connection=1, text=str(number)))
    pause = threading.Event()
    while sum(line["k"] == "received" for line in lines(parts(folder))) < 100:
        pause.wait(0.02)
    sys.stdout.write("flushed\n")
    sys.stdout.flush()
    sys.stdin.read()
    pause.wait()
