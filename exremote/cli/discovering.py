"""`inventory discover`: the command about the inventory that asks a host. It writes nothing into the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

import typer

from exremote import health
from exremote.cli.common import (
    InventoryOption,
    JsonOption,
    RepositoryOption,
    known_repository,
    load_inventory,
    now,
    speaking,
)
from exremote.cli.running import Run, on_hosts, show_failed
from exremote.connector import Connector
from exremote.errors import EXIT_INCOMPLETE
from exremote.inventory import Host, Inventory, key_lines
from exremote.runner import Outcome, State, exit_code
from exremote.session import Session


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
