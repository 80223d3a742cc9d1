"""The gate: who may try a credential, and when nobody may any more."""

from __future__ import annotations

import threading
import time

import pytest

from exremote.credential import Credential, Gate
from exremote.errors import AccessDenied, LogonRefused
from exremote.inventory import Host
from exremote.runner import CredentialGate


def host(name: str) -> Host:
    credential = Credential(kind="environment", username="u", reference="V")
    return Host(name=name, address=f"{name}.example", credential=credential)


def refuse(gate: CredentialGate, name: str, error: type[AccessDenied]) -> None:
    with pytest.raises(error), gate.admit(host(name)):
        raise error(name, "no.")


def test_a_refused_logon_closes_the_credential() -> None:
    gate = CredentialGate()
    refuse(gate, "EX01", LogonRefused)
    with (
        pytest.raises(LogonRefused, match="EX02: not tried: EX01 refused the same"),
        gate.admit(host("EX02")),
    ):
        pytest.fail("it was tried")


def test_it_closes_it_even_where_it_was_taken_before() -> None:
    gate = CredentialGate()
    with gate.admit(host("EX01")):
        pass
    refuse(gate, "EX02", LogonRefused)
    with pytest.raises(LogonRefused, match="not tried"), gate.admit(host("EX03")):
        pytest.fail("it was tried")


def test_a_logon_refused_in_the_middle_closes_it_too() -> None:
    gate = CredentialGate()
    with gate.admit(host("EX01")):
        pass
    gate.refuse(host("EX01").credential.identity, "EX01")
    with pytest.raises(LogonRefused, match="EX01 refused"), gate.admit(host("EX02")):
        pytest.fail("it was tried")


def test_whatever_else_is_denied_concerns_one_host() -> None:
    gate = CredentialGate()
    refuse(gate, "EX01", AccessDenied)
    with gate.admit(host("EX02")):
        pass


def test_the_others_wait_for_the_first() -> None:
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
