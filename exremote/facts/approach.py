"""What lies between a gateway and a host without WinRM (`gateway/Test-Approach`), and what is wrong there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from exremote.facts.parse import FactError, Record, take, texts

SCRIPT = "gateway/Test-Approach"
_STATES = frozenset({"open", "refused", "silent", "unknown"})


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing on the way that is not as it has to be."""

    sentence: str
    """What."""
    remedy: str
    """What to do."""
    fatal: bool
    """True if nothing can be asked as long as it stays; else only some things cannot."""


@dataclass(frozen=True, slots=True)
class ApproachFact:
    """The way from a gateway to a host behind it."""

    computer_name: str
    """The host, as the gateway was asked for it."""
    asker: str
    """The gateway's own name."""
    addresses: tuple[str, ...]
    """What the host's name resolves to there."""
    ports: Mapping[int, str]
    """State of TCP 445, 139 and 135: `open`, `refused`, `silent` or `unknown`."""
    smb1: str
    """Whether the gateway's Windows can speak SMB 1: `installed`, `disabled` or `missing`."""
    signing_required: bool
    """True if it speaks SMB only where messages are signed."""
    lm_compatibility: int
    """LmCompatibilityLevel; -1 if nothing is said."""

    @classmethod
    def parse(cls, record: Record) -> Self:
        """Given the script's record, return the fact. Raise FactError if it breaks the contract."""
        ports: dict[int, str] = {}
        for line in texts(SCRIPT, record, "Ports"):
            number, _, state = line.partition(" ")
            if not number.isdigit() or state not in _STATES:
                raise FactError(SCRIPT, "Ports", f"expected a port and its state, got {line!r}")
            ports[int(number)] = state
        return cls(
            computer_name=take(SCRIPT, record, "ComputerName", str),
            asker=take(SCRIPT, record, "Asker", str),
            addresses=texts(SCRIPT, record, "Addresses"),
            ports=ports,
            smb1=take(SCRIPT, record, "Smb1", str),
            signing_required=take(SCRIPT, record, "SigningRequired", bool),
            lm_compatibility=take(SCRIPT, record, "LmCompatibility", int),
        )

    def troubles(self, wmi: bool = True) -> list[Trouble]:
        """Given whether WMI is to be asked, return what is wrong, the worst first. Sources: domain.md 6.3."""
        name, found = self.computer_name, []
        if not self.addresses:
            found.append(
                Trouble(
                    f"{self.asker} finds no address for {name}",
                    "Say an address that the gateway can resolve, or an IP address, in the inventory.",
                    True,
                )
            )
        elif "open" not in (self.ports.get(445), self.ports.get(139)):
            states = ", ".join(f"{port} is {self.ports.get(port, 'unknown')}" for port in (445, 139))
            found.append(
                Trouble(
                    f"{self.asker} reaches no file sharing at {name}: TCP {states}",
                    "See that the host is up and its service Server runs, and let the firewalls between the "
                    "two pass TCP 445 or 139.",
                    True,
                )
            )
        if self.smb1 != "installed":
            found.append(
                Trouble(
                    f"SMB 1, all that Windows 2000 and 2003 speak, is {self.smb1} on {self.asker}",
                    "Add its client there (Windows feature SMB1Protocol-Client, then a restart), or take a "
                    "gateway with Windows Server 2008 R2 or 2012 R2, which have it.",
                    True,
                )
            )
        if self.signing_required:
            found.append(
                Trouble(
                    f"{self.asker} speaks SMB only where messages are signed (RequireSecuritySignature)",
                    "Let the host sign (EnableSecuritySignature in its LanmanServer parameters), or take "
                    "that demand away on the gateway.",
                    False,
                )
            )
        if wmi and self.addresses and self.ports.get(135) != "open":
            found.append(
                Trouble(
                    f"{self.asker} reaches no WMI at {name}: TCP 135 is {self.ports.get(135, 'unknown')}",
                    "Let the firewalls between the two pass TCP 135 and RPC's dynamic ports, or set wmi = "
                    "false at the gateway in the inventory: disks, clock and ntbackup are left out then.",
                    False,
                )
            )
        return found
