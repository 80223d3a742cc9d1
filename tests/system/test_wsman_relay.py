"""The endpoint before Microsoft's own engine, in a process of its own.

Needs EXREMOTE_LAB_POWERSHELL: the command line of a PowerShell, without a mode.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shlex
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from pypsrp.exceptions import WSManFaultError
from pypsrp.powershell import PowerShell, RunspacePool
from wsman_support import COMPLETED, FAILED, PASSWORD, USER, connect, protocol, run, run_script

from exremote.lab.wsman.server import Endpoint, Limits, Listening, Site

ENGINE = shlex.split(os.environ.get("EXREMOTE_LAB_POWERSHELL", ""))

pytestmark = [
    pytest.mark.wine,
    pytest.mark.skipif(
        not ENGINE, reason="EXREMOTE_LAB_POWERSHELL names no PowerShell to relay to (see psengine/README.md)"
    ),
]

Opened = tuple[Endpoint, Listening]


@pytest.fixture(scope="module")
def opened() -> Iterator[Opened]:
    with Endpoint(USER, PASSWORD) as endpoint:
        yield endpoint, endpoint.add(Site("REAL", run_script, relay=ENGINE))


@pytest.fixture(scope="module")
def pool(opened: Opened) -> Iterator[RunspacePool]:
    with connect(*opened) as client, RunspacePool(client, max_runspaces=2) as pool:
        yield pool


def children() -> list[str]:
    """Command lines of the engines that this test process has started and that live."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            line = " ".join(process.cmdline()).strip()  # Wine pads it
            if line.endswith("-s"):
                found.append(line)
    return found


def values(thing: Any) -> dict[str, Any]:
    return dict(thing.extended_properties)


def test_values(pool: RunspacePool) -> None:
    """Typed output of the real engine."""
    script = """
        [int]7; [long]5000000000; $true; 'Zoë'
        $o = New-Object PSObject; $o | Add-Member NoteProperty A 1; ,[byte[]](0,255,1)
        $PSVersionTable.PSVersion.Major
    """.replace("$o | Add-Member NoteProperty A 1; ", "")
    assert run(pool, script).output[:5] == [7, 5_000_000_000, True, "Zoë", b"\x00\xff\x01"]


def test_parameters_and_input(pool: RunspacePool) -> None:
    """Named parameters and pipeline input reach a real script."""
    shell = run(
        pool,
        'param($Name, $Count) begin { $n = 0 } process { $n += $_.Length } end { "$Name $Count $n" }',
        (piece for piece in [b"x" * 100_000, b"y" * 200_000]),
        Name="Zoë 𝄞",
        Count=3,
    )
    assert shell.output == ["Zoë 𝄞 3 300000"]


def test_errors(pool: RunspacePool) -> None:
    """Error ids of Write-Error and throw."""
    shell = run(pool, "Write-Error -Message 'went wrong' -ErrorId 'Lab.X'; 'after'")
    assert (shell.state, shell.output) == (COMPLETED, ["after"])
    assert shell.streams.error[0].fq_error.split(",")[0] == "Lab.X"
    shell = run(pool, "throw 'no further'")
    assert shell.state == FAILED
    assert "no further" in str(shell.streams.error[-1])


def test_bulk(pool: RunspacePool) -> None:
    """Twelve megabytes of byte arrays, whole and in order."""
    script = "for ($i = 0; $i -lt 48; $i++) { $b = New-Object byte[] 262144; $b[0] = $i; ,$b }"
    got = run(pool, script).output
    assert [(piece[0], len(piece)) for piece in got] == [(i, 262144) for i in range(48)]


def test_back_pressure_does_not_hold_up_others(pool: RunspacePool) -> None:
    """A pipeline whose client does not read leaves room for another one, and can be stopped."""
    flood = PowerShell(pool).add_script("while ($true) { ,(New-Object byte[] 262144) }")
    flood.begin_invoke()
    time.sleep(0.5)
    assert run(pool, "1 + 1").output == [2]
    begun = time.monotonic()
    flood.stop()
    assert time.monotonic() - begun < 5


def test_stop(pool: RunspacePool) -> None:
    """A sleeping pipeline stops at once, and the pool lives on."""
    shell = PowerShell(pool).add_script("Start-Sleep -Seconds 60")
    shell.begin_invoke()
    time.sleep(0.3)
    begun = time.monotonic()
    shell.stop()
    assert time.monotonic() - begun < 2
    assert run(pool, "'here'").output == ["here"]


def test_terminate(pool: RunspacePool) -> None:
    """Closed pipelines are forgotten on both sides."""
    shell = run(pool, "1")
    shell.close()
    assert run(pool, "2").output == [2]


def test_processes_end_with_their_shells(opened: Opened) -> None:
    """Delete ends the process; so does a shell that is dropped."""
    before = len(children())
    with connect(*opened) as client:
        with RunspacePool(client) as pool:
            assert run(pool, "1").output == [1]
            assert len(children()) > before
        lost = RunspacePool(client)
        lost.open()
        opened[0].drop_shell("REAL", lost.shell.id)
        with pytest.raises(WSManFaultError) as caught:
            run(lost, "1")
        assert caught.value.code == 2150858843
    assert len(children()) == before


def test_a_process_that_dies_is_an_unknown_shell(opened: Opened) -> None:
    """Half an answer never looks like a whole one."""
    with connect(*opened) as client:
        pool = RunspacePool(client)
        pool.open()
        shell = PowerShell(pool).add_script("'before'; [Environment]::Exit(3)")
        shell.begin_invoke()
        with pytest.raises(WSManFaultError) as caught:
            shell.end_invoke()
        assert caught.value.code == 2150858843
        opened[0].drop_shell("REAL", pool.shell.id)


def test_a_spare_process_waits(opened: Opened) -> None:
    """Sessions open with the process that was started ahead."""
    with Endpoint(USER, PASSWORD) as endpoint:
        where = endpoint.add(Site("SPARE", relay=ENGINE, spare_relay=True, limits=Limits()))
        time.sleep(1.0)
        with connect(endpoint, where) as client, RunspacePool(client) as pool:
            assert run(pool, "1").output == [1]


def test_winrs_runs_powershell(opened: Opened) -> None:
    """`powershell.exe -EncodedCommand` over pywinrm becomes a process of the engine."""
    client = protocol(opened[1])
    shell = client.open_shell()
    encoded = base64.b64encode("'out ' + @($input).Count; exit 3".encode("utf-16-le")).decode()
    running = client.run_command(
        shell, "powershell.exe", ["-NoProfile", "-NonInteractive", "-EncodedCommand", encoded]
    )
    client.send_command_input(shell, running, b"a\r\nb\r\n", end=True)
    out, _, code = client.get_command_output(shell, running)
    assert (out.strip(), code) == (b"out 2", 3)
    running = client.run_command(shell, "/bin/ls")
    assert client.get_command_output(shell, running)[2] == 1
    client.close_shell(shell)
