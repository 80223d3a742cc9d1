"""The connectors of Exchange 2000 alone, for Microsoft Mail and Lotus cc:Mail, put into a machine of the lab.

As in `furnish`: names and places follow the published descriptions, and what is documented nowhere says that
it is lab data.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from exremote.lab import furnish
from exremote.lab.files import Generated
from exremote.lab.furnish import EXCHSRVR, put, when
from exremote.lab.machine import ENVIRONMENT, SERVICES, DirectoryObject, LoggedEvents, Machine, ticks
from exremote.lab.programs import dos_program, windows_program
from exremote.lab.registry import Kind
from exremote.lab.security import DOMAIN

MSMCON = r"D:\Msmcon"
"""Moved to another drive, as a post office that has grown is."""
MAILDATA = rf"{MSMCON}\Maildata"
HELD = (rf"{MAILDATA}\Key\Inqueue3.key", rf"{MAILDATA}\Mbg\Inqueue3.mbg")
"""What the interchange and the MTAs hold open."""
MAIL_ACCOUNT = f"{DOMAIN}-1131"
"""The SID of a service account of the lab's domain."""
MTAS = ("PCMTA Vienna", "MTA2")
"""Names that an administrator chose."""
SHARES = rf"{SERVICES}\LanmanServer\Shares"
CCMCDATA = rf"{EXCHSRVR}\Ccmcdata"
TOOLS = r"C:\ccmail"
PARAMETERS = rf"{SERVICES}\MSExchangeCCMC\Parameters"
POST_OFFICE = r"\\CCSRV01\CCDATA\PO1"
_STUB = b"MZ lab stand-in, no program"

SYNC_BEGAN, SYNC_ENDED = 14001, 14031
"""Events of the connector for cc:Mail: Q294947 and others (5.5)."""


def _service(machine: Machine, name: str, title: str, image: str, depends_on: Sequence[str]) -> None:
    put(machine, image, _STUB)
    machine.add_service(name, title, f'"{image}"', depends_on=depends_on)


def _object(machine: Machine, class_name: str, title: str) -> None:
    name = f"{title} ({machine.name})"
    place = f"CN={name},{furnish.ORGANISATION}"
    machine.objects.append(DirectoryObject(class_name, place, {"cn": [name]}))


def msmail(machine: Machine) -> None:
    """Put the connector for Microsoft Mail there: interchange, PC MTAs, shadow post office, its share."""
    binaries = rf"{MSMCON}\Bin"
    own = ("EventLog", "MSExchangeSA")
    _service(machine, "MSExchangeMSMI", "MS Mail Connector Interchange", rf"{binaries}\Mt.exe", own)
    for name in MTAS:
        title = f"MS Mail Connector (PC) MTA - {name}"
        _service(machine, name, title, rf"{binaries}\labpcmta.exe", ("EventLog", "MSExchangeMSMI"))
    title = "Microsoft Exchange Directory Synchronization"
    _service(machine, "MSExchangeDX", title, rf"{EXCHSRVR}\bin\Dxa.exe", ("MSExchangeMTA",))
    for folder in ("P1", "Mai", "Att", "Log"):
        machine.files.make_directory(rf"{MAILDATA}\{folder}", when(rf"{MAILDATA}\{folder}"))
    put(machine, rf"{MAILDATA}\Glb\Process.glb", Generated(4_096, 11))
    put(machine, rf"{MAILDATA}\Glb\labmaster.glb", Generated(12_000, 12, True))
    for number in range(1, 6):
        put(machine, rf"{MAILDATA}\Mbg\lab{number:04d}.mbg", Generated(30_000 * number, 100 + number, True))
        put(machine, rf"{MAILDATA}\Key\lab{number:04d}.key", Generated(2_048, 200 + number))
    for path in HELD:
        put(machine, path, Generated(8_192, 13))
        machine.holds[path] = ("MSExchangeMSMI", *MTAS)
    put(machine, rf"{EXCHSRVR}\Dxadata\Xdir.edb", Generated(65_536, 14, True))
    machine.holds[rf"{EXCHSRVR}\Dxadata\Xdir.edb"] = ("MSExchangeDX",)
    machine.hold()
    # Closed to all but the administrators and the account that the interchange works under.
    machine.files.find(MAILDATA).security = (
        f"O:S-1-5-32-544D:P(A;OICI;0x1f01ff;;;S-1-5-32-544)(A;OICI;0x1f01ff;;;S-1-5-18)"
        f"(A;OICI;0x1301bf;;;{MAIL_ACCOUNT})"
    )
    machine.registry.set(
        SHARES,
        "Maildat$",
        ("CSCFlags=0", "MaxUses=4294967295", f"Path={MAILDATA}", "Permissions=0", "Type=0"),
    )
    machine.registry.set(rf"{SERVICES}\MSExchangePCMTA\Performance", "Library", "Xtnperf.dll")
    machine.registry.set(
        rf"{SERVICES}\Eventlog\Application\MSExchangeMSMI", "EventMessageFile", rf"{binaries}\Mt.exe"
    )
    _object(machine, "mSMailConnector", "MS Mail Connector")


def ccmail(machine: Machine) -> None:
    """Put the connector for Lotus cc:Mail there, with the programs of release 8.5 that it runs."""
    image = rf"{EXCHSRVR}\Connect\Ccmail\Bin\Ccmc.exe"
    title = "Microsoft Exchange Connector for Lotus cc:Mail"
    _service(machine, "MSExchangeCCMC", title, image, ("EventLog", "MSExchangeSA"))
    for name, data in (
        ("Import", "Import32.exe"),
        ("Export", "Export32.exe"),
        ("cc:Mail Admin file path", TOOLS),
        ("Second to wait before EXPORT/IMPORT", 15),
        ("Maximum number of messages to EXPORT", 16),
        ("Maximum number of messages to IMPORT", 5),
    ):
        machine.registry.set(PARAMETERS, name, data)
    for name in ("Import32.exe", "Export32.exe", "Cdmw800.dll", "Cfw803.dll", "Ciw803.dll"):
        put(machine, rf"{TOOLS}\{name}", windows_program("8.50.2.0", f"lab stand-in for {name}, no program"))
    path = machine.registry.text(ENVIRONMENT, "Path")
    machine.registry.set(ENVIRONMENT, "Path", f"{path};{TOOLS}", Kind.ExpandString)
    for folder in ("Submit", "Import", "Export", "Bad"):
        machine.files.make_directory(rf"{CCMCDATA}\{folder}", when(rf"{CCMCDATA}\{folder}"))
    put(machine, rf"{CCMCDATA}\Impexp.ri", "lab data: resource file of release 8.5\n")
    put(machine, rf"{CCMCDATA}\Export.ini", "; lab data\n")
    now = ticks(machine.now() - timedelta(minutes=5))
    machine.files.write(rf"{CCMCDATA}\Submit\lab00001.ccm", b"lab mail on its way", modified=now)
    machine.files.write(rf"{CCMCDATA}\Submit\lab00001.und", b"lab: never put back", modified=now)
    machine.files.add_root(POST_OFFICE.rpartition("\\")[0])
    put(machine, rf"{POST_OFFICE}\CCPOMBOX.LAB", "lab data: a post office\n")
    _object(machine, "msExchccMailConnector", "Connector for Lotus cc:Mail")
    for number, hours, word in ((SYNC_BEGAN, 8.0, "began"), (SYNC_ENDED, 7.5, "ended")):
        words = f"a directory synchronization {word}."
        _event(machine, "MSExchangeCCMC", number, words, (hours,), "Information")


def _event(
    machine: Machine,
    source: str,
    number: int,
    message: str,
    hours: tuple[float, ...] = (2.0, 3.0),
    level: str = "Error",
) -> None:
    machine.events.append(LoggedEvents(source, number, level, hours, f"Lab event: {message}"))


def sicken(machine: Machine, connectors: Sequence[str]) -> None:
    """Give a host with these connectors what goes wrong with them."""
    if "msmail" in connectors:
        # A service pack put the share back to where the post office was before it was moved.
        old = rf"{EXCHSRVR}\Connect\Msmcon\Maildata"
        machine.registry.set(SHARES, "Maildat$", ("CSCFlags=0", f"Path={old}", "Permissions=0", "Type=0"))
        machine.registry.set(rf"{SERVICES}\MSExchangeMSMI", "ObjectName", r"LAB\someone")
        machine.set_service(MTAS[1], "Stopped")
        _event(machine, "MSExchangeMSMI", 2410, "the interchange was refused.")
    if "ccmail" in connectors:
        for name in ("Import32.exe", "Export32.exe"):
            put(machine, rf"{TOOLS}\{name}", dos_program(f"lab stand-in for {name} of DB6, no program"))
        put(machine, rf"{CCMCDATA}\Bad\lab00007.ccm", "lab mail that was not delivered\n")
        _event(machine, "MSExchangeCCMC", 54, "a message was moved to Bad.")
        machine.events = [e for e in machine.events if e.event_id != SYNC_ENDED]


FURNISHERS = {"msmail": msmail, "ccmail": ccmail}
"""By the name of the connector."""
