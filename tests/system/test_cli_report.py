"""`exremote report`: what a run was, as a page in a real browser, as JUnit XML, and for a monitor."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from browser_support import browser
from conftest import CONNDATA, Cli, World
from prometheus_client.parser import text_string_to_metric_families

from exremote.journal import Journal
from exremote.lab.client import RunningLab

HOSTILE = (
    "<img src='http://192.0.2.1/a.png' onerror='document.title=1'></td><script>document.title=2</script>"
)
TURNED = 'EX\u202e10YEL\u200b\x1b[31m\x00\ud800\ufffe\n"quoted\\'
LONG = "L" * 300


@dataclass(frozen=True, slots=True)
class Site:
    """A folder in which a backup, two health runs and a restore ran."""

    cli: Cli
    backup: str
    before: str
    after: str
    restore: str

    def journal(self, run: str) -> Path:
        """Return a run's journal."""
        return self.cli.repository / "runs" / f"{run}.jsonl"


@pytest.fixture(scope="module")
def site(labs: Callable[[str], RunningLab], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Run what is reported, once: a report itself asks no host, so one engine will do."""
    lab = labs("simulated")
    world, cli = World(lab, "simulated"), Cli(lab, tmp_path_factory.mktemp("site"))
    cli.init()

    def newest(*args: str, code: int) -> str:
        cli(*args, code=code)
        return max((cli.repository / "runs").glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns).stem

    try:
        cli.inventory("EXNOTES01", "EXDOWN01")
        backup = newest("backup", code=3)
        cli.inventory("EXSICK01", "EXNOTES01", "EXDOWN01")
        before = newest("health", code=3)
        cli.inventory("EXSICK01", "EXNOTES01")
        world.stop_service("EXNOTES01", "LME-NOTES")
        lab.client.edit("EXSICK01", "set_service", name="LME-GWISE", state="Running")
        after = newest("health", code=5)
        world.write("EXNOTES01", rf"{CONNDATA}\Tables\lab0002.tbl", b"")
        done = ("--yes", "--confirmed", "notes-client", "--grace", "0")
        restore = newest("restore", "--latest", "EXNOTES01", *done, code=0)
        yield Site(cli, backup, before, after, restore)
        assert cli.leaks() == []
    finally:
        lab.client.edit("EXSICK01", "set_service", name="LME-GWISE", state="Stopped")
        world.restore()


@pytest.fixture(scope="module")
def hostile(site: Site) -> str:
    """Write the journal of a run whose hosts and messages are none that a person would choose."""
    run = "20200202T000000Z-hostile"
    journal = Journal.create(
        site.cli.repository / "runs", run, "health", ["health", HOSTILE, TURNED], lambda: datetime.now(UTC)
    )
    for host in (HOSTILE, TURNED, LONG):
        journal.event("host-started", host=host)
        journal.event("retry", host=host, said={"script": HOSTILE, "attempt": 1, "error": TURNED + LONG})
        journal.event("step-started", host=host, number=1, step={"kind": "stop-service", "service": LONG})
        journal.event("step-finished", host=host, number=1)
        journal.event("committed", host=host, connector=HOSTILE, snapshot=LONG, complete=False)
        finding = {
            "check": LONG,
            "connector": HOSTILE,
            "verdict": "critical",
            "evidence": TURNED,
            "remedy": HOSTILE,
        }
        journal.event(
            "findings", host=host, fail_on="nonsense", findings=[finding, finding, {"check": "]]>"}, 7]
        )
        journal.event(f"an {HOSTILE} event", host=host, text=LONG)
        journal.event("host-ended", host=host, state=HOSTILE, message=TURNED + LONG, exit_code=3)
    journal.close("3")
    return run


@dataclass(frozen=True, slots=True)
class Made:
    """What one command made of a run."""

    answer: Any
    page: Path
    xml: bytes
    metrics: str


@pytest.fixture(scope="module")
def made(site: Site, hostile: str) -> dict[str, Made]:
    """Report each run once, in all forms."""
    found = {}
    for run, more in (
        (site.backup, ()),
        (site.after, ("--against", site.before)),
        (site.restore, ()),
        (hostile, ()),
    ):
        files = [site.cli.folder / f"{run}.{end}" for end in ("html", "xml", "prom")]
        options = [
            t
            for pair in zip(("--html", "--junit", "--prometheus"), map(str, files), strict=True)
            for t in pair
        ]
        answer = site.cli("report", run, *more, *options, "--json").json
        found[run] = Made(answer, files[0], files[1].read_bytes(), files[2].read_text())
    return found


def samples(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Return what Prometheus' own parser reads: by name, by labels. Each has a help and a type."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        assert (family.type, bool(family.documentation)) == ("gauge", True), family.name
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in found.setdefault(sample.name, {}), "two samples of one name"
            found[sample.name][labels] = sample.value
    return found


def cases(xml: bytes) -> dict[tuple[str, str], str]:
    """Return the result of each test case; the numbers of the suite are those of its cases."""
    suite = Xml.fromstring(xml).find("testsuite")
    assert suite is not None
    found: dict[tuple[str, str], str] = {}
    for case in suite.findall("testcase"):
        key = case.attrib["classname"], case.attrib["name"]
        assert key not in found, "two cases of one name"
        results = [child.tag for child in case if child.tag != "system-out"]
        assert len(results) <= 1
        found[key] = results[0] if results else "passed"
        assert float(case.attrib["time"]) >= 0
    counts = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    assert {n: int(suite.attrib[n]) for n in counts} == {
        n: list(found.values()).count(t) for n, t in counts.items()
    }
    assert int(suite.attrib["tests"]) == len(found)
    return found


def test_a_backup_with_a_host_that_is_down(site: Site, made: dict[str, Made]) -> None:
    """All three files and the short text have the same facts."""
    report = made[site.backup]
    answer, found = report.answer, samples(report.metrics)
    verb = (("verb", "backup"),)
    assert found["exremote_run_exit_code"] == {verb: 3}
    assert found["exremote_run_success"] == {verb: 0}
    assert found["exremote_run_intact"] == {verb: 1}
    took = (
        found["exremote_run_ended_timestamp_seconds"][verb]
        - found["exremote_run_started_timestamp_seconds"][verb]
    )
    assert found["exremote_run_duration_seconds"][verb] == pytest.approx(took, abs=0.001)
    states = {dict(labels)["host"]: dict(labels)["state"] for labels in found["exremote_host_state"]}
    assert states == {"EXNOTES01": "done", "EXDOWN01": "unreachable"}
    assert found["exremote_host_retries"][(("host", "EXDOWN01"), *verb)] > 0
    assert sum(found["exremote_host_snapshots"].values()) == 2

    assert cases(report.xml) == {
        ("backup", "EXNOTES01"): "passed",
        ("backup", "EXDOWN01"): "error",
        ("backup", "the run as a whole"): "passed",
    }

    assert [h["state"] for h in answer["hosts"]] == ["done", "unreachable"]
    assert answer["chain"]["intact"] and answer["chain"]["events"] == found["exremote_run_events"][verb]
    page = report.page.read_text()
    short = site.cli("report", site.backup[:-2]).out
    for text in (page, short):
        for word in (
            site.backup,
            "exit code 3",
            "EXDOWN01",
            "unreachable",
            "no listener on port",
            answer["command"],
        ):
            assert word.casefold() in text.casefold(), word
    assert answer["chain"]["digest"] in page
    assert answer["snapshots"][0]["snapshot"] in page


def test_a_reader_never_sees_half_a_file(site: Site) -> None:
    """What was there is replaced and not written over, whatever the name; and nothing stays beside it."""
    old, link = site.cli.folder / "run.prom", site.cli.folder / "link.prom"
    old.write_text("of yesterday")
    link.symlink_to(old)
    with old.open() as held:
        site.cli("report", site.backup, "--prometheus", "link.prom")
        assert held.read() == "of yesterday"
    assert link.is_symlink() and "exremote_run_exit_code" in old.read_text()
    assert old.stat().st_mode & 0o777 == 0o666 & ~_umask(), "a monitor is another user"
    assert [p.name for p in site.cli.folder.iterdir() if p.name.endswith(".tmp")] == []


def _umask() -> int:
    old = os.umask(0)
    os.umask(old)
    return old


def test_two_health_runs_side_by_side(site: Site, made: dict[str, Made]) -> None:
    """In whichever order they are named: new, gone, the same; and what nobody looked at again is not gone."""
    answer = made[site.after].answer["against"]
    assert answer == site.cli("report", site.before, "--against", site.after, "--json").json["against"]
    assert (answer["before"], answer["after"]) == (site.before, site.after)
    become = {(d["host"], d["check"], d["become"]) for d in answer["differences"]}
    assert ("EXNOTES01", "service.running", "new") in become
    assert ("EXSICK01", "service.running", "gone") in become
    assert ("EXSICK01", "groupwise.bad-files", "same") in become
    assert all(d["become"] == "same" for d in answer["differences"] if d["check"] != "service.running")
    # The service that was mended is held against itself, not against its neighbour.
    (gone,) = [d for d in answer["differences"] if d["become"] == "gone"]
    assert (gone["before"]["evidence"], gone["after"]["evidence"]) == (
        "LME-GWISE: Stopped",
        "LME-GWISE: Running",
    )
    text = site.cli("report", site.after, "--against", site.before).out
    assert re.search(
        r"EXNOTES01\tnew\tservice.running\tok: LME-NOTES: Running\tcritical: LME-NOTES: Stopped", text
    )


def test_a_health_run_for_a_ci_system_and_a_monitor(site: Site, made: dict[str, Made]) -> None:
    """A case for each check; what is bad news fails, what is below `--fail-on` does not; a short journal."""
    findings, found = made[site.after].answer["hosts"], cases(made[site.after].xml)
    assert len(found) == sum(len(h["findings"]) for h in findings) + len(findings) + 1
    critical = sum(f["verdict"] == "critical" for h in findings for f in h["findings"])
    assert list(found.values()).count("failure") == critical > 1
    assert found["health.EXNOTES01", "service.running (notes)"] == "failure"
    assert found["health.EXSICK01", "service.running (groupwise): LME-GWISE"] == "passed"
    assert found["health.EXSICK01", "groupwise.bad-files (groupwise)"] == "passed", "a warning is no bad news"
    metrics = samples(made[site.after].metrics)["exremote_health_findings"]
    assert metrics[("host", "EXNOTES01"), ("verdict", "critical")] == 1
    assert sum(metrics.values()) == sum(len(h["findings"]) for h in findings)
    events = [json.loads(line) for line in site.journal(site.after).read_text().splitlines()]
    kept = [f for e in events if e["kind"] == "findings" for f in e["findings"]]
    assert max(len(text) for f in kept for text in f.values()) <= 600
    assert all(f["remedy"] for f in kept if f["verdict"] in ("critical", "warning"))
    assert "service.running" not in site.cli("runs", site.after).out, (
        "a person is told of findings by `report`"
    )


def test_a_restore_has_its_services(site: Site, made: dict[str, Made]) -> None:
    """Stopped, started, as they are to be; the one that stood is started, and was never stopped."""
    report = made[site.restore]
    services = {s["service"]: s for s in report.answer["services"]}
    assert services["MSExchangeCoCo"]["stopped"] < services["MSExchangeCoCo"]["started"]
    assert services["MSExchangeCoCo"]["found"].startswith("Running")
    assert services["LME-NOTES"]["stopped"] is None and services["LME-NOTES"]["started"]
    assert all(not s["trouble"] for s in services.values())
    written = site.cli("report", "latest", "--prometheus", "-").out
    assert written == report.metrics, "the newest run is this one"
    found = samples(written)
    assert found["exremote_host_services_owed"] == {(("host", "EXNOTES01"), ("verb", "restore")): 0}
    assert found["exremote_run_success"] == {(("verb", "restore"),): 1}
    page = report.page.read_text()
    assert "saved before" in page and "MSExchangeCalCon" in page


def copied(site: Site, change: Callable[[list[bytes]], list[bytes]]) -> str:
    """Return the run of a journal that somebody, or the disk, changed; the restore's, which was good."""
    run = f"20200101T00000{len(list(site.journal('x').parent.glob('2020*.jsonl')))}Z-copied"
    source, target = site.journal(site.restore), site.journal(run)
    shutil.copy(source.with_suffix(".head"), target.with_suffix(".head"))
    target.write_bytes(b"".join(change(source.read_bytes().splitlines(keepends=True))))
    return run


DAMAGE: tuple[tuple[Callable[[list[bytes]], list[bytes]], str], ...] = (
    (lambda lines: [*lines[:2], lines[2].replace(b'"n":2', b'"n":7'), *lines[3:]], "line 3 does not follow"),
    (lambda lines: [*lines[:4], *lines[5:]], "line 5 does not follow"),
    (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "line 2 does not follow"),
    (lambda lines: lines[:-1], "lines are missing at the end: the head names"),
    (lambda lines: [b"no event\n", *lines[1:]], "line 1 is not an event"),
)


def test_a_damaged_journal_is_never_good(site: Site) -> None:
    """One byte changed, a line taken out, two swapped, the end cut off, the first line no event."""
    files = ("--html", "bad.html", "--junit", "bad.xml", "--prometheus", "bad.prom")
    for change, problem in DAMAGE:
        run = copied(site, change)
        ran = site.cli("report", run, "--json", *files)
        assert problem in ran.err
        assert not ran.json["good"] and problem in ran.json["outcome"]
        page = (site.cli.folder / "bad.html").read_text()
        assert problem in page and 'class="banner bad"' in page and "The journal is damaged" in page
        assert "verything asked for was done" not in page and "exit code 0" not in page
        found = samples((site.cli.folder / "bad.prom").read_text())
        assert [*found["exremote_run_intact"].values(), *found["exremote_run_success"].values()] == [0, 0]
        results = cases((site.cli.folder / "bad.xml").read_bytes())
        assert [result for (_, name), result in results.items() if name == "the run as a whole"] == ["error"]
    said = site.cli("report", run).out
    assert f"damaged: {problem}" in said and "verything asked" not in said and "exit code" not in said


def test_a_killed_run_did_not_end(site: Site) -> None:
    """Half a line at the end is what a kill leaves: no damage, and no good end either."""
    run = copied(site, lambda lines: [*lines[:3], lines[3][:20]])
    last = site.journal(run).read_bytes().splitlines()[2]
    site.journal(run).with_suffix(".head").write_text(f"{hashlib.sha256(last).hexdigest()} {3:012d}\n")
    answer = site.cli("report", run, "--json", "--prometheus", "killed.prom", "--junit", "killed.xml").json
    assert answer["chain"]["intact"] and answer["chain"]["torn"] and not answer["good"]
    assert "it did not end" in answer["outcome"]
    found = samples((site.cli.folder / "killed.prom").read_text())
    assert "exremote_run_exit_code" not in found and "exremote_run_ended_timestamp_seconds" not in found
    assert list(found["exremote_run_success"].values()) == [0]
    results = cases((site.cli.folder / "killed.xml").read_bytes())
    assert results["restore", "the run as a whole"] == "error"


def test_what_cannot_be_written_or_found(site: Site) -> None:
    """One sentence each; where one file cannot be written the others are not there either."""
    cli = site.cli
    (cli.folder / "folder").mkdir()
    os.mkfifo(cli.folder / "pipe")
    for arguments, said in (
        (("--junit", "good.xml", "--prometheus", "folder"), "folder is a folder"),
        (("--junit", "good.xml", "--prometheus", "absent/run.prom"), "cannot be written: No such file"),
        (("--junit", "good.xml", "--prometheus", "pipe"), "is no ordinary file"),
        (("--html", "good.xml", "--junit", "good.xml"), "Two reports would go to good.xml"),
        (("--json", "--html", "-"), "both write to standard output"),
        (("--against", site.backup), "is of `restore`"),
    ):
        assert said in cli("report", "latest", *arguments, code=2).err, arguments
        assert [p.name for p in cli.folder.iterdir() if "good.xml" in p.name] == [], arguments
    assert "no run begins with 1999" in cli("report", "1999", code=12).err
    assert "runs begin with 20" in cli("report", "20", code=2).err


def test_hostile_names_are_well_formed_everywhere(site: Site, hostile: str, made: dict[str, Made]) -> None:
    results, found = cases(made[hostile].xml), samples(made[hostile].metrics)
    assert ("health", HOSTILE) in results
    names = {dict(labels)["host"] for labels in found["exremote_host_state"]}
    assert names == {HOSTILE, TURNED.replace("\ud800", "\\ud800"), LONG}
    page = made[hostile].page.read_text()
    assert "<img" not in page and "<script" not in page
    assert not re.search("[\x00\x1b\u202e\u200b]", page), "what would turn text around is written out"
    assert not re.search("[\x00\x1b\u202e]", site.cli("report", hostile).out)


WELL_MADE = """(() => {
  const bad = [];
  if (document.documentElement.lang !== 'en') bad.push('no language');
  if (!document.title) bad.push('no title');
  const levels = [...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1]);
  if (levels[0] !== 1 || levels.filter(l => l === 1).length !== 1) bad.push('not one h1, first');
  levels.forEach((l, i) => { if (i && l > levels[i - 1] + 1) bad.push('a heading is left out'); });
  document.querySelectorAll('th').forEach(th => { if (!th.scope) bad.push('a th without scope'); });
  document.querySelectorAll('tbody tr').forEach(tr => {
    if (!tr.querySelector('th')) bad.push('a row without head');
  });
  document.querySelectorAll('time').forEach(t => {
    if (!/Z$/.test(t.dateTime)) bad.push('a time without zone');
  });
  document.querySelectorAll('.badge, .banner').forEach(b => {
    if (!b.querySelector('.sign').textContent.trim() || b.textContent.trim().length < 3) bad.push('colour');
  });
  document.querySelectorAll('img, script, iframe, object, link:not([href^="data:"]), [src], [onerror]')
    .forEach(e => bad.push('from elsewhere: ' + e.outerHTML.slice(0, 80)));
  return bad;
})()"""
COLOURS = """[...new Set([...document.querySelectorAll('body *')].flatMap(e => {
  const s = getComputedStyle(e); return [s.color, s.backgroundColor, s.borderTopColor];
}))].filter(c => { const [r, g, b] = c.match(/[0-9.]+/g).map(Number); return r !== g || g !== b; })"""


def test_the_pages_in_a_real_browser(made: dict[str, Made], tmp_path: Path) -> None:
    """On a phone, on a wide screen and on paper; nothing is fetched, and markup in a name stays text."""
    with browser(tmp_path / "profile") as chromium:
        for run, report in made.items():
            for width in (360, 1000):
                chromium.open(report.page, width)
                chromium.value("document.querySelectorAll('details').forEach(d => d.open = true)")
                assert chromium.value("innerWidth") == width
                assert chromium.value("document.documentElement.scrollWidth") <= width, (run, width)
                assert chromium.requests == [report.page.as_uri()], "the page asks for something"
                assert chromium.complaints == []
            assert chromium.value(WELL_MADE) == []
            text = str(chromium.value("document.body.innerText"))
            assert run in text
            chromium.media("print")
            assert chromium.value(COLOURS) == [], "colours on paper"
            assert chromium.pdf().startswith(b"%PDF-")
            chromium.media("screen")
        assert HOSTILE in text, "the last one: its markup is text"
        assert not re.fullmatch("[12]", str(chromium.value("document.title")))
        # The page's own policy refuses what a flaw of ours would let in.
        chromium.value("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))")
        script = "Object.assign(document.createElement('script'), {text: 'document.title = 3'})"
        chromium.value(f"document.body.append({script})")
        assert chromium.value("document.title") != "3"
        assert any("Content Security Policy" in said for said in chromium.complaints), chromium.complaints
