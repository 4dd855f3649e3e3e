"""The webhook: what happens is told to a real server, and nothing ever waits for it."""

import json
import logging
import socket
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from btx.config import Secret
from btx.model.time import NS_PER_S
from btx.ops.alerts import Alarms, Webhook
from btx.rules.backoff import Backoff

SECRET_PART = "T0KEN"
AT_ONCE = Backoff(base_s=0.001, cap_s=0.002)
WAIT_S = 20.0  # a deadline, not a duration


class Receiver:
    """A server that writes down what it is sent, and answers what the test says."""

    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []
        self.types: list[str | None] = []
        self.answers: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.arrived = threading.Semaphore(0)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.arrived.release()
                outer.gate.wait(WAIT_S)
                status = outer.answers.pop(0) if outer.answers else 204
                if status == 204:
                    outer.messages.append(json.loads(body))
                    outer.types.append(self.headers["Content-Type"])
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        self.address = f"http://127.0.0.1:{self.server.server_port}/hooks/{SECRET_PART}"

    def stop(self) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(WAIT_S)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    yield server
    server.stop()


def webhook(address: str, **settings: Any) -> Webhook:
    return Webhook(Secret(address), session="toy/live/spot", **({"backoff": AT_ONCE} | settings))


def test_a_message_arrives_as_one_json_object(receiver: Receiver) -> None:
    hook = webhook(receiver.address)

    hook.tell("halted", "drift in BTC: “1” and not 2")
    hook.close(timeout_s=WAIT_S)

    (message,) = receiver.messages
    assert message | {"time": ""} == {
        "event": "halted",
        "session": "toy/live/spot",
        "text": "drift in BTC: “1” and not 2",
        "time": "",
    }
    assert message["time"].startswith("20")
    assert receiver.types == ["application/json"]
    assert (hook.sent, hook.dropped) == (1, 0)


def test_a_server_in_trouble_is_tried_again_in_order(receiver: Receiver) -> None:
    receiver.answers = [500, 429, 204]
    hook = webhook(receiver.address)

    hook.tell("one", "")
    hook.tell("two", "")
    for _ in range(4):
        assert receiver.arrived.acquire(timeout=WAIT_S)
    hook.close(timeout_s=WAIT_S)

    assert [message["event"] for message in receiver.messages] == ["one", "two"]
    assert (hook.sent, hook.dropped) == (2, 0)


@pytest.mark.parametrize("answer", [400, 404, 302])
def test_what_the_server_refuses_is_not_tried_again(receiver: Receiver, answer: int) -> None:
    receiver.answers = [answer]
    hook = webhook(receiver.address)

    hook.tell("one", "")
    hook.tell("two", "")
    hook.close(timeout_s=WAIT_S)

    assert [message["event"] for message in receiver.messages] == ["two"]
    assert (hook.sent, hook.dropped) == (1, 1)


def test_a_hanging_server_holds_up_nobody_and_the_queue_is_bounded(receiver: Receiver) -> None:
    receiver.gate.clear()
    hook = webhook(receiver.address, capacity=3)

    hook.tell("first", "")
    assert receiver.arrived.acquire(timeout=WAIT_S)
    for number in range(10):
        hook.tell(str(number), "")

    assert hook.dropped == 7
    hook.close(timeout_s=0.0)
    hook.tell("late", "")
    assert hook.dropped == 8
    receiver.gate.set()
    hook.close(timeout_s=WAIT_S)
    assert [message["event"] for message in receiver.messages] == ["first", "0", "1", "2"]


def test_nobody_there_is_told_without_the_secret_part(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}/{SECRET_PART}"
        hook = webhook(address, tries=2)

        with caplog.at_level(logging.DEBUG):
            hook.tell("one", "")
            hook.close(timeout_s=WAIT_S)

    assert hook.dropped == 1
    assert "ConnectionRefusedError" in caplog.text
    assert SECRET_PART not in caplog.text
    assert SECRET_PART not in repr(vars(hook))


def test_a_long_wait_between_two_tries_ends_with_the_run(receiver: Receiver) -> None:
    receiver.answers = [500]
    hook = webhook(receiver.address, backoff=Backoff(base_s=600.0, cap_s=900.0))

    hook.tell("one", "")
    assert receiver.arrived.acquire(timeout=WAIT_S)
    hook.close(timeout_s=WAIT_S)

    assert hook._thread is not None
    assert not hook._thread.is_alive()
    assert hook.dropped == 1


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/a b", "http://127.0.0.1:x/T0KEN", "T0KEN"])
def test_an_address_that_cannot_be_dialled_is_not_shown(address: str, caplog: pytest.LogCaptureFixture) -> None:
    hook = webhook(address, tries=1)

    hook.tell("one", "")
    hook.close(timeout_s=WAIT_S)

    assert hook.dropped == 1
    assert "did not take a message: " in caplog.text
    assert SECRET_PART not in caplog.text


def test_a_webhook_that_was_never_used_has_no_thread() -> None:
    webhook("http://127.0.0.1:1/").close()


class Watch:
    """Alarms, and what they told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.alarms = Alarms(lambda *message: self.told.append(message), naked_s=30.0, unknown_s=10.0)

    def at(self, seconds: int, **now: Any) -> list[tuple[str, str]]:
        self.told.clear()
        self.alarms.look(now_ns=seconds * NS_PER_S, **({"halted": None, "naked": {}, "unknown": ()} | now))
        return list(self.told)


def test_a_halt_is_told_when_it_begins_changes_and_ends() -> None:
    watch = Watch()

    assert watch.at(0) == []
    assert watch.at(1, halted="daily loss") == [("halted", "daily loss")]
    assert watch.at(2, halted="daily loss") == []
    assert watch.at(3, halted="drift") == [("halted", "drift")]
    assert watch.at(4) == [("resumed", "trading goes on")]


def test_what_lasts_too_long_is_told_once_and_again_when_it_is_over() -> None:
    watch = Watch()
    trouble = {"naked": {"g1": Decimal("0.5")}, "unknown": ["a1", "a2"]}

    assert watch.at(0, **trouble) == []
    assert watch.at(9, **trouble) == []
    assert watch.at(10, **(trouble | {"unknown": ["a1"]})) == [("unknown", "order a1 has no answer for 10 s")]
    assert watch.at(29, **trouble) == []
    assert watch.at(30, **trouble) == [("naked", "0.5 of group g1 have no protection for 30 s")]
    assert watch.at(31, unknown=["a2"]) == [("naked over", "g1 is settled"), ("unknown over", "a1 is settled")]
    assert watch.at(38, unknown=["a2"]) == []
    assert watch.at(39, unknown=["a2"]) == [("unknown", "order a2 has no answer for 10 s")]
