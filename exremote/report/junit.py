"""A run as JUnit XML, as CI systems read it. It decides nothing about the run.

A host is a test case, and for `health` each check on a host; the run itself is the last one, so that a
suite is green only if the run ended with 0 and its journal is intact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree as Xml

from exremote.errors import EXIT_OK
from exremote.health import Verdict
from exremote.report.account import Account, Found, HostAccount, distinct, with_several

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class _Case:
    classname: str
    name: str
    seconds: float | None
    result: str = ""
    """failure, error, skipped; empty if it passed"""
    message: str = ""
    detail: str = ""


def junit_xml(run: Account) -> bytes:
    """Given what a run was, return it as JUnit XML in UTF-8."""
    cases = list(_cases(run))
    suites = Xml.Element("testsuites", name="exremote")
    suite = Xml.SubElement(suites, "testsuite", name=_text(f"exremote {run.verb or 'run'}"))
    for name, result in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(sum(case.result == result for case in cases)))
        suites.set(name, suite.get(name, "0"))
    for one in (suite, suites):
        one.set("tests", str(len(cases)))
        one.set("time", _time(run.seconds))
    if run.started is not None:
        suite.set("timestamp", f"{run.started:%Y-%m-%dT%H:%M:%S}+00:00")
    properties = Xml.SubElement(suite, "properties")
    said = {
        "run": run.run,
        "command": run.command,
        "outcome": run.outcome,
        "exit_code": "" if run.exit_code is None else str(run.exit_code),
        "journal_intact": "yes" if run.chain.intact else "no",
        "journal_events": str(run.chain.events),
        "journal_digest": run.chain.digest,
    }
    for name, value in said.items():
        Xml.SubElement(properties, "property", name=name, value=_text(value))
    for case in cases:
        element = Xml.SubElement(
            suite,
            "testcase",
            classname=_text(case.classname),
            name=_text(case.name),
            time=_time(case.seconds),
        )
        if case.result:
            Xml.SubElement(element, case.result, message=_text(case.message)).text = _text(case.detail)
        elif case.detail:
            Xml.SubElement(element, "system-out").text = _text(case.detail)
    Xml.indent(suites)
    return bytes(Xml.tostring(suites, encoding="utf-8", xml_declaration=True)) + b"\n"


def _cases(run: Account) -> Iterator[_Case]:
    """Given a run, yield its test cases: hosts, what was found on them, and the run as a whole."""
    verb = run.verb or "run"
    cases = [case for host in run.hosts for case in (_host(verb, host), *_checks(verb, host))]
    yield from cases
    explained = any(case.result in ("failure", "error") for case in cases)
    yield _whole(verb, run, explained)


def _host(verb: str, host: HostAccount) -> _Case:
    """Given a host, return its case. Nothing that was left out by an interrupt or a deadline is green."""
    match host.state:
        case "done" | "ok" | "warning":
            result = "" if host.exit_code in (None, EXIT_OK) else "failure"
        case "skipped":
            result = "skipped" if host.exit_code == EXIT_OK else "error"
        case "incomplete" | "failed":
            result = "failure"
        case _:
            result = "error"
    message = f"{host.state}: {host.message}" if host.message else host.state
    return _Case(verb, host.name, host.seconds, result, message if result else "", message)


def _checks(verb: str, host: HostAccount) -> Iterator[_Case]:
    """Given a host of a health run, yield a case for each check: a failure if it was bad news for the run."""
    bar = Verdict(host.fail_on) if host.fail_on in set(Verdict) else Verdict.CRITICAL
    for (_, check, connector, thing), found in distinct(host.findings, with_several(host.findings)).items():
        verdict = Verdict(found.verdict) if found.verdict in set(Verdict) else Verdict.UNKNOWN
        result, message = "", f"{verdict}: {found.evidence}"
        if found.accepted:
            result, message = "skipped", f"accepted: {found.accepted}"
        elif verdict.rank >= bar.rank:
            result = "failure"
        elif verdict is Verdict.UNKNOWN:
            result = "skipped"
        name = check + (f" ({connector})" if connector else "") + (f": {thing}" if thing else "")
        yield _Case(f"{verb}.{host.name}", name, None, result, message, _detail(verdict, found))


def _detail(verdict: Verdict, found: Found) -> str:
    said = {"": f"{verdict}: {found.evidence}", "What to do: ": found.remedy, "Source: ": found.source}
    return "\n".join(name + text for name, text in said.items() if text)


def _whole(verb: str, run: Account, explained: bool) -> _Case:
    """Given a run, and whether a case before says why its exit code is what it is, return its own case."""
    code = "" if run.exit_code is None else f"exit code {run.exit_code}: "
    message = code + run.outcome
    if run.standing in ("damaged", "unknown", "running", "interrupted"):
        result = "error"
    else:
        result = "" if run.good or explained else "failure"
    return _Case(verb, "the run as a whole", run.seconds, result, message, message)


def _time(seconds: float | None) -> str:
    return f"{seconds or 0.0:.3f}"


def _text(text: str) -> str:
    """Given text, return it with what XML forbids replaced."""
    return _FORBIDDEN.sub("\ufffd", text)
