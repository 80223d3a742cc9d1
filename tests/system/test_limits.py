"""What bounds a run: a rate for all its lines, a deadline, and how many hosts behind one gateway."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import Cli, World, held, wait_for_bytes

from exremote.connector import Connector
from exremote.credential import Secret
from exremote.inventory import Host, Inventory
from exremote.journal import Journal
from exremote.lab.site import Bulk, HostSpec
from exremote.lab.world import World as Lab
from exremote.runner import Outcome, State, Visit, each_host
from exremote.script import ScriptLibrary
from exremote.session import Session

FILES, BYTES = 8, 1 << 20
PAIR = tuple(
    HostSpec(
        f"EXTWIN0{n}",
        ("groupwise",),
        bulk=(Bulk(files=FILES, size=BYTES // FILES, seed=n),),
        api=rf"\\NWFS0{n}\SYS\GWDOM\WPGATE\API",
    )
    for n in (1, 2)
)
"""1 MiB on each, that do not deflate and are not the same."""
RATE, OWN = 1_000_000, 700_000
BIG, NEXT = "EXBIG01", "EXNOTES01"
SLOW = 3_000_000
"""Bits per second: the bulk of the big host takes about twelve seconds."""


def carried(world: World, *hosts: str) -> int:
    """Return the bytes of HTTP bodies that hosts have sent and received, by the lab's own count."""
    counters = [world.client.counters(host) for host in hosts]
    return sum(int(one["bytes_in"]) + int(one["bytes_out"]) for one in counters)


def watched(cli: Cli, world: World, names: Sequence[str], *args: str) -> list[tuple[float, int]]:
    """Run a command to its good end. Return moments, and what these hosts had carried by then."""
    for name in names:
        world.client.reset_counters(name)
    seen: list[tuple[float, int]] = []
    with cli.started(*args) as process:
        while process.poll() is None:
            if count := carried(world, *names):
                seen.append((time.monotonic(), count))
            time.sleep(0.05)
    assert process.returncode == 0
    return seen


@pytest.mark.not_under_wine("wire")
def test_all_hosts_together_stay_below_the_rate(private: Callable[..., tuple[Cli, World]]) -> None:
    """Over raw streams and over PSRP; then one host alone, by a rate of its own."""
    cli, world = private(*PAIR)
    names = [spec.name for spec in PAIR]
    for bulk in ("auto", "wire"):
        cli.inventory(*names, defaults=f"bulk = '{bulk}'")
        shutil.rmtree(cli.repository, ignore_errors=True)
        cli.init()
        seen = watched(cli, world, names, "backup", "--limit-rate", f"{RATE / 1000:.0f}k")
        (began, _), (ended, total) = seen[0], seen[-1]
        assert total > 2 * BYTES * 1.3, "the bulk of both went over the wire"
        # What both may have on its way at once is what the line carries in a second, and half as much again.
        assert all(count <= 1.5 * RATE + 1.1 * RATE * (at - began) for at, count in seen)
        assert total / RATE - 1.5 <= ended - began <= 2 * total / RATE + 4, "slower than it had to be"
        for name in names:
            assert len(held(cli, name, "groupwise")) >= FILES
    shutil.rmtree(cli.repository)
    cli.init()
    cli.inventory(*names, extra={names[0]: f"limit_rate = '{OWN / 1000:.0f}k'"})
    seen = watched(cli, world, names[:1], "backup")
    assert seen[-1][1] > BYTES * 1.3
    assert seen[-1][0] - seen[0][0] >= seen[-1][1] / OWN - 1.5


@pytest.mark.not_under_wine("local")
def test_bounds_that_cannot_be(cli: Cli) -> None:
    cli.init()
    slow = "63 kB/s is too slow: a host would give up before its answer has come."
    for option, value, sentence in (
        ("--limit-rate", "63k", slow),
        ("--limit-rate", "fast", "'fast' is no rate. Write 500k or 2M (bytes a second), at least 64 kB/s."),
        ("--deadline", "6", "'6' is no time that a run may take. Write 6h, 90m, 45s, or 1h30m."),
        ("--deadline", "0h", "'0h' is no time"),
    ):
        assert sentence in " ".join(cli("backup", option, value, code=2).err.split())
    assert not list((cli.repository / "runs").iterdir())
    assert "note: at 191 kB/s, 2 hosts at a time" in cli("backup", "--limit-rate", "191k", "--dry-run").err
    cli.inventory(NEXT, extra={NEXT: "limit_rate = '10k'"})
    assert "at least 64k" in cli("backup", code=2).err


@pytest.mark.not_under_wine("time")
def test_at_the_deadline_running_hosts_stop_and_others_are_not_begun(cli: Cli, world: World) -> None:
    """What had come is kept, and nothing is left behind on the host."""
    cli.inventory(BIG, NEXT)
    cli.init()
    world.client.reset_counters(BIG)
    world.line(BIG, bandwidth_bps=SLOW)
    after_s = 8
    with cli.started("backup", "--parallel", "1", "--deadline", f"{after_s}s", "--json") as process:
        began = time.monotonic()
        wait_for_bytes(world, BIG, 700_000)
        assert process.wait(after_s + 15) == 3
    assert time.monotonic() - began < after_s + 12
    assert world.no_shell() == {}
    big, next_ = cli.ran[-1].json["hosts"]
    assert (big["state"], big["exit_code"]) == ("incomplete", 3)
    assert big["message"].startswith(
        f"stopped at the deadline of the run ({after_s}s); what had come is kept"
    )
    assert (next_["state"], next_["exit_code"]) == ("skipped", 3)
    assert next_["message"] == f"not begun: the deadline of the run ({after_s}s) had passed"
    assert world.client.counters(NEXT)["requests"] == 0
    assert cli.snapshots() == []
    (run,) = cli("runs", "--json").json
    assert (run["exit_code"], run["state"], run["resume"]) == (3, "ended", f"exremote resume {run['run']}")
    told = cli("runs", run["run"]).out
    assert f"the deadline ({after_s}s) passed: 1 host stopped, 1 host not begun" in " ".join(told.split())
    world.client.set_line(BIG)
    again = cli("resume", run["run"], "--json").json["hosts"]
    assert [(host["host"], host["state"]) for host in again] == [(BIG, "done"), (NEXT, "done")]
    distinct = {sha256 for c in ("calendar", "groupwise") for *_, sha256 in held(cli, BIG, c)}
    assert len(distinct) - int(again[0]["sent_files"]) >= 2, "what came before the deadline came again"


@pytest.mark.not_under_wine("wire")
def test_at_the_deadline_nobody_waits_for_a_host_that_is_away(cli: Cli) -> None:
    cli.inventory("EXDOWN01", NEXT, retry="attempts = 20\ntotal_s = 300\nfirst_wait_s = 30")
    cli.init()
    began = time.monotonic()
    down, well = cli("backup", "--deadline", "4s", "--json", code=3).json["hosts"]
    assert time.monotonic() - began < 12
    assert down["message"].startswith("stopped at the deadline")
    assert well["state"] == "done"


# ------------------------------------------------------------ gateways

GATED = tuple(f"EXFAR0{n}" for n in range(1, 5))
OTHERS = ("EXNEAR01", "EXNEAR02")


class Crowd:
    """How many sessions with hosts of a kind are open at once, by the lab's own sight of their shells."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.most: dict[tuple[str, ...], int] = {}
        self._over = threading.Event()

    @contextmanager
    def counted(self, *kinds: tuple[str, ...]) -> Iterator[None]:
        """Look again and again while the block goes on."""

        def look() -> None:
            while not self._over.wait(0.01):
                for kind in kinds:
                    count = len({shell["id"] for name in kind for shell in self.lab.shells(name)})
                    self.most[kind] = max(self.most.get(kind, 0), count)

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()


def test_hosts_behind_one_gateway_wait_for_each_other_alone(tmp_path: Path) -> None:
    """Two at a time behind the gateway; who comes behind them in the list, and is not, does not wait."""
    gated = [HostSpec(name, ("calendar",), os="2000", via="GW") for name in GATED]
    lab = Lab(
        [HostSpec("GW", os="2008r2", winrm=3), *gated, *(HostSpec(name, ("calendar",)) for name in OTHERS)]
    )
    try:
        text = lab.inventory.read_text("utf-8").replace("[gateways.GW]", "[gateways.GW]\nparallel = 2")
        inventory = tmp_path / "site.toml"
        inventory.write_text(text, encoding="utf-8")
        site = Inventory.load(inventory, list(Connector.load_all()))
        hosts = [site.hosts[name] for name in (*GATED, *OTHERS)]
        together = threading.Barrier(len(OTHERS) + 2, timeout=20)

        def work(host: Host, session: Session) -> Outcome:
            session.host_fact()
            if host.name in (*GATED[:2], *OTHERS):
                together.wait()  # all four are at work at once, or this breaks
            return Outcome(host.name, State.DONE)

        accounts = {h.credential.identity: Secret(lab.user, lab.password) for h in hosts}
        journal = Journal.create(
            tmp_path, "20261122T101500Z-00000a", "backup", ["backup"], lambda: datetime.now(UTC)
        )
        stop = threading.Event()
        visit = Visit(ScriptLibrary.load(), accounts, journal, {}, work, stop, lambda name, text: None)
        crowd = Crowd(lab)
        with crowd.counted(GATED, OTHERS):
            outcomes = each_host(hosts, visit, parallel=6, stop=stop)
        journal.close("0")
        assert [(o.host, o.state, o.message) for o in outcomes] == [(h.name, "done", "") for h in hosts]
        assert crowd.most == {GATED: 2, OTHERS: 2}
    finally:
        lab.stop()
