"""WinRM's own limits, held against what a backup needs. Values in, a stage out; it asks nobody."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from exremote.doctor.stage import Stage, Verdict, failed, ok, unknown, warning
from exremote.transport import WireSettings
from exremote.transport.conversation import KEEP_FINISHED


@dataclass(frozen=True, slots=True)
class Need:
    """The least that one limit may be."""

    name: str
    """Its dotted name."""
    least: int
    """What a backup needs."""
    verdict: Verdict
    """What less than that is."""
    why: str
    """For the sentence."""
    fix: str
    """The command that gives enough; the values are what Windows comes with, or more."""


def needs(wire: str, operation_s: float) -> tuple[Need, ...]:
    """Given the wire and how long WinRM may hold one request back, return what a backup needs."""
    envelope = WireSettings().envelope_kb
    winrs = "winrm set winrm/config/winrs"
    return (
        Need(
            "MaxEnvelopeSizekb",
            envelope,
            Verdict.FAILED,
            f"exremote's messages have up to {envelope} kB",
            'winrm set winrm/config @{MaxEnvelopeSizekb="500"}',
        ),
        Need(
            "MaxTimeoutms",
            int(operation_s * 1000),
            Verdict.WARNING,
            f"deadlines.operation_s is {operation_s:g} s",
            'winrm set winrm/config @{MaxTimeoutms="60000"}',
        ),
        Need(
            "Service.MaxConcurrentOperationsPerUser",
            KEEP_FINISHED + 2,
            Verdict.WARNING,
            f"up to {KEEP_FINISHED} finished commands stay in a shell",
            'winrm set winrm/config/service @{MaxConcurrentOperationsPerUser="15"}',
        ),
        Need(
            "Winrs.MaxShellsPerUser",
            2,
            Verdict.WARNING,
            "one shell, and another while the one of a run that was cut off is still there",
            f'{winrs} @{{MaxShellsPerUser="5"}}',
        ),
        Need(
            "Winrs.MaxMemoryPerShellMB",
            150,
            Verdict.WARNING,
            "PowerShell itself takes a good part of it",
            f'{winrs} @{{MaxMemoryPerShellMB="150"}} (WinRM 3.0 heeds a change only with KB2842230)',
        ),
        Need(
            "Winrs.MaxProcessesPerShell",
            2 if wire == "winrs" else 0,
            Verdict.WARNING,
            "powershell.exe and what it starts (reg.exe)",
            f'{winrs} @{{MaxProcessesPerShell="15"}}',
        ),
        Need(
            "Winrs.IdleTimeout",
            int(operation_s * 2000),
            Verdict.WARNING,
            "a shell must outlive two silent requests",
            f'{winrs} @{{IdleTimeout="180000"}}',
        ),
    )


def _number(text: str) -> int | None:
    """Given the text of a setting, return its number, or None if it is none that a setting can have."""
    return int(text) if re.fullmatch("[0-9]{1,10}", text) else None


def judge_quotas(values: Mapping[str, str], wire: str, operation_s: float) -> Stage:
    """Given WinRM's settings, return whether they are enough for a backup, and how to make them so."""
    if not values:
        return unknown("WinRM's settings came without a single value")
    if values.get("Winrs.AllowRemoteShellAccess", "").lower() == "false":
        return failed(
            "remote shells are forbidden (AllowRemoteShellAccess is false).",
            'Run on the host: winrm set winrm/config/winrs @{AllowRemoteShellAccess="true"} '
            "(or change the group policy that sets it).",
        )
    short = []
    told = []
    for need in needs(wire, operation_s):
        value = _number(values.get(need.name, ""))
        if value is None:
            continue
        if value < 2**31 - 1:
            told.append(f"{need.name.rpartition('.')[2]} {value}")
        if 0 < value < need.least:  # what 0 means is not for us to guess
            short.append((need, value))
    if not short:
        better = ""
        if _number(values.get("MaxEnvelopeSizekb", "")) == WireSettings().envelope_kb:
            better = 'Messages of 500 kB are faster: winrm set winrm/config @{MaxEnvelopeSizekb="500"}'
        return ok(f"enough for a backup: {', '.join(told) or 'nothing is limited'}", better)
    words = "; ".join(f"{need.name} is {value}, less than {need.least} ({need.why})" for need, value in short)
    fix = f"Run on the host: {'; '.join(need.fix for need, _ in short)}. A group policy overrides it."
    if any(need.verdict == Verdict.FAILED for need, _ in short):
        return failed(f"{words}.", fix)
    return warning(f"{words}.", fix)
