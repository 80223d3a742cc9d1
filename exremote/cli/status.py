"""The command `status`, for a monitor: how old what could be restored is. It asks no host and needs no
secret.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from exremote import health
from exremote.cli import afar
from exremote.cli.common import (
    HostsArgument,
    InventoryOption,
    JsonOption,
    RepositoryOption,
    load_inventory,
    now,
    repository_path,
    speaking,
)
from exremote.cli.look import verdict_of, wanted_hosts
from exremote.cli.underway import doubts_about, ends_doubt
from exremote.connector import Connector
from exremote.errors import EXIT_BAD_NEWS, EXIT_OK, RepositoryError, UsageError
from exremote.inventory import Inventory, find_name
from exremote.ntbackup import PARTS
from exremote.recover import Doubt, doubt_about
from exremote.report import Report
from exremote.repository import Proof, Repository, Snapshot, age_text
from exremote.runner import Heal, Standing, left_down
from exremote.wording import count_text

_UNITS = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
WELL, LEFT = "ok", "skipped"
"""The states that no monitor need care about; the others are `old`, `missing`, `damaged`, `standing`."""


def age(text: str) -> timedelta:
    """Given `30m`, `26h`, `8d`, `2w`, return it. Raise BadParameter if it is no such age."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})([mhdw])", str(text))
    if found is None:
        raise typer.BadParameter(f"{text!r} is no age such as 30m, 26h, 8d or 2w.")
    return int(found[1]) * _UNITS[found[2]]


AgeOption = Annotated[
    timedelta | None,
    typer.Option(
        "--max-age",
        metavar="AGE",
        parser=age,
        help="What is older is bad news: 26h, 8d. Default: no age is. Of full snapshots, and of tables "
        "where --max-age-tables does not say otherwise.",
    ),
]
TablesAgeOption = Annotated[
    timedelta | None,
    typer.Option(
        "--max-age-tables",
        metavar="AGE",
        parser=age,
        help="The same for the tables, which `backup --only tables` saves more often: 30m.",
    ),
]


@dataclass(frozen=True, slots=True)
class Limits:
    """What is too old."""

    full: timedelta | None
    """of a full snapshot; None: nothing is"""
    tables: timedelta | None
    """of tables"""


def status(
    hosts: HostsArgument = None,
    max_age: AgeOption = None,
    max_age_tables: TablesAgeOption = None,
    inventory: InventoryOption = None,
    repository: RepositoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how old the newest good snapshot of each host and connector is, and how its tables are.

    Its age counts from when a run last found the host to be what it says. The exit code is 5 if something is
    too old, missing or damaged, or a run has left services stopped. No host is asked, and no credential is
    needed.
    """
    with speaking(as_json, looks=True) as report:
        moment, known = now(), Connector.load_all()
        limits = Limits(max_age, max_age_tables or max_age)
        site = inventory_if_named(inventory, repository, list(known))
        named = repository or (site.repository if site is not None else None)
        place = Repository.open(repository_path(named, inventory))
        every = place.snapshots()
        wanted = wanted_of(hosts or (), {s.host for s in every}, site, inventory)
        subjects = list(expected(site, every, known, wanted))
        ages = Ages(place, moment, limits, known, doubts_about(place))
        down = left_down([place.runs_folder], moment)
        rows: list[dict[str, Any]] = []
        for subject in subjects:
            rows += ages.rows(subject)
            rows += ages.standing(subject.host, down.standings_of(subject.host, Heal.AGAIN))
        tell(report, place, rows, limits)


def inventory_if_named(
    inventory: Path | None, repository: Path | None, connectors: Sequence[str]
) -> Inventory | None:
    """Given what the command line says, return the inventory: it knows what should be there.

    Without one, a repository that is named is looked at as it is. Raise what is wrong with one that is there.
    """
    try:
        return load_inventory(inventory, connectors)
    except UsageError:
        if repository is None or inventory is not None:
            raise
        return None


def wanted_of(
    names: Sequence[str], held: Collection[str], site: Inventory | None, inventory: Path | None
) -> set[str] | None:
    """Given names, return the hosts they mean, case folded; None for all. Raise UsageError."""
    if not names:
        return None
    found: set[str] = set()
    for name in names:
        if site is not None and not find_name(held, name):
            found.update(host.name.casefold() for host in site.select([name]))
        else:
            found |= wanted_hosts([name], held, inventory)
    return found


@dataclass(frozen=True, slots=True)
class Subject:
    """One host, and what should be there of it."""

    host: str
    """its name"""
    connectors: Mapping[str, Sequence[Snapshot]]
    """by connector: its snapshots, oldest first"""
    left: str
    """why nobody expects anything of it; empty if somebody does"""
    unlisted: Collection[str] = ()
    """connectors that the inventory does not list any more"""
    bare: bool = False
    """whether connectors of it are to be saved, whichever it has, and none is"""


def expected(
    site: Inventory | None, every: Sequence[Snapshot], known: Collection[str], wanted: set[str] | None
) -> Iterator[Subject]:
    """Given the inventory, or None, and all snapshots, yield the hosts, those of the inventory first."""
    held: dict[str, dict[str, list[Snapshot]]] = {}
    for snapshot in every:
        held.setdefault(snapshot.host, {}).setdefault(snapshot.connector, []).append(snapshot)
    listed = list(site.hosts.values()) if site is not None else []
    for host in listed:
        if wanted is not None and host.name.casefold() not in wanted:
            continue
        own = held.get(find_name(held, host.name) or "", {})
        parts = [part for part in PARTS if part in host.backup]
        should = {name: own.get(name, []) for name in (*(host.connectors or ()), *parts)}
        gone = {n for n in own if n in known and n not in should} if host.connectors is not None else set()
        left = "" if host.backup else "only checked: the inventory says backup = []"
        saves = "connectors" in host.backup and host.connectors is None
        bare = bool(own) and saves and not any(name in known for name in own)
        yield Subject(host.name, {**should, **own}, left, gone, bare)
    names = {host.name.casefold() for host in listed}
    for name, own in sorted(held.items()):
        if name.casefold() not in names and (wanted is None or name.casefold() in wanted):
            left = "not in the inventory" if site is not None else ""
            yield Subject(name, own, left)


class Ages:
    """Judges what there is of one host after another, at one moment."""

    def __init__(
        self,
        place: Repository,
        moment: datetime,
        limits: Limits,
        known: Mapping[str, Connector],
        doubts: Mapping[str, Sequence[Doubt]],
    ) -> None:
        self._place = place
        self._moment = moment
        self._limits = limits
        self._known = known
        self._doubts = doubts
        self._noted = bool(place.noted_damage())

    def rows(self, subject: Subject) -> Iterator[dict[str, Any]]:
        """Given a host, yield a row for each of its connectors; and one if none of them was saved."""
        if not subject.connectors and subject.left:
            yield self._blank(subject.host, None) | {"state": LEFT, "message": subject.left}
        elif not subject.connectors:
            message = f"it has no snapshot yet; run: exremote backup {subject.host}"
            yield self._blank(subject.host, None) | {"state": "missing", "message": message}
        if subject.bare:
            message = f"no connector of it was saved yet; run: exremote backup {subject.host}"
            yield self._blank(subject.host, None) | {"state": "missing", "message": message}
        for connector, snapshots in sorted(subject.connectors.items()):
            row = self._row(subject.host, connector, snapshots)
            if subject.left or connector in subject.unlisted:
                row |= {"state": LEFT, "message": subject.left or "not in the inventory's list of connectors"}
            yield row

    def standing(self, host: str, left: Sequence[Standing]) -> Iterator[dict[str, Any]]:
        """Given a host, and how runs had found its services that they left stopped, yield a row for each."""
        for one in left:
            names = ", ".join(name for name, (state, _) in one.services.items() if state == "Running")
            if names:
                message = f"{one.run} stopped {names}, and did not start them; run: exremote backup {host}"
                yield self._blank(host, None) | {"state": "standing", "message": message}

    def _blank(self, host: str, connector: str | None) -> dict[str, Any]:
        words = ("full", "tables", "proven", "checked", "health", "id", "tables_id")
        keys = (*words, "full_age_s", "tables_age_s", "proven_age_s")
        return {"host": host, "connector": connector, "state": "", "message": ""} | dict.fromkeys(keys)

    def _row(self, host: str, connector: str, snapshots: Sequence[Snapshot]) -> dict[str, Any]:
        row = self._blank(host, connector)
        doubts = self._doubts.get(snapshots[0].host, ()) if snapshots else ()
        passed: list[Doubt] = []

        def unless(snapshot: Snapshot) -> bool:
            doubt = doubt_about(snapshot, self._place.last_true(snapshot, self._moment), doubts)
            passed.extend([doubt] if doubt is not None else [])
            return doubt is not None

        good = (
            self._place.reliable(snapshots[0].host, connector, now=self._moment, unless=unless)
            if snapshots
            else None
        )
        said = list(self._damage(snapshots))
        if good is None:
            state = "damaged" if said else "missing"
            of = " that is surely of a whole server" if passed else ""
            said.append(f"it has no complete full snapshot{of}; run: exremote backup {host}")
            return row | {"state": state, "message": "; ".join([*said, *_doubtful(doubts, passed, host)])}
        state = "damaged" if said else WELL
        full = self._place.last_true(good, self._moment)
        row |= {"id": good.id, **self._age("full", full), "health": self._health(good)}
        checks = self._place.checks(good, parts=True)
        if self._limits.full is not None and self._moment - full > self._limits.full:
            state = state if said else "old"
            said.append(f"older than {_words(self._limits.full)}; run: exremote backup {host}")
        if connector in self._known and any(t.table_folder for t in self._known[connector].file_trees):
            over = self._place.current(good.host, connector, now=self._moment, full=good, unless=unless)
            newer = over.tables if over is not None else None
            moments = [self._place.last_true(good, self._moment, parts=True)]
            if newer is not None:
                moments.append(self._place.last_true(newer, self._moment))
                checks += self._place.checks(newer)
                row["health"] = self._health(good, newer)
            row |= {**self._age("tables", max(moments)), "tables_id": newer.id if newer else None}
            if self._limits.tables is not None and self._moment - max(moments) > self._limits.tables:
                state = state if said else "old"
                words = _words(self._limits.tables)
                said.append(f"tables older than {words}; run: exremote backup {host} --only tables")
        for one in afar.distant_of([good]):
            said.append(
                f"its .bkf stays on the {afar.where(one.file.place)}, {afar.last_look(self._place, one)}"
            )
        last = max((s for s in snapshots if s.kind != "safety"), key=_when)
        if not last.complete and not last.damage:
            said.append(f"the newest, {last.id}, is incomplete")
        proven, in_vain = self._proven(snapshots)
        row |= proven
        said += in_vain
        said += _doubtful(doubts, passed, host)
        row["checked"] = max((check.at for check in checks), default=None)
        return row | {"state": state, "message": "; ".join(said)}

    def _age(self, what: str, moment: datetime) -> dict[str, Any]:
        seconds = max(0.0, (self._moment - moment).total_seconds())
        return {what: age_text(seconds), f"{what}_age_s": round(seconds), f"{what}_at": moment}

    def _proven(self, snapshots: Sequence[Snapshot]) -> tuple[dict[str, Any], list[str]]:
        """Given the snapshots of a connector, return when one of them was last proven to restore, if ever,
        and a sentence if the last drill was not green.
        """
        proofs: list[Proof] = []
        for snapshot in snapshots:
            with suppress(RepositoryError):  # a record that cannot be read proves nothing
                proofs += self._place.proofs(snapshot)
        green = [proof.at for proof in proofs if proof.green]
        last = max(proofs, key=lambda proof: proof.at, default=None)
        said = []
        if last is not None and not last.green:
            why = f": {last.said.rstrip('.')}" if last.said else ""
            said.append(f"its last drill was not green{why}; see `exremote runs {last.run}`")
        return self._age("proven", max(green)) if green else {}, said

    def _damage(self, snapshots: Sequence[Snapshot]) -> Iterator[str]:
        """Given the snapshots of a connector, yield a sentence if some are known to be damaged."""
        hurt = [
            s.id
            for s in snapshots
            if s.damage
            or (self._noted and self._hurt(s))
            or (s.connector in PARTS and self._place.distant.damage(s))
        ]
        newest = max((s for s in snapshots if s.complete and s.kind == "full"), key=_when, default=None)
        if newest is not None and newest.id not in hurt and self._place.damage(newest):
            hurt.append(newest.id)
        if hurt:
            more = f" and {len(hurt) - 1} more" if len(hurt) > 1 else ""
            yield f"damaged: {hurt[-1]}{more}; see `exremote verify`"

    def _hurt(self, snapshot: Snapshot) -> bool:
        try:
            return bool(self._place.damage_in(snapshot))
        except RepositoryError:
            return True

    def _health(self, *snapshots: Snapshot) -> str:
        """Given snapshots, return the worst that health said when they were made."""
        verdicts = [verdict_of(finding) for one in snapshots for finding in one.manifest.findings]
        return str(max(verdicts, key=health.rank, default=health.Verdict.OK))


def _doubtful(doubts: Sequence[Doubt], passed: Sequence[Doubt], host: str) -> Iterator[str]:
    """Given the times of doubt about a host, and of these why newer snapshots do not count, yield sentences
    that say so, and what to do.
    """
    going_on = next((doubt for doubt in doubts if doubt.until is None), None)
    about = passed[0] if passed else going_on
    if about is not None:
        newer = "newer ones do not count, for " if passed else ""
        then = "have been half recovered when they were made" if passed else "be half recovered"
        yield f"{newer}{host} may {then} (recovery {about.recovery}: {about.why})"
    if going_on is not None:
        yield ends_doubt(going_on, host)


def _when(snapshot: Snapshot) -> datetime:
    return snapshot.created


def _words(limit: timedelta) -> str:
    return age_text(limit.total_seconds())


def tell(report: Report, place: Repository, rows: Sequence[Mapping[str, Any]], limits: Limits) -> None:
    """Given the rows, show them, and end with 5 if one is bad news."""
    bad = [row for row in rows if row["state"] not in (WELL, LEFT)]
    code = EXIT_BAD_NEWS if bad else EXIT_OK
    if report.as_json:
        ages = {"full": limits.full, "tables": limits.tables}
        most = {name: limit.total_seconds() if limit else None for name, limit in ages.items()}
        report.json({"repository": place.path, "max_age_s": most, "rows": list(rows), "exit_code": code})
    else:
        columns = ["host", "connector", "state", "full", "tables", "proven", "checked", "health", "message"]
        title, spare = f"Status of {place.path}", ["checked", "health", "proven"]
        nothing = "no host, and no snapshot"
        report.rows(title, columns, rows, style_by="state", spare=spare, below=["message"], nothing=nothing)
        if bad:
            are = "is" if len(bad) == 1 else "are"
            report.note(f"{len(bad)} of {count_text(len(rows), 'row')} {are} bad news")
    if bad:
        raise typer.Exit(code)
