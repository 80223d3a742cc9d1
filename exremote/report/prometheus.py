"""A run in Prometheus' text format (0.0.4), for node_exporter's textfile collector. It decides nothing.

Source of the format and of the rules for names: Prometheus' documentation, "Exposition formats" and "Metric
and label naming". A sample that nobody knows the value of is left out; none is written as 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from exremote.report.account import Account

HELP: Mapping[str, str] = {
    "exremote_run_info": "Which run this is; the value is 1.",
    "exremote_run_started_timestamp_seconds": "When the run began, in seconds since 1970.",
    "exremote_run_ended_timestamp_seconds": "When the run ended; missing if it did not.",
    "exremote_run_duration_seconds": "How long the run took; missing if it did not end.",
    "exremote_run_exit_code": "The exit code of the run; missing if it did not end.",
    "exremote_run_success": "1 if the run ended with 0 and its journal is intact.",
    "exremote_run_intact": "1 if the run's journal is intact.",
    "exremote_run_events": "Good events in the run's journal.",
    "exremote_run_hosts": "Hosts of the run by how they ended.",
    "exremote_host_state": "How the host ended, as a label; the value is 1.",
    "exremote_host_exit_code": "What the host alone made of the exit code.",
    "exremote_host_duration_seconds": "How long the host took; missing if it did not end.",
    "exremote_host_retries": "Attempts that failed on the host and were made again.",
    "exremote_host_snapshots": "Snapshots of the host by what came of them.",
    "exremote_host_services_owed": "Services that were stopped and are not known to run again.",
    "exremote_health_findings": "Checks on the host by verdict; what the inventory accepts is `accepted`.",
}
"""Each metric, all of them gauges: they say what was, and count nothing on."""


def prometheus_text(run: Account) -> bytes:
    """Given what a run was, return it as a text file for a monitor, in UTF-8."""
    samples: dict[str, dict[str, float]] = {}
    for name, labels, value in _samples(run):
        if value is not None:
            # Two samples of one name would make the whole file unreadable.
            samples.setdefault(name, {}).setdefault(_labels(labels), value)
    lines = []
    for name, text in HELP.items():
        if name in samples:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
            lines += [f"{name}{labels} {_number(value)}" for labels, value in samples[name].items()]
    return ("\n".join(lines) + "\n").encode("utf-8")


def _samples(run: Account) -> Iterator[tuple[str, dict[str, str], float | None]]:
    """Given a run, yield each sample: name, labels, value; None is one that nobody knows."""
    verb = {"verb": run.verb or "unknown"}
    yield "exremote_run_info", {"run": run.run, **verb, "standing": run.standing}, 1
    for name, moment in (("started", run.started), ("ended", run.ended)):
        yield f"exremote_run_{name}_timestamp_seconds", verb, moment.timestamp() if moment else None
    yield "exremote_run_duration_seconds", verb, run.seconds
    yield "exremote_run_exit_code", verb, run.exit_code
    yield "exremote_run_success", verb, run.good
    yield "exremote_run_intact", verb, run.chain.intact
    yield "exremote_run_events", verb, run.chain.events
    for state, count in sorted(Counter(host.state for host in run.hosts).items()):
        yield "exremote_run_hosts", {**verb, "state": state}, count
    retries = Counter(retry.host for retry in run.retries)
    owed = Counter(deed.host for deed in run.services if deed.owed)
    stopped = {deed.host for deed in run.services if deed.stopped}
    for host in run.hosts:
        labels = {"host": host.name, **verb}
        yield "exremote_host_state", {**labels, "state": host.state}, 1
        yield "exremote_host_exit_code", labels, host.exit_code
        yield "exremote_host_duration_seconds", labels, host.seconds
        yield "exremote_host_retries", labels, retries[host.name]
        yield "exremote_host_services_owed", labels, owed[host.name] if host.name in stopped else None
        if host.judged:
            verdicts = Counter("accepted" if f.accepted else f.verdict for f in host.findings)
            for verdict in ("ok", "info", "unknown", "warning", "critical", "accepted"):
                yield "exremote_health_findings", {"host": host.name, "verdict": verdict}, verdicts[verdict]
    for (name, what), count in sorted(Counter((s.host, s.what) for s in run.snapshots).items()):
        yield "exremote_host_snapshots", {"host": name, **verb, "state": what}, count


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(text: str) -> str:
    """Given a label's value, return it as the format wants it; half a character is written out."""
    whole = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return whole.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.6f}"
