"""Events that no case of `runs.words` tells, in sentences; a kind that nobody knows, by its fields."""

from __future__ import annotations

from collections.abc import Mapping

from exremote.report import size_text

_PHRASES: Mapping[str, str] = {
    "bkf-removed": "took away {place} ({bytes} bytes), which no snapshot names any more",
    "bkf-stays": "{place} ({bytes} bytes) stays there: walked and hashed",
    "looked-at": "looked at {place}: {state}",
    "confirmed": "a person confirmed {name}: {answer}",
    "copying": "copies from {source}",
    "damaged": "the snapshot {snapshot} is damaged: {place}",
    "drill-cleared": "took away {folder} and {key}",
    "drilling": "tries the snapshots of {of} in {folder} and {key}",
    "erased": "erased {path} ({size} bytes)",
    "folder-left": "left {path}: something is in it by now",
    "forgetting": "is about to forget the snapshot {snapshot} of {connector}",
    "forgotten": "forgot the snapshot {snapshot} of {connector}",
    "host-started": "begun",
    "into": "put {files} files ({bytes} bytes) into {folder}",
    "left-out": "{of}: left {connector} out: {why}",
    "left-behind": "could not remove {path}: {error}",
    "lock-taken-over": "took over the lock of a run that died: {was}",
    "mended": "mended what was damaged in {snapshots}",
    "access-lists-unread": "could not read access lists: {error}",
    "owner-left": "could not set the owner of {path}: {why}",
    "answered": "{by} said that {step} was done",
    "recovery-given-up": "the recovery was given up",
    "recovery-planned": "the plan of the recovery",
    "services-found": "noted how services are: {services}",
    "shell-closed": "closed a shell ({wire})",
    "shell-left": "could not delete a shell that a killed run left: {error}",
    "shell-opened": "opened a shell ({wire})",
    "stopped-too": "stopped with it: {services}",
}


def sentence(kind: str, fields: Mapping[str, object]) -> str:
    """Given what happened, return it as a person says it; what a field does not say is `?`."""
    said = _Said({name: plainly(value) for name, value in fields.items()})
    match kind:
        case "drilled":
            end = (
                "all is equal"
                if fields.get("green") is True
                else "something differs, or could not be checked"
            )
            return f"tried the snapshots of {said['of']}: {end}"
        case "proved":
            worst = said["findings"] if fields.get("findings") else "none to warn of"
            return f"proved: {said['services']} run after their start; findings: {worst}"
        case "snapshot":
            message = f": {said['message']}" if fields.get("message") else ""
            return f"{said['state']} the snapshot {said['snapshot']} of {said['connector']}{message}"
        case "pruned":
            size = fields.get("bytes")
            amount = f" ({size_text(size)})" if isinstance(size, int) else ""
            return f"deleted {said['objects']} contents that no snapshot names{amount}"
        case "rehearsed":
            return _rehearsed(said["step"], fields.get("evidence"))
        case "recovery-step":
            wrong = _wrong(fields.get("evidence"))
            state = said["state"]
            return f"{said['step']}: {state}{f' ({wrong})' if wrong else ''}"
        case "recovery-plans":
            plans = fields.get("plans")
            return f"the plan of the recovery of {', '.join(plans) if isinstance(plans, Mapping) else '?'}"
        case "recovery-confirmed":
            words = f": {said['words']}" if fields.get("words") else ""
            return f"{said['by']} said that {said['step']} was done{words}"
        case "recovery-noted":
            rest = ", ".join(f"{name} {said[name]}" for name in fields if name != "host")
            return f"noted: {rest}"
        case "findings":
            found = fields.get("findings")
            return f"noted {len(found) if isinstance(found, list) else '?'} findings"
    if kind in _PHRASES:
        return _PHRASES[kind].format_map(said)
    rest = ", ".join(f"{name.replace('_', ' ')} {said[name]}" for name in fields if name != "host")
    return f"{kind.replace('-', ' ')}: {rest}" if rest else kind.replace("-", " ")


def _rehearsed(step: str, evidence: object) -> str:
    """Given the evidence of a step that was rehearsed, return what is missing, and what to do about it, and
    what nobody could tell.
    """
    some = [one for one in evidence if isinstance(one, Mapping)] if isinstance(evidence, list) else []
    parts = [
        (word, ". ".join(str(e[key]).rstrip(".") for key in ("said", "remedy") if e.get(key)), e.get("what"))
        for verdict, word in (("wrong", "missing"), ("unknown", "nobody can tell"))
        for e in some
        if e.get("verdict") == verdict
    ]
    return f"{step}: " + (
        "; ".join(f"{w}: {what}: {text}" for w, text, what in parts) or "nothing is missing"
    )


def _wrong(evidence: object) -> str:
    """Given the evidence of a step, return what of it was wrong; empty if nothing was."""
    some = [one for one in evidence if isinstance(one, Mapping)] if isinstance(evidence, list) else []
    return "; ".join(f"{e.get('what')}: {e.get('said')}" for e in some if e.get("verdict") == "wrong")


class _Said(dict[str, str]):
    """Fields in words; one that is not there is a question."""

    def __missing__(self, key: str) -> str:
        return "?"


def plainly(value: object, levels: int = 3) -> str:
    """Given what a journal has, return it without the signs of a program, and no more levels than these."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "yes" if value else "no"
        case list() | Mapping() if not levels:
            return "..."
        case list():
            return ", ".join(plainly(inner, levels - 1) for inner in value) or "none"
        case Mapping():
            return "; ".join(f"{k} {plainly(inner, levels - 1)}" for k, inner in value.items()) or "none"
    return str(value)
