"""The commands about the inventory; `discover` is the one that asks a host."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from exremote import health
from exremote.cli.common import (
    InventoryOption,
    JsonOption,
    RepositoryOption,
    from_environment,
    known_repository,
    load_inventory,
    now,
    path_from,
    speaking,
)
from exremote.cli.running import Run, on_hosts, show_failed
from exremote.connector import Connector
from exremote.errors import EXIT_INCOMPLETE, UsageError
from exremote.inventory import Host, Inventory, advice, key_lines
from exremote.runner import Outcome, State, exit_code
from exremote.session import Session
from exremote.wording import count_text


def check(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", parser=path_from, help="The inventory; the same as --inventory."),
    ] = None,
    inventory: InventoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read the inventory and say what is wrong with it; no host is asked."""
    with speaking(as_json, looks=True) as report:
        if file is not None and inventory is not None and not from_environment(context, "inventory"):
            raise UsageError("Two inventories are named.", "Name one, as FILE or with --inventory.")
        connectors = Connector.load_all()
        site = load_inventory(file or inventory, list(connectors))
        warnings = [*site.warnings, *advice(site, operator_variables(connectors.values()))]
        warnings += health.unknown(site.accepted, connectors)
        warnings += health.expired(site.accepted, now().date())
        if as_json:
            report.json({"inventory": site.path, "hosts": list(site.hosts), "warnings": warnings})
            return
        for warning in warnings:
            report.line(f"warning: {warning}")
        hosts, groups = count_text(len(site.hosts), "host"), count_text(len(site.groups), "group")
        report.line(f"{site.path}: {hosts}, {groups}; no errors")


def operator_variables(connectors: Iterable[Connector]) -> set[str]:
    """Given connectors, return the variables that only the operator can give: the host says the others."""
    rules = [rule for connector in connectors for rule in connector.roots.values()]
    rules += [part for rule in rules for part in rule.first]
    return {rule.variable for rule in rules if rule.variable} - {"systemroot", "computername"}


def example() -> None:
    """Print a commented inventory, to be changed and kept: exremote inventory example > site.toml."""
    with speaking(False, looks=True) as report:
        package = Path(__file__).resolve().parents[1]
        places = (package / "_example.toml", package.parent / "inventory" / "example.toml")
        report.line(next(p for p in places if p.is_file()).read_text(encoding="utf-8").rstrip("\n"))


def show(
    host: Annotated[
        str | None,
        typer.Argument(metavar="HOST", help="One host: every setting and where it came from."),
    ] = None,
    inventory: InventoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the hosts, or show what is in force for one and where each value came from. Never a secret."""
    with speaking(as_json, looks=True) as report:
        site = load_inventory(inventory, list(Connector.load_all()))
        if host is None:
            rows: list[dict[str, object]] = [
                {
                    "host": h.name,
                    "address": h.address,
                    "port": h.port,
                    "auth": h.auth,
                    "wire": h.wire,
                    "connectors": list(h.connectors) if h.connectors is not None else "found out",
                    "groups": list(h.groups),
                    "tags": list(h.tags),
                }
                for h in site.hosts.values()
            ]
            report.rows(f"Hosts of {site.path}", list(rows[0]) if rows else [], rows, nothing="no hosts")
            return
        for chosen in site.select([host]):
            rows = [
                {"key": key, "value": value, "from": origin} for key, value, origin in site.describe(chosen)
            ]
            report.rows(chosen.name, ["key", "value", "from"], rows)


def discover(
    host: Annotated[str, typer.Argument(metavar="HOST", help="The host to ask; or a group, or tag:NAME.")],
    inventory: InventoryOption = None,
    repository: RepositoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a host which connectors it has, and print the line to add to its table in the inventory."""
    with speaking(as_json) as report:
        connectors = Connector.load_all()
        site = load_inventory(inventory, list(connectors))
        chosen = site.select([host])

        def work(run: Run) -> Callable[[Host, Session], Outcome]:
            def ask(host: Host, session: Session) -> Outcome:
                answers = health.collect(
                    session, host, connectors, probe=False, now=now(), api_account=run.api_account(host)
                )
                if unasked := health.unasked(answers):
                    return Outcome(host.name, State.INCOMPLETE, EXIT_INCOMPLETE, unasked, detail=answers)
                return Outcome(host.name, State.DONE, detail=answers)

            return ask

        place = known_repository(repository, inventory)
        outcomes = on_hosts("discover", chosen, work, report=report, repository=place, parallel=site.parallel)
        answers = [discovered(outcome, site) for outcome in outcomes]
        if as_json:
            report.json({"hosts": answers, "exit_code": exit_code(outcomes)})
            raise typer.Exit(exit_code(outcomes))
        rows = [{"host": answer["host"], **row} for answer in answers for row in answer["evidence"]]
        if rows:
            columns = ["host", "connector", "state", "evidence", "missing"]
            report.rows("Evidence", columns, rows, below=["evidence", "missing"])
        show_failed(report, outcomes)
        for answer in answers:
            if answer["evidence"] and answer["error"]:
                report.line(f"{answer['host']}: incomplete, so there is no line to add: {answer['error']}")
            if answer["line"]:
                where = f"[hosts.{answer['host']}] ({answer['file']}:{answer['at_line']})"
                report.line(f"add this line under {where}:")
                report.line(answer["line"])
        raise typer.Exit(exit_code(outcomes))


def discovered(outcome: Outcome, site: Inventory) -> dict[str, Any]:
    """Given how the asking of a host ended, return what there is to say: evidence and the line to paste.

    Where the host left a question open there is no line: pasted, it would end the backup of what is there.
    """
    seen = outcome.detail.connectors.items() if outcome.detail else ()
    evidence = [
        {"connector": name, "state": p.state, "evidence": list(p.evidence), "missing": list(p.missing)}
        for name, p in seen
    ]
    found = [row["connector"] for row in evidence if row["state"] == "present"]
    sure = outcome.state == State.DONE
    at_line = key_lines(site.path.read_text("utf-8-sig")).get(("hosts", outcome.host))
    return {
        "host": outcome.host,
        "exit_code": outcome.exit_code,
        "error": "" if sure else outcome.message,
        "evidence": evidence,
        "connectors": found if sure else None,
        "line": f"connectors = {json.dumps(found)}" if sure else "",
        "file": site.path,
        "at_line": at_line,
    }
