"""The contract of the bundled scripts (ps_scripts/README.md), held against every one of them.

Read as text here; Microsoft's own parser reads them too where it is at hand (EXREMOTE_PSENGINE).
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from exremote.script import Effect, Script, ScriptLibrary

FOLDER = Path(__file__).resolve().parents[2] / "ps_scripts"
LIBRARY = ScriptLibrary.load(FOLDER)
SCRIPTS = list(LIBRARY)
ON_HOST = [script for script in SCRIPTS if "/" not in script.name]
BEHIND = [script for script in SCRIPTS if script.name.startswith("gateway/")]
NET20 = Path(__file__).resolve().parents[1] / "data" / "net20-members.txt"
PSENGINE = os.environ.get("EXREMOTE_PSENGINE", "")

APPROVED_VERBS = {
    "Get", "Read", "Export", "Test", "Connect", "Disconnect", "Receive", "Write", "Set", "Remove",
    "Move", "Start", "Copy",
}  # fmt: skip
"""Of the verbs that PowerShell 2.0 approves, those in use."""

ON_HOST_ONLY = r"Management\.ManagementObject"
"""Behind a gateway there is nothing else for some things."""

FORBIDDEN = {
    r"\bWrite-Host\b": "text for a screen that is not there",
    r"\b(?:Format|Out)-(?!Null\b)\w+": "text in place of objects",
    r"\bexit\b": "ends the host process in remoting",
    r"\bRead-Host\b|\bGet-Credential\b|\$Host\b|\.UI\.": "a prompt that nobody answers",
    r"\bInvoke-Expression\b|\biex\b": "text becomes code",
    r"\bGet-WmiObject\b|\[wmi\w*\]": "a cmdlet or an accelerator: what a credential is for shows nowhere",
    ON_HOST_ONLY: "WMI is often damaged on old servers",
    r"\$\w+\s*\+=\s*,|\$(?:list|lines|names|bytes|result)\w*\s*\+=": "an array grown item by item",
    r"-NoEnumerate\b|\[pscustomobject\]|\[ordered\]|\$PSItem\b|\$using:": "later than 2.0",
    r"\s-(?:in|notin|shl|shr)\s": "an operator later than 2.0",
    r"::new\(|\.CopyTo\(|IsNullOrWhiteSpace|EnumerateFiles": "a member later than 2.0",
    r"Import-Module|Add-PSSnapin|^\s*\.\s+[\$\\.]": "a script travels alone",
    r"GetHRForException": "leaves its text behind for the next COM error of the thread",
    r"ConvertTo-SecureString|-AsPlainText": "a password as text",
}


def each(scripts: list[Script] = SCRIPTS) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("script", scripts, ids=lambda script: script.name)


def help_of(script: Script) -> str:
    return script.text[: script.text.index("#>")]


def code_of(script: Script) -> str:
    """The body, without comments."""
    return re.sub(r"(?m)(?:^|(?<=\s))#(?!requires).*$", "", script.text[script.text.index("#>") + 2 :])


def test_every_script_of_the_contract_is_here_and_no_other() -> None:
    assert {script.name for script in SCRIPTS} == {
        "Get-HostFact", "Get-RegistryValue", "Get-ServiceState", "Get-FileTree", "Read-FilePack",
        "Export-RegistryKey", "Get-ConnectorObject", "Test-ApiDirectory", "Connect-Share", "Disconnect-Share",
        "Get-EventSummary", "Get-FileFact", "Write-FilePack", "Set-ServiceState", "Remove-WorkFile",
        "Set-RegistryValue", "Remove-ScratchKey", "Start-NtBackupJob", "Get-NtBackupJob",
        "Remove-NtBackupJob", "Read-TapeBlock", "Copy-FileTree", "Start-ServiceGuard", "Start-NtBackupTask",
        "Move-StagedFile", "Move-FileAside", "Remove-StagingFolder", "Set-Folder", "wire/Receive-Call",
        "wire/Receive-RawCall", "Get-FileSecurity", "Set-FileSecurity",
    } | {
        f"gateway/{name}"
        for name in (
            "Get-HostFact", "Get-RegistryValue", "Get-ServiceState", "Get-EventSummary", "Export-RegistryKey",
            "Set-ServiceState", "Set-RegistryValue", "Remove-ScratchKey", "Start-ServiceGuard",
            "Start-NtBackupJob", "Get-NtBackupJob", "Remove-NtBackupJob", "Test-HostShare", "Test-Approach",
        )
    }  # fmt: skip


@each([script for script in BEHIND if script.name not in ("gateway/Test-HostShare", "gateway/Test-Approach")])
def test_what_a_gateway_asks_has_the_contract_of_what_the_host_is_asked(script: Script) -> None:
    """Two bodies, one contract: whoever reads an answer need not know which way it came."""
    own = LIBRARY.get(script.name.removeprefix("gateway/"))
    way = {"ComputerName", "UserName", "Password", "Wmi"}
    assert script.parameters[0].name == "ComputerName"
    assert script.parameters[0].mandatory
    assert [one for one in script.parameters if one.name not in way] == list(own.parameters)
    assert script.output_properties == own.output_properties
    # reg.exe of the host itself needs a file, which is why its export is no mere Read.
    assert script.effect is own.effect or script.name == "gateway/Export-RegistryKey"
    ways = {"ExRemote.TargetDenied", "ExRemote.TargetUnreachable", "ExRemote.WmiUnavailable"}
    assert set(script.errors) - ways <= set(own.errors)


@each()
def test_help_has_all_sections_in_order(script: Script) -> None:
    order = re.findall(r"(?m)^\.([A-Z]+)", help_of(script))
    parameters = [word for word in order if word == "PARAMETER"]
    assert order == ["SYNOPSIS", "DESCRIPTION", *parameters, "EXAMPLE", "OUTPUTS", "NOTES"]
    assert re.fullmatch(r"[A-Z][^.]*\.?[^.]*\.", script.synopsis), "the synopsis is one sentence"


@each()
def test_each_parameter_is_described_and_none_is_invented(script: Script) -> None:
    described = re.findall(r"(?m)^\.PARAMETER (\w+)\n    \S", help_of(script))
    assert described == [parameter.name for parameter in script.parameters]


@each()
def test_notes_say_effect_rights_and_errors(script: Script) -> None:
    notes = help_of(script).split(".NOTES")[1]
    assert re.findall(r"(?m)^    (\w+):", notes) == ["Effect", "Rights", "Errors"]
    assert script.rights


@each()
def test_the_errors_of_the_notes_are_those_of_the_code(script: Script) -> None:
    raised = set(re.findall(r"-ErrorId '(ExRemote\.\w+)'", code_of(script)))
    assert raised == set(script.errors)


@each()
def test_outputs_name_the_properties_and_the_code_emits_them(script: Script) -> None:
    assert any(script.output_properties)
    code = code_of(script)
    for name, kind in (one for line in script.output_properties for one in line):
        assert re.search(rf"\b{name}\s*=", code), f"{name} is promised and not emitted"
        assert kind in {"string", "string[]", "int", "long", "bool", "datetime"}


@each()
def test_the_body_begins_as_every_body_does(script: Script) -> None:
    body = script.text[script.text.index("#>") + 2 :]
    assert body.startswith("\n#requires -Version 2.0\n[CmdletBinding(")
    assert re.search(
        r"\n(begin \{\n    )?Set-StrictMode -Version 2\.0\n(    )?\$ErrorActionPreference = 'Stop'\n", body
    )


@each()
def test_what_is_not_read_can_be_asked_what_if(script: Script) -> None:
    head = re.search(r"(?m)^\[CmdletBinding\((.*)\)\]$", script.text)
    assert head is not None
    if script.effect is Effect.READ:
        assert head[1] == ""
        assert "ShouldProcess" not in script.text
        return
    assert head[1] == "SupportsShouldProcess = $true, ConfirmImpact = 'Low'"
    # Receive-Call does nothing of its own; what it runs sees the same $WhatIfPreference.
    assert script.name.startswith("wire/") or "$PSCmdlet.ShouldProcess(" in script.text


@each()
def test_under_whatif_the_object_still_comes(script: Script) -> None:
    last = script.text.rstrip().removesuffix("\n}").splitlines()[-1].strip()  # "}": of an end block
    if script.name == "wire/Receive-RawCall":  # what it answers goes past the pipeline
        return
    assert script.effect is Effect.READ or re.match(r"New-Object PSObject -Property (?:\$answer|@\{)", last)


@each()
@pytest.mark.parametrize("pattern", FORBIDDEN, ids=list(FORBIDDEN.values()))
def test_nothing_forbidden_is_in_it(script: Script, pattern: str) -> None:
    if pattern == ON_HOST_ONLY and script in BEHIND:
        return
    found = re.search(pattern, code_of(script), re.IGNORECASE | re.MULTILINE)
    assert found is None, f"{found[0] if found else ''}: {FORBIDDEN[pattern]}"


@each(ON_HOST)
def test_names_of_the_host_are_not_compared_as_its_language_does(script: Script) -> None:
    """An empty `@{}` would: in Turkish `LME-GWISE` is no `lme-gwise`. (The wire has names of its own.)"""
    assert not re.search(r"=\s*@\{\s*\}", code_of(script))
    for called in re.findall(r"\.(?:Starts|Ends)With\((.*)\)", code_of(script)):
        assert "Ordinal'" in called or "OrdinalIgnoreCase'" in called or called.startswith("'\"'"), called


@each()
def test_programs_are_called_by_their_full_path(script: Script) -> None:
    for called in re.findall(r"&\s+([\"'\w][^\s]*)", code_of(script)):
        assert called.startswith('"$env:SystemRoot\\System32\\'), called


@each()
def test_it_is_short_plain_ascii_with_line_feeds(script: Script) -> None:
    data = script.path.read_bytes()
    assert all(byte in b"\n" or 32 <= byte < 127 for byte in data.replace(b"\r\n", b"\n"))
    assert data.endswith(b"\n")
    assert not data.endswith(b"\n\n")
    assert script.text.count("\n") < 120
    assert not [line for line in script.text.splitlines() if line != line.rstrip()]


@each()
def test_its_name_is_an_approved_verb_and_a_singular_noun(script: Script) -> None:
    verb, _, noun = script.path.stem.partition("-")
    assert verb in APPROVED_VERBS
    assert re.fullmatch(r"[A-Z][A-Za-z]+", noun)
    assert not noun.endswith("s")


def test_the_table_of_the_readme_is_what_the_scripts_say() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| \[([\w/-]+)\]\((.+?)\) \| (\w+) \| (.+) \|$", text)
    assert rows == [
        (script.name, f"{script.name}.ps1", script.effect.value, script.synopsis)
        for script in sorted(SCRIPTS, key=lambda script: script.name)
    ]


def test_blocks_are_made_the_same_way_wherever_they_are_made() -> None:
    makers = [script for script in SCRIPTS if "DeflateStream($memory" in script.text]
    assert {script.name for script in makers} == {
        "Export-RegistryKey", "Get-FileTree", "Read-FilePack", "Remove-WorkFile", "Set-RegistryValue",
        "Move-StagedFile", "Move-FileAside", "Set-Folder", "Get-FileSecurity", "Set-FileSecurity",
        "gateway/Export-RegistryKey", "gateway/Set-RegistryValue", "Read-TapeBlock",
    }  # fmt: skip
    for script in makers:
        # Lines are sent before they are 40,000 characters, which no encoding makes more than a block.
        assert re.search("262144|Length -gt 40000|Send-Text 65536", script.text)
        # What is text, and only a registry export is, may travel as UTF-8.
        kind = "$kind" if script.path.stem == "Export-RegistryKey" else "1"
        assert f"$memory.WriteByte({kind})" in script.text
        assert "0.9 *" in script.text


def test_the_bootstrap_fits_a_command_line() -> None:
    text = LIBRARY.get("wire/Receive-Call").text
    (line,) = [line.strip() for line in text.splitlines() if "@($input)" in line]
    command = "powershell.exe -NoProfile -NonInteractive -OutputFormat XML -EncodedCommand "
    length = len(command) + (len(line) * 2 + 2) // 3 * 4
    assert length < 2000, "cmd of Windows 2000 takes 2047 characters"


@pytest.mark.skipif(not PSENGINE, reason="EXREMOTE_PSENGINE is not set: Microsoft's parser is not at hand")
def test_the_parser_of_powershell_finds_nothing_later_than_2_0() -> None:
    """The engine has a list of .NET 2.0 members of its own; ours says what else is in .NET 2.0."""
    ours = {line.split("#")[0].strip().lower() for line in NET20.read_text().splitlines()} - {""}
    done = subprocess.run(
        [PSENGINE, "linux", "check", *(str(script.path) for script in SCRIPTS)],
        env={**os.environ, "PSENGINE_NET20": str(NET20)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode in (0, 1), done.stderr
    findings = [
        line
        for line in done.stdout.splitlines()
        if not ((member := re.search(r": net20: (\S+) is not in", line)) and member[1].lower() in ours)
    ]
    assert findings == []
    assert done.returncode == 0 or done.stdout, done.stderr
