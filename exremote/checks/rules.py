"""What the built-in checks say of themselves. It holds words only; who judges is next door."""

from __future__ import annotations

from collections.abc import Mapping

from exremote.checks.finding import Rule

_OURS = "exremote"
RULES: Mapping[str, Rule] = {
    rule.id: rule
    for rule in (
        Rule(
            "host.exchange",
            "Exchange is installed where its registry key says",
            "critical",
            "Hold the Setup key against the service MSExchangeSA: without the service the key is a leftover.",
            "Q178975; Q149205, Q143380 (5.5)",
        ),
        Rule(
            "host.name",
            "The host is the one that the inventory means",
            "warning",
            "See whether name and address in the inventory lead to the right machine: what is saved is saved "
            "under the inventory's name.",
            _OURS,
        ),
        Rule(
            "host.powershell",
            "PowerShell is 2.0 or newer",
            "critical",
            "Install KB968930 (Windows Management Framework Core: PowerShell 2.0 and WinRM 2.0).",
            "MS-WSMV appendix B, WMF overview",
        ),
        Rule(
            "host.clock",
            "The host's clock agrees with ours within five minutes",
            "warning",
            "Set the host's clock: Kerberos refuses log-ons, and ages of files are wrong.",
            "the bound is exremote's; Kerberos' five minutes are recalled",
            "R",
        ),
        Rule(
            "host.disk-space",
            "The drives of Windows, Exchange and Notes have room",
            "warning",
            "Free space on the drive: the bound is 5 % and 1 GiB.",
            "the bound is exremote's",
            "I",
        ),
        Rule(
            "host.rights",
            "The asking account is an administrator of the host",
            "warning",
            "Give the account administrator's rights there: others may not read Exchange's registry keys.",
            "Q318492",
        ),
        Rule(
            "connector.listed",
            "The inventory lists the connectors that the host has",
            "critical",
            "Correct the host's entry in the inventory, or reinstall the connector.",
            _OURS,
        ),
        Rule(
            "connector.complete",
            "The connector is wholly installed",
            "warning",
            "Find out whether it was removed by half: reinstall it, or clear away what is left.",
            "the evidence ladder of domain.md 3.3",
            "I",
        ),
        Rule(
            "connector.release",
            "The host's Exchange is one that has the connector",
            "info",
            "See whether it is what an upgrade to Exchange 2003 left: setup wants it removed before.",
            "2003 Deployment Guide",
        ),
        Rule(
            "service.registered",
            "The service is registered",
            "critical",
            "Run Exchange setup in disaster recovery mode for the connector.",
            "bb124644; KB 328835",
        ),
        Rule(
            "service.program",
            "The service's program file is there",
            "critical",
            "Run Exchange setup in disaster recovery mode for the connector.",
            "bb124644; KB 328835",
        ),
        Rule(
            "service.start-mode",
            "The service can be started",
            "warning",
            "Set its start type to manual, as the product has it.",
            "bb124644",
        ),
        Rule(
            "service.running",
            "The service runs",
            "critical",
            "Start the service, and read its events in the application log if it stops again.",
            "KB 328835",
        ),
        Rule(
            "service.dependencies",
            "What a running service depends on runs too",
            "critical",
            "Stop the connector's services in reverse order, then start them in order.",
            "Q235493 (5.5); bb124644",
        ),
        Rule(
            "tree.present",
            "The folder is there",
            "critical",
            "Restore the folder from the last snapshot.",
            "KB 328835",
        ),
        Rule(
            "tree.readable",
            "Everything in the folder can be read",
            "warning",
            "Close what keeps the file open, or give the account the right to read it: a snapshot lacks it.",
            _OURS,
        ),
        Rule(
            "tree.work-files",
            "No work files are left while the services are stopped",
            "info",
            "After a restore, erase them before the services start; otherwise leave them alone.",
            "KB 328835",
        ),
        Rule(
            "file.present",
            "The file is there",
            "critical",
            "Restore the file from the last snapshot, or correct the path in the connector's properties.",
            "KB 328835, KB 327018",
        ),
        Rule(
            "registry.present",
            "The registry key is there",
            "warning",
            "Compare with the .reg file of the last snapshot; bring the key back by setup or System State.",
            "KB 328835, Q196305",
        ),
        Rule(
            "api.reach",
            "The API directory can be seen",
            "critical",
            "Check the path, the volume and the account's rights on it.",
            "KB 328835, Q201876",
        ),
        Rule(
            "api.queues",
            "The API directory has its queue folders",
            "warning",
            "Check that the path leads to the gateway's folder, and let the gateway make its queues again.",
            "KB 254353",
        ),
        Rule(
            "api.probe",
            "A file can be written, read back and removed there",
            "critical",
            "Check the account's rights and the volume's free space, and remove a probe file that is left.",
            "KB 328835",
        ),
        Rule(
            "api.leftovers",
            "No probe file of an earlier run is left",
            "warning",
            "Run health with --probe, which removes them, or remove them by hand.",
            _OURS,
        ),
        Rule(
            "directory.object",
            "The directory has the connector's object",
            "warning",
            "Compare with directory.json of the last snapshot: only the directory can bring the object back.",
            "connspec.htm; Exchange 2003 SDK",
        ),
        Rule(
            "table.shrunk",
            "No table was emptied or halved since the last snapshot",
            "critical",
            "Keep the last good snapshot: compare the table with it, and restore it if entries are lost.",
            "KB 328835",
        ),
    )
}
