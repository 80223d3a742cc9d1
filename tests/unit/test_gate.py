"""The gates: who may try a credential, and when nobody may any more."""

from __future__ import annotations

import threading
import time

import pytest

from exremote.credential import Secret
from exremote.errors import LogonRefused
from exremote.gate import Gate, LogonGate

ME = Secret("DOM\\me", "canary")


def tried(gate: LogonGate, host: str, accepted: bool | None, key: object = ME) -> None:
    with gate.proof(key, host) as proof:
        proof.accepted = accepted


def refused(gate: LogonGate, host: str, words: str, key: object = ME) -> None:
    with pytest.raises(LogonRefused, match=words), gate.proof(key, host):
        pytest.fail("it was tried")


def test_a_refused_logon_closes_the_credential() -> None:
    gate = LogonGate()
    tried(gate, "EX01", False)
    refused(gate, "EX02", "EX02: not tried: EX01 refused the same")
    with pytest.raises(LogonRefused):
        gate.check(ME, "EX03")


def test_it_closes_it_even_where_it_was_taken_before() -> None:
    gate = LogonGate()
    tried(gate, "EX01", True)
    tried(gate, "EX02", False)
    refused(gate, "EX03", "not tried: EX02 refused")
    refused(gate, "EX01", "not tried: EX02 refused")


def test_one_account_by_several_references_is_one_credential() -> None:
    gate = LogonGate()
    tried(gate, "EX01", False)
    refused(gate, "EX02", "not tried", key=Secret("dom\\ME", "canary"))
    tried(gate, "EX02", True, key=Secret("DOM\\me", "another"))


def test_a_proof_that_was_never_answered_is_repeated_once_in_all() -> None:
    gate = LogonGate()
    tried(gate, "EX01", None)
    with pytest.raises(OSError, match="cut"), gate.proof(ME, "EX02"):
        raise OSError("cut")
    for host in ("EX01", "EX02", "EX03"):
        refused(gate, host, "2 times the line broke")


def test_where_it_is_known_to_be_right_only_the_host_that_never_answers_is_given_up() -> None:
    gate = LogonGate()
    tried(gate, "EX01", True)
    for _ in range(5):
        tried(gate, "EX01", None)  # taken here before: the line may break as often as it likes
    for _ in range(2):
        tried(gate, "EX02", None)
    refused(gate, "EX02", "2 times the line broke")
    tried(gate, "EX03", True)


def test_the_others_wait_for_the_first_proof() -> None:
    gate, order = LogonGate(), list[str]()

    def other() -> None:
        with gate.proof(ME, "EX02") as proof:
            order.append("other")
            proof.accepted = True

    thread = threading.Thread(target=other)
    with gate.proof(ME, "EX01") as proof:
        thread.start()
        time.sleep(0.05)
        order.append("first")
        proof.accepted = True
    thread.join()
    assert order == ["first", "other"]
    with gate.proof(ME, "EX01"), gate.proof(ME, "EX01"):
        pass  # it is proven there: nobody waits any more


def test_a_proof_within_a_turn_of_its_own_does_not_wait_for_itself() -> None:
    gate = LogonGate()
    with gate.turn(ME):
        tried(gate, "EX01", True)


def test_the_others_wait_for_a_turn() -> None:
    gate, order = Gate(), list[str]()

    def other() -> None:
        with gate.turn("k"):
            order.append("other")

    thread = threading.Thread(target=other)
    with gate.turn("k"):
        thread.start()
        time.sleep(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "other"]
    with gate.turn("k"), gate.turn("k"):
        pass  # it is proven: nobody waits any more
