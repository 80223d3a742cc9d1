"""Whatever a journal says, its report is well formed: page, JUnit and Prometheus text."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from exremote.cli.runs import told
from exremote.journal import Journal, read_run
from exremote.report.account import Account, account_of
from exremote.report.against import hold_against
from exremote.report.junit import junit_xml
from exremote.report.page import duration_text
from exremote.report.prometheus import prometheus_text
from exremote.report.run_page import run_page

KINDS = [
    "host-started",
    "host-ended",
    "step-started",
    "step-finished",
    "step-failed",
    "shell-opened",
    "services-found",
    "services-back",
    "services-left",
    "stopped-too",
    "not-done",
    "committed",
    "unchanged",
    "safety",
    "snapshot",
    "forgotten",
    "retry",
    "findings",
    "planned",
    "deadline-passed",
    "drilled",
    "drilling",
    "proved",
    "pruned",
    "damaged",
    "judged",
    "erased",
    "run-ended",
    "an-unknown-kind",
]
FIELDS = [
    "host",
    "state",
    "message",
    "exit_code",
    "number",
    "step",
    "services",
    "failed",
    "what",
    "connector",
    "snapshot",
    "snapshots",
    "complete",
    "said",
    "findings",
    "fail_on",
    "stopped",
    "not_begun",
    "deadline",
    "outcome",
    "error",
    "of",
    "place",
    "options",
    "bytes",
    "green",
    "name",
    "answer",
]
TEXTS = st.sampled_from(
    [
        "A",
        "<b>\"'&",
        "\ud800",
        "\x00\x1b[31m\u202e",
        "service A: x",
        "critical",
        "done",
        "Running",
        "9" * 5000,
    ]
)
PLAIN = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
        TEXTS,
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["kind", "service", "A", "check", "verdict", "evidence", "script", "text"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=8,
)
STEPS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["stop-service", "start-service", "copy-stopped"]),
        "service": st.sampled_from("AB"),
    }
)
EVENTS = st.tuples(
    st.sampled_from(KINDS),
    st.sampled_from(["A", "B", None]),
    st.one_of(
        st.dictionaries(st.sampled_from(FIELDS), PLAIN, max_size=5),
        st.fixed_dictionaries({"number": st.just(1), "step": STEPS}),
    ),
)


def account(
    folder: Path, events: list[tuple[str, str | None, dict[str, Any]]], start: dict[str, Any]
) -> Account:
    """Write a journal of these events, with a clock that jumps, and return what is read of it."""
    run = f"r{len(list(folder.iterdir()))}"
    times = iter(range(10_000))

    def now() -> datetime:
        number = next(times)
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number * (-1) ** number)

    journal = Journal.create(folder, run, "health", ["health"], now, **start)
    for kind, host, fields in events:
        journal.event(kind, **(fields | ({} if host is None else {"host": host})))
    journal.close("3")
    record = read_run(folder / f"{run}.jsonl")
    assert record.intact
    return account_of(record, "ended", partial(told, every=True))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    events=st.lists(EVENTS, max_size=12),
    start=st.fixed_dictionaries({}, optional={"options": PLAIN, "subjects": PLAIN}),
)
def test_whatever_a_journal_says_its_report_is_well_formed(
    tmp_path_factory: pytest.TempPathFactory,
    events: list[tuple[str, str | None, dict[str, Any]]],
    start: dict[str, Any],
) -> None:
    folder = tmp_path_factory.mktemp("runs")
    run = account(folder, events, {k: v for k, v in start.items() if not isinstance(v, float)})
    page = run_page(run, hold_against(run, account(folder, [], {})))
    page.encode()
    assert "<b>" not in page
    Xml.fromstring(junit_xml(run))
    seen = set()
    for family in text_string_to_metric_families(prometheus_text(run).decode()):
        for sample in family.samples:
            key = (sample.name, *sorted(sample.labels.items()))
            assert key not in seen
            seen.add(key)
    json.dumps(run.to_json(), default=str)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.04, "0.0 s"),
        (59.9, "59.9 s"),
        (60, "1 min 0 s"),
        (3725.4, "1 h 2 min"),
        (3 * 86400 + 7200, "3 d 2 h"),
    ],
)
def test_a_duration_has_two_units(seconds: float | None, text: str) -> None:
    assert duration_text(seconds) == text
