"""Which services a run stopped and started, from its events. It asks no host how they are now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from exremote.journal import Event

_KINDS = {"stop-service", "start-service", "copy-stopped"}


@dataclass(slots=True)
class _Open:
    """A service of a host while the events are read."""

    found: str = ""
    stopped: datetime | None = None
    started: datetime | None = None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class ServiceDeed:
    """What a run did to one service of a host."""

    host: str
    service: str
    """short name"""
    found: str
    """how it was before, such as `Running, Automatic`; empty if the journal does not say"""
    stopped: datetime | None
    """when it stood; None if it was not stopped"""
    started: datetime | None
    """when it had been started again, or left as it is to be; None if it was not, or nobody knows"""
    trouble: str
    """why it does not run as it should; empty if nothing is known to be wrong"""

    @property
    def owed(self) -> bool:
        """Whether it was stopped, and nothing says that it was started again."""
        return self.stopped is not None and self.started is None


def service_deeds(events: Iterable[Event]) -> list[ServiceDeed]:
    """Given the events of a run, return what it did to services, by host, in the order of the first deed."""
    found: dict[str, Mapping[str, object]] = {}
    deeds: dict[tuple[str, str], _Open] = {}
    steps: dict[tuple[str, object], Mapping[str, object]] = {}

    def deed(host: str, service: str) -> _Open:
        known = found.get(host, {}).get(service)
        text = ", ".join(map(str, known)) if isinstance(known, list) else ""
        one = deeds.setdefault((host, service), _Open())
        one.found = one.found or text
        return one

    for event in events:
        host = str(event.fields.get("host") or "")
        step = event.fields.get("step")
        key = (host, str(event.fields.get("number")))
        match event.kind:
            case "services-found":
                said = event.fields.get("services")
                found[host] = said if isinstance(said, Mapping) else {}
                for name in _stopped_for_a_copy(host, steps, found[host]):
                    one = deed(host, name)
                    one.stopped = one.stopped or event.at
            case "step-started" if isinstance(step, Mapping) and str(step.get("kind")) in _KINDS:
                steps[key] = step
            case "step-finished" if key in steps:
                step = steps.pop(key)
                if step["kind"] == "stop-service":
                    deed(host, str(step.get("service"))).stopped = event.at
                elif step["kind"] == "start-service":
                    one = deed(host, str(step.get("service")))
                    one.started = None if one.trouble else event.at
            case "step-failed" if key in steps:
                step = steps.pop(key)
                if "service" in step:
                    deed(host, str(step["service"])).trouble = str(event.fields.get("error") or "")
            case "stopped-too":
                names = event.fields.get("services")
                for name in names if isinstance(names, list) else ():
                    deed(host, str(name)).stopped = event.at
            case "not-done":
                # A start that a host refuses ends no run; it is told by this event, inside its step.
                what = str(event.fields.get("what") or "")
                for open_step in [s for (h, _), s in steps.items() if h == host]:
                    if what.startswith(f"service {open_step.get('service')}: "):
                        deed(host, str(open_step["service"])).trouble = what.partition(": ")[2]
            case "services-back":
                failed = event.fields.get("failed")
                failed = failed if isinstance(failed, Mapping) else {}
                for (other, name), one in deeds.items():
                    if other == host and one.stopped and not one.started and not one.trouble:
                        one.trouble = str(failed.get(name) or "")
                        one.started = None if one.trouble else event.at
            case "services-left":
                for (other, _), one in deeds.items():
                    if other == host and one.stopped and not one.started:
                        one.trouble = str(event.fields.get("error") or "") or "it could not be started"
            case _:
                pass
    return [
        ServiceDeed(host, name, one.found, one.stopped, one.started, one.trouble)
        for (host, name), one in deeds.items()
    ]


def _stopped_for_a_copy(
    host: str, steps: Mapping[tuple[str, object], Mapping[str, object]], found: Mapping[str, object]
) -> list[str]:
    """Given a host's open steps, return the services that a copy stops: those that were found running."""
    if not any(step["kind"] == "copy-stopped" for (other, _), step in steps.items() if other == host):
        return []
    return [name for name, how in found.items() if isinstance(how, list) and how[:1] == ["Running"]]
