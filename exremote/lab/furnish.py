"""What Exchange 2000/2003 and its foreign-mail connectors leave on a host, put into a machine of the lab.

Names and places follow the published descriptions. Where the content of a file is documented nowhere, the
file says that it is lab data, and is not dressed up as more. It invents no key, name or event that a check
could come to trust.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from exremote.lab.files import Generated
from exremote.lab.machine import ENVIRONMENT, SERVICES, DirectoryObject, LoggedEvents, Machine, ticks
from exremote.lab.programs import windows_program
from exremote.lab.registry import Kind

EXCHSRVR = r"C:\Program Files\Exchsrvr"
CONNDATA = rf"{EXCHSRVR}\Conndata"
NOTES = r"C:\Lotus\Notes"
API = r"\\NWFS01\SYS\GWDOM\WPGATE\API"
NETWARE = r"C:\Program Files\NetWare\labnwc.exe"
QUEUES = ("API_IN", "API_OUT", "ATT_IN", "ATT_OUT", "GWHOLD", "GWPROB")
_STUB = b"MZ lab stand-in, no program"
_ALWAYS = 10**9
_INSTALLED = datetime(2004, 3, 15, 9, 30, tzinfo=UTC)
_GROUP = (
    "CN=First Administrative Group,CN=Administrative Groups,CN=Lab,CN=Microsoft Exchange,CN=Services,"
    "CN=Configuration,DC=lab,DC=example"
)
_SERVERS = f"CN=Servers,{_GROUP}"
HOTFIXES = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\HotFix"
ORGANISATION = (
    "CN=Connections,CN=First Routing Group,CN=Routing Groups,CN=First Administrative Group,"
    "CN=Administrative Groups,CN=Lab,CN=Microsoft Exchange,CN=Services,CN=Configuration,DC=lab,DC=example"
)


def when(path: str) -> int:
    """Return a time of last change for a file: always the same for the same path."""
    return ticks(_INSTALLED + timedelta(seconds=zlib.crc32(path.lower().encode()) % (400 * 86400)))


def put(machine: Machine, path: str, text: str | bytes | Generated) -> None:
    """Write one file with a time of its own. Line feeds of a text become CR LF."""
    content = text.replace("\n", "\r\n") if isinstance(text, str) else text
    folder = path.rpartition("\\")[0]
    machine.files.make_directory(folder, when(folder))
    machine.files.write(path, content, modified=when(path))


def exchange(machine: Machine) -> None:
    """Put the base of an Exchange server there: root, system attendant, store, MTA."""
    setup = r"HKLM\SOFTWARE\Microsoft\Exchange\Setup"
    machine.registry.set(setup, "Services", EXCHSRVR)
    machine.registry.set(setup, "NewestBuild", 7638)
    machine.registry.set(setup, "Service Pack Build", 7638)
    machine.registry.make(rf"{HOTFIXES}\KB828092")
    for name in ("First Storage Group", "Second, with a comma"):
        spelt = name.replace(",", "\\,")
        machine.objects.append(
            DirectoryObject(
                "msExchStorageGroup",
                f"CN={spelt},CN=InformationStore,CN={machine.name},{_SERVERS}",
                {"cn": [name]},
            )
        )
    for folder in ("bin", "Mdbdata", "Mtadata", "Mailroot", "Conndata"):
        machine.files.make_directory(rf"{EXCHSRVR}\{folder}", when(folder))
    for name, title, program, depends_on in (
        ("MSExchangeSA", "Microsoft Exchange System Attendant", "mad.exe", ("EventLog", "RpcSs")),
        ("MSExchangeIS", "Microsoft Exchange Information Store", "store.exe", ("MSExchangeSA",)),
        ("MSExchangeMTA", "Microsoft Exchange MTA Stacks", "emsmta.exe", ("MSExchangeSA",)),
    ):
        _service(machine, name, title, program, depends_on=depends_on, start="Automatic")


def _service(
    machine: Machine,
    name: str,
    title: str,
    program: str,
    *,
    arguments: str = "",
    depends_on: Sequence[str] = (),
    start: str = "Manual",
    state: str = "Running",
    stop_delay_s: float = 0.0,
    drags: Sequence[str] = (),
) -> None:
    image = rf"{EXCHSRVR}\bin\{program}"
    put(machine, image, _STUB)
    machine.add_service(
        name,
        title,
        f'"{image}"{arguments}',
        depends_on=depends_on,
        start=start,
        state=state,
        stop_delay_s=stop_delay_s,
        drags=drags,
    )


def _dispatch(connector: str) -> str:
    return f' -cexchconn.ini -n{connector} -pCONTROL-SERVICE -l"{EXCHSRVR}\\bin" -v{connector}'


def _event(
    machine: Machine,
    source: str,
    event_id: int,
    hours_ago: Sequence[float],
    message: str,
    level: str = "Information",
) -> None:
    machine.events.append(LoggedEvents(source, event_id, level, tuple(hours_ago), message))


def _table(machine: Machine, path: str, rules: Sequence[tuple[str, str]], tab_in_line: int = 0) -> None:
    lines = [f"{left:<28}{right}" for left, right in rules]
    if tab_in_line:
        left, right = rules[tab_in_line - 1]
        lines[tab_in_line - 1] = f"{left}\t{right}"
    put(machine, path, "".join(line + "\n" for line in lines))


def conndata(machine: Machine) -> None:
    """Put what all connectors of the LME family share there: controller, Conndata, tables, work files."""
    if machine.files.is_directory(rf"{CONNDATA}\Tables"):
        return
    if not machine.files.is_directory(EXCHSRVR):
        exchange(machine)
    _service(
        machine,
        "MSExchangeCoCo",
        "Microsoft Exchange Connectivity Controller",
        "Lscntrl.exe",
        depends_on=("EventLog", "MSExchangeSA"),
        drags=(),
    )
    put(
        machine,
        rf"{CONNDATA}\Exchconn.ini",
        "; lab data: only rcsaccess is documented\n[Exchange Connectivity Controller]\n"
        "rcsaccess = Administrators\n",
    )
    for number in range(1, 7):
        path = rf"{CONNDATA}\Tables\lab{number:04d}.tbl"
        put(
            machine,
            path,
            Generated(
                20_000 * number + number, zlib.crc32(f"{machine.name}{number}".encode()), number % 2 == 0
            ),
        )
    for name in ("lab1.seq", "lab2.seq", "lab1.ck"):
        put(machine, rf"{CONNDATA}\{name}", f"lab work file {machine.name} 00000000")
        machine.files.find(rf"{CONNDATA}\{name}").changing = _ALWAYS
    put(machine, rf"{CONNDATA}\Temp\Dxamex.txt", "lab data: directory synchronisation exchange file\n")
    _table(
        machine,
        rf"{CONNDATA}\Dxamex\Amap.tbl",
        [("ALIAS", "ISEQUAL( ALIAS, 64 )"), ("FULLNAME", "ISEQUAL( FULLNAME, 256 )")],
    )


def notes(machine: Machine) -> None:
    """Put the connector for Lotus Notes there, with the Notes client that it needs."""
    conndata(machine)
    _service(
        machine,
        "LME-NOTES",
        "Microsoft Exchange Connector for Lotus Notes",
        "Dispatch.exe",
        arguments=_dispatch("LME-NOTES"),
        depends_on=("EventLog", "MSExchangeCoCo"),
    )
    machine.services["msexchangecoco"].drags += ("LME-NOTES",)
    machine.children["lme-notes"] = (
        "Lsdxa.exe",
        "Lsmexin.exe",
        "Lsmexout.exe",
        "Lsmexnts.exe",
        "Lsntsmex.exe",
    )
    put(machine, rf"{CONNDATA}\Temp\Dxanotes.txt", "lab data: directory synchronisation exchange file\n")
    _table(
        machine,
        rf"{CONNDATA}\Dxamex\Mapnotes.tbl",
        [("Alias", "ShortName"), ("Dn", "FullName"), ("Company", "Company")],
    )
    _table(
        machine,
        rf"{CONNDATA}\Dxanotes\Amap.tbl",
        [("FULLNAME", "ISEQUAL( FullName, 256 )"), ("SHORTNAME", "ISEQUAL( ShortName, 64 )")],
    )
    _table(machine, rf"{CONNDATA}\Dxanotes\Mapmex.tbl", [("FullName", "Dn"), ("ShortName", "Alias")])
    for program in ("notes.exe", "nnotes.dll", "nlnotes.exe"):
        put(machine, rf"{NOTES}\{program}", _STUB)
    for name, size in (("names.nsf", 393_216), ("desktop.dsk", 24_576), ("bookmark.nsf", 65_536)):
        put(machine, rf"{NOTES}\Data\{name}", Generated(size, zlib.crc32(name.encode()), True))
    put(machine, rf"{NOTES}\Data\exchange.id", Generated(2_560, zlib.crc32(machine.name.encode())))
    # An ID file is closed to all but the administrators and the system.
    machine.files.find(
        rf"{NOTES}\Data\exchange.id"
    ).security = "O:S-1-5-32-544D:P(A;;0x1f01ff;;;S-1-5-32-544)(A;;0x1f01ff;;;S-1-5-18)"
    put(
        machine,
        rf"{NOTES}\Notes.ini",
        f"[Notes]\nKitType=1\nDirectory={NOTES}\\Data\nKeyFileName={NOTES}\\Data\\exchange.id\n",
    )
    for key in (r"HKLM\SOFTWARE\Lotus\Notes",):
        machine.registry.set(key, "Path", NOTES + "\\")
        machine.registry.set(key, "DataPath", NOTES + "\\Data\\")
    path = machine.registry.text(ENVIRONMENT, "Path")
    machine.registry.set(ENVIRONMENT, "Path", f"{path};{NOTES}", Kind.ExpandString)
    name = f"Connector for Lotus Notes ({machine.name})"
    machine.objects.append(
        DirectoryObject(
            "msExchNotesConnector",
            f"CN={name},{ORGANISATION}",
            {
                "cn": [name],
                "msExchNotesNotesServer": ["DOMINO01/Lab"],
                "msExchNotesNotesINI": [rf"{NOTES}\Notes.ini"],
                "msExchNotesPassword": ["lab-secret-that-must-not-travel"],
                "objectGUID": [zlib.crc32(name.encode()).to_bytes(4, "big") * 4],
            },
        )
    )
    _event(machine, "MSExchangeNOTES", 8229, (200.0,), "Lab event: service LME-NOTES was started.")


def calendar(machine: Machine) -> None:
    """Put the Calendar Connector there."""
    conndata(machine)
    _service(
        machine,
        "MSExchangeCalCon",
        "Microsoft Exchange Calendar Connector",
        "Calcon.exe",
        depends_on=("EventLog", "MSExchangeIS", "MSExchangeCoCo"),
    )
    machine.services["msexchangecoco"].drags += ("MSExchangeCalCon",)
    key = rf"{SERVICES}\MSExchangeCalCon\Parameters"
    groupwise_too = machine.service_state("LME-GWISE") is not None
    machine.registry.set(key, "Providers", "GWISECAL" if groupwise_too else "NOTESCAL")
    if groupwise_too:
        machine.registry.set(key, "GWISECAL.0001.API_IN Directory", rf"{API}\API_IN")
        machine.registry.set(key, "GWISECAL.0001.API_OUT Directory", rf"{API}\API_OUT")
    name = f"Calendar Connector ({machine.name})"
    machine.objects.append(
        DirectoryObject(
            "msExchCalendarConnector",
            f"CN={name},{ORGANISATION}",
            {"cn": [name], "msExchNotesNotesServer": ["DOMINO01/Lab"]},
        )
    )


def groupwise(machine: Machine, api: str = API) -> None:
    """Put the connector for Novell GroupWise there, and the API gateway's directory on its NetWare server."""
    conndata(machine)
    # Where its program lies on a real host does not matter here, and no check looks at it.
    put(machine, NETWARE, windows_program("4.91.4.0", "lab stand-in, no program"))
    machine.add_service("NWCWorkstation", "Gateway Service for NetWare", f'"{NETWARE}"', start="Automatic")
    _service(
        machine,
        "MSExchangeGWRtr",
        "Microsoft Exchange Router for Novell GroupWise",
        "Gwrouter.exe",
        depends_on=("EventLog",),
        drags=("LME-GWISE",),
    )
    _service(
        machine,
        "LME-GWISE",
        "Microsoft Exchange Connector for Novell GroupWise",
        "Dispatch.exe",
        arguments=_dispatch("LME-GWISE"),
        depends_on=("EventLog", "MSExchangeCoCo", "MSExchangeGWRtr"),
    )
    # Stopping the controller stops the connector, not the router; stopping the router stops the connector.
    machine.services["msexchangecoco"].drags += ("LME-GWISE",)
    machine.registry.make(rf"{SERVICES}\MSExchangeGWRtr\Parameters")
    for folder in ("togwise", "freebusy", "archive", "badfiles", "tomex", "tomexa", "dirsync"):
        path = rf"{CONNDATA}\Gwrouter\{folder}"
        machine.files.make_directory(path, when(path))
    put(machine, rf"{CONNDATA}\Gwrouter\freebusy\36ED2A11.API", _header("Search"))
    gwise = rf"{CONNDATA}\DxaGwise"
    _table(machine, rf"{gwise}\Mapgwise.tbl", [("Alias", "Object"), ("Dn", "Fid"), ("Company", "Company")])
    _table(
        machine, rf"{gwise}\Gwamap.tbl", [("OBJECT", "ISEQUAL( Object, 64 )"), ("FID", "ISEQUAL( Fid, 32 )")]
    )
    _table(machine, rf"{gwise}\Mapmex.tbl", [("Object", "Alias"), ("LastName", "Surname")])
    _table(machine, rf"{gwise}\Mexamap.tbl", [("ALIAS", "ISEQUAL( ALIAS, 64 )")])
    machine.files.add_root("\\".join(api.split("\\")[:4]))
    for queue in (*QUEUES, "WPCSIN", "WPCSOUT", "000.PRC"):
        machine.files.make_directory(rf"{api}\{queue}")
    put(machine, rf"{api}\Gwcorr.db", Generated(65_536, 77, True))
    name = f"Connector for Novell GroupWise ({machine.name})"
    machine.objects.append(
        DirectoryObject(
            "msExchGroupWiseConnector",
            f"CN={name},{ORGANISATION}",
            {
                "cn": [name],
                "msExchGWiseAPIGatewayPath": [api],
                "msExchGWiseUserId": ["EXCHGW"],
                "msExchGWisePassword": ["lab-secret-that-must-not-travel"],
                "msExchGWiseForeignDomain": ["EXCHANGE"],
                "msExchGWiseFilterType": ["0"],
            },
        )
    )
    _event(machine, "MSExchangeGWRtr", 6015, (200.0,), "Lab event: the router was started.")
    _event(machine, "MSExchangeGWISE", 8229, (200.0,), "Lab event: service LME-GWISE was started.")


def _header(kind: str) -> str:
    return f"WPC-API= 1.2;\nMSG-TYPE= {kind};\nMSG-ID= lab;\n-END-\n"


def sicken(machine: Machine, api: str = API) -> None:
    """Give a host with the GroupWise connector what a tired administrator finds on a Monday."""
    machine.set_service("LME-GWISE", "Stopped")
    if "lme-notes" in machine.children:
        machine.programs.add("nlnotes.exe")  # somebody looked at something, and left it open
    for number in (1, 2, 3):
        put(
            machine,
            rf"{CONNDATA}\Gwrouter\badfiles\36ED293{number}.API",
            "WPC-API= 1.2;\nMSG-ID= lab;\n-END-\n",
        )
    machine.files.write(
        rf"{api}\API_OUT\36ED2937.API", b"", modified=ticks(machine.now() - timedelta(hours=30))
    )
    path = rf"{CONNDATA}\DxaGwise\Mapgwise.tbl"
    _table(machine, path, [("Alias", "Object"), ("Dn", "Fid"), ("Company", "Company")], tab_in_line=2)
    _event(
        machine,
        "MSExchangeGWRtr",
        6062,
        (3.0, 2.5, 2.0),
        "Lab event: a message was moved to badfiles.",
        "Error",
    )
    _event(machine, "MSExchangeGWISE", 8226, (1.6,), "Lab event: a child process died.", "Error")
    _event(
        machine,
        "MSExchangeGWISE",
        8227,
        (1.5,),
        "Lab event: the service is shutting down because of it.",
        "Error",
    )


FURNISHERS = {"notes": notes, "groupwise": groupwise, "calendar": calendar}
"""By the name of the connector."""
