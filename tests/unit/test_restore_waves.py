"""The canary goes first; after a failure nobody begins; no more stand at once than may."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from exremote.errors import NotBegun
from exremote.restore import Waves, in_waves


def run(waves: Waves, hosts: list[str], failing: str = "") -> tuple[list[str], list[str], int]:
    """Let each host take its turn. Return who began, who was refused, and how many were at it at once."""
    began: list[str] = []
    refused: list[str] = []
    now = most = 0
    lock = threading.Lock()

    def work(host: str) -> None:
        nonlocal now, most
        try:
            with waves.turn(host):
                with lock:
                    began.append(host)
                    now += 1
                    most = max(most, now)
                threading.Event().wait(0.02)
                with lock:
                    now -= 1
                if host == failing:
                    raise RuntimeError(host)
        except NotBegun:
            refused.append(host)
        except RuntimeError:
            pass

    with ThreadPoolExecutor(len(hosts)) as pool:
        list(pool.map(work, hosts))
    return began, refused, most


def test_the_canary_comes_first_then_wave_after_wave() -> None:
    hosts = ["A", "B", "C", "D"]
    order = in_waves(hosts, ["C"], 2)
    assert order == [["C"], ["A", "B"], ["D"]]
    began, refused, _ = run(Waves(order, {}), ["C", "A", "B", "D"])
    assert began[0] == "C"
    assert began[3] == "D"
    assert refused == []


def test_a_canary_that_fails_stops_the_others_before_they_begin() -> None:
    began, refused, _ = run(Waves([["C"], ["A", "B"]], {}), ["C", "A", "B"], failing="C")
    assert (began, sorted(refused)) == (["C"], ["A", "B"])


def test_keep_going_goes_on() -> None:
    began, refused, _ = run(Waves([["C"], ["A", "B"]], {}, keep_going=True), ["C", "A", "B"], failing="C")
    assert (sorted(began), refused) == (["A", "B", "C"], [])


def test_no_more_of_one_kind_stand_at_once_than_may() -> None:
    hosts = ["A", "B", "C"]
    _, _, most = run(Waves([hosts], dict.fromkeys(hosts, ("notes",)), at_once=1), hosts)
    assert most == 1


def test_an_interrupt_reaches_who_waits() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    waves = Waves([["A"], ["B"]], {}, going_on=stop)
    with pytest.raises(KeyboardInterrupt), waves.turn("B"):
        pass
