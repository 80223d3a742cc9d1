"""The library of bundled scripts: what is read from a script, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from exremote.errors import ScriptLibraryError
from exremote.script import Effect, Parameter, ScriptLibrary

GOOD = r"""<#
.SYNOPSIS
    Brings one service to the wanted state.
.DESCRIPTION
    Two lines
    of text.
.PARAMETER Name
    Short name.
.EXAMPLE
    .\Set-Thing.ps1 -Name 'x'
.OUTPUTS
    byte[] blocks, then
    PSObject: Name [string], Changed [bool], DependsOn [string[]], When [datetime]
    PSObject: Other [long]
.NOTES
    Effect: Converge
    Rights: local administrator,
        and patience
    Errors: ExRemote.ServiceMissing, ExRemote.ServiceStuck
#>
#requires -Version 2.0
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Low')]
param(
    # A comment with a bracket ) and a comma, in it.
    [Parameter(Mandatory = $true, HelpMessage = 'a, b) and "c"')]
    [ValidateNotNullOrEmpty()]
    [string]$Name,

    [Parameter(Mandatory = $false)] [ValidateSet('Running', 'It''s', "x")]
    [string[]]$State = @('a', 'b'),
    [ValidateRange(1, 3600)] [int]$Seconds = (2 * (60 + 60)), <# why, oh ) #>
    [Int64]$Offset = 0,
    [switch]$Force,
    [Security.SecureString]$Password,
    $Anything = @{ Key = 'v,)' }
)
Set-StrictMode -Version 2.0
function Get-Inner { param([string]$NotOurs) }
"""


def library(folder: Path, text: str = GOOD, name: str = "Set-Thing.ps1") -> ScriptLibrary:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return ScriptLibrary.load(folder)


def test_the_help_and_the_param_block_are_read(tmp_path: Path) -> None:
    script = library(tmp_path).get("Set-Thing")
    assert script.effect is Effect.CONVERGE
    assert script.synopsis == "Brings one service to the wanted state."
    assert script.description == "Two lines of text."
    assert script.rights == "local administrator, and patience"
    assert script.errors == ("ExRemote.ServiceMissing", "ExRemote.ServiceStuck")
    assert script.outputs[0] == "byte[] blocks, then"
    assert script.output_properties == (
        (),
        (("Name", "string"), ("Changed", "bool"), ("DependsOn", "string[]"), ("When", "datetime")),
        (("Other", "long"),),
    )
    assert script.path == tmp_path / "Set-Thing.ps1"


def test_parameters_come_with_type_and_duty_whatever_stands_between(tmp_path: Path) -> None:
    script = library(tmp_path).get("Set-Thing")
    assert script.parameters == (
        Parameter("Name", "string", True, ()),
        Parameter("State", "string[]", False, ("Running", "It's")),
        Parameter("Seconds", "int", False, ()),
        Parameter("Offset", "long", False, ()),
        Parameter("Force", "switch", False, ()),
        Parameter("Password", "securestring", False, ()),
        Parameter("Anything", "object", False, ()),
    )
    assert script.parameter("name") is script.parameters[0]
    assert script.parameter("NotOurs") is None


def test_line_endings_do_not_change_who_a_script_is(tmp_path: Path) -> None:
    unix = library(tmp_path / "a").get("Set-Thing")
    dos = library(tmp_path / "b", GOOD.replace("\n", "\r\n")).get("Set-Thing")
    assert unix.digest == dos.digest == hashlib.sha256(GOOD.encode()).hexdigest()
    assert dos.text == GOOD


def test_a_script_is_found_by_name_below_a_folder_and_by_digest(tmp_path: Path) -> None:
    found = library(tmp_path, name="wire/Set-Thing.ps1")
    script = found.get("wire/Set-Thing")
    assert found.by_digest(script.digest) is script
    assert found.by_digest("0" * 64) is None
    assert list(found) == [script]
    assert len(found) == 1
    with pytest.raises(ScriptLibraryError, match="no script 'Set-Thing'"):
        found.get("Set-Thing")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (".SYNOPSIS\n    Brings one service to the wanted state.\n", "", ".SYNOPSIS"),
        (".OUTPUTS", ".OUTPUT", ".OUTPUTS"),
        ("Effect: Converge", "Effect: Sometimes", "'Effect: Sometimes' is not one of Read, Converge, Once"),
        ("    Effect: Converge\n", "", "'Effect: '"),
        ("<#\n.SYN", "\n<#\n.SYN", "does not begin with a help comment"),
        ("#>\n#requires", "#requires", "has no param block"),
        ("param(\n    #", "params(\n    #", "no param block"),
        ("    $Anything = @{ Key = 'v,)' }\n)", "", "a bracket is not closed"),
        ("$Force", "Force", "a parameter cannot be read: .switch.Force"),
        ("Short name.", "K\u00fcrzel.", "outside ASCII"),
    ],
)
def test_what_does_not_keep_the_contract_is_refused_by_file(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert GOOD.count(old) == 1
    with pytest.raises(ScriptLibraryError, match=said) as caught:
        library(tmp_path, GOOD.replace(old, new))
    assert caught.value.file == str(tmp_path / "Set-Thing.ps1")
    assert str(caught.value).startswith(str(tmp_path / "Set-Thing.ps1"))


def test_an_empty_or_absent_folder_is_no_library(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ScriptLibraryError, match="holds no script"):
            ScriptLibrary.load(folder)


def test_the_bundled_library_loads_and_knows_its_effects() -> None:
    bundled = ScriptLibrary.load()
    assert bundled.get("Get-FileTree").effect is Effect.READ
    assert bundled.get("Test-ApiDirectory").effect is Effect.CONVERGE
    assert [one.name for one in bundled.get("Read-FilePack").parameters] == [
        "Path", "Files", "StartIndex", "StartOffset",
    ]  # fmt: skip
    assert bundled.get("Connect-Share").parameters[-1] == Parameter("Password", "securestring", True, ())
    assert len({script.digest for script in bundled}) == len(bundled)
