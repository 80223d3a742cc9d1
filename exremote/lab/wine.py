"""Furnishes a Wine prefix as one of the lab's machines, keeps it alive, and takes it away.

The prefix is a hard-linked copy of one that is made once; its services are winlab's `labsvc.exe` under other
names. It never touches a prefix that it did not make, and knows psengine by its command line only.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import platformdirs

from exremote.lab.files import Node
from exremote.lab.machine import ENVIRONMENT, SERVICES, Machine, ticks
from exremote.lab.ntbackup import program_of
from exremote.lab.registry import Kind

WINLAB_VARIABLE = "EXREMOTE_LAB_WINLAB"
KEYS = (
    r"HKLM\SOFTWARE\Microsoft\Exchange",
    r"HKLM\SOFTWARE\Lotus",
    rf"{SERVICES}\LanmanServer\Shares",
    rf"{SERVICES}\MSExchangePCMTA",
    rf"{SERVICES}\Eventlog\Application",
)
"""What of a machine's registry Wine shall have, besides its services."""
BUILT_IN = frozenset({"eventlog", "rpcss"})
"""Services that Wine has by itself."""
_UNIX_EPOCH_TICKS = 621_355_968_000_000_000
_READY = ".exremote-ready"
_START_S = 180.0

_KEEPER = """
$ErrorActionPreference = 'Stop'
Add-Type -AssemblyName System.ServiceProcess
# Wine takes the name and the domain of the machine that it runs on, anew at each start.
$active = 'HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\ComputerName\\ActiveComputerName'
[Microsoft.Win32.Registry]::SetValue($active, 'ComputerName', NAMED)
$network = 'HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\Tcpip\\Parameters'
[Microsoft.Win32.Registry]::SetValue($network, 'Domain', WHERE)
foreach ($name in @(STOPPED)) {
    $service = New-Object ServiceProcess.ServiceController $name
    if ([string]$service.Status -ne 'Stopped') {
        $service.Stop()
        $service.WaitForStatus('Stopped', [TimeSpan]::FromSeconds(20))
    }
}
foreach ($name in @(RUNNING)) {
    $service = New-Object ServiceProcess.ServiceController $name
    if ([string]$service.Status -eq 'Stopped') { $service.Start() }
}
foreach ($name in @(RUNNING)) {
    $service = New-Object ServiceProcess.ServiceController $name
    $service.WaitForStatus('Running', [TimeSpan]::FromSeconds(20))
}
$held = New-Object Collections.ArrayList
foreach ($path in @(LOCKED)) { [void]$held.Add([IO.File]::Open($path, 'Open', 'ReadWrite', 'None')) }
foreach ($path in @(PINNED)) { [void]$held.Add([IO.File]::Open($path, 'Open', 'Read', 'Read')) }
$watched = @(foreach ($line in @(HELD)) {
    $path, $names = $line.Split('|')
    $services = @($names | ForEach-Object { New-Object ServiceProcess.ServiceController $_ })
    @{ Path = $path; Services = $services; Stream = $null }
})
$ready = $false
while ($true) {
    foreach ($one in $watched) {
        $one.Services | ForEach-Object { $_.Refresh() }
        $busy = @($one.Services | Where-Object { [string]$_.Status -ne 'Stopped' }).Length -gt 0
        try {
            if ($busy -and $null -eq $one.Stream) {
                $one.Stream = [IO.File]::Open($one.Path, 'Open', 'ReadWrite', 'None')
            } elseif (-not $busy -and $null -ne $one.Stream) {
                $one.Stream.Close()
                $one.Stream = $null
            }
        } catch { Start-Sleep -Milliseconds 50 }    # somebody reads it just now
    }
    if (-not $ready) { Write-Output 'ready'; $ready = $true }
    if (-not STAYS) { exit }
    if ($watched.Length -eq 0) { Start-Sleep -Seconds 864000 }
    Start-Sleep -Milliseconds 100
}
"""


class WineTrouble(RuntimeError):
    """Wine did not do what the lab needs."""


def _quoted(texts: Sequence[str]) -> str:
    return ", ".join("'" + text.replace("'", "''") + "'" for text in texts) or ""


def winlab(engine: Sequence[str]) -> Path:
    """Return the folder that holds labsvc.exe. Raise WineTrouble."""
    named = os.environ.get(WINLAB_VARIABLE)
    folder = Path(named) if named else Path(engine[0]).resolve().parent.parent / "winlab"
    if not (folder / "labsvc.exe").is_file():
        raise WineTrouble(f"there is no labsvc.exe in {folder}; say where it is in {WINLAB_VARIABLE}")
    return folder


def run(command: Sequence[str], prefix: Path, timeout_s: float = 120.0) -> bytes:
    """Run one command of the engine for a prefix. Return what it said. Raise WineTrouble."""
    # Into a file: what Wine leaves running would hold a pipe open.
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(  # noqa: S603 - the command line comes from whoever starts the lab
                command,
                env={**os.environ, "WINEPREFIX": str(prefix)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=timeout_s,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise WineTrouble(f"{' '.join(command[:3])}: {error}") from error
        if done.returncode:
            output.seek(0)
            said = output.read().decode("cp1252", "replace")[-500:]
            raise WineTrouble(f"{' '.join(command[:4])} ended with {done.returncode}: {said}")
        output.seek(0)
        return output.read()


def _bury(keepers: Sequence[subprocess.Popen[bytes]]) -> None:
    """End processes whose machine is off."""
    for keeper in keepers:
        with contextlib.suppress(ProcessLookupError):
            keeper.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            keeper.wait(10)
        if keeper.stdout is not None:
            keeper.stdout.close()


class Prefix:
    """One machine of the lab as a Windows of its own under Wine."""

    def __init__(self, machine: Machine, engine: Sequence[str]) -> None:
        """`engine`: as in EXREMOTE_LAB_POWERSHELL, `<psengine> wine`."""
        self.machine = machine
        self.engine = list(engine)
        self.folder = self._home() / f"{os.getpid()}-{machine.name}-{os.urandom(3).hex()}"
        self.drive_c = self.folder / "drive_c"
        self._keepers: list[subprocess.Popen[bytes]] = []
        self._closed = False
        self._lock = threading.Lock()

    @staticmethod
    def _home() -> Path:
        return Path(platformdirs.user_cache_dir("exremote-lab")) / "wine"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to be on this machine."""
        return {"WINEPREFIX": str(self.folder)}

    @classmethod
    def template(cls, engine: Sequence[str]) -> Path:
        """Return a ready, stopped prefix to copy, made at first use. Sweep up what ended processes left.

        Raise WineTrouble.
        """
        import fcntl  # not on Windows, where the rest of the lab runs without Wine

        home = cls._home()
        home.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(str(Path(engine[0]).resolve()).encode()).hexdigest()[:12]
        ready = home / f"template-{name}"
        with (home / f"lock-{name}").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (ready / _READY).exists():
                shutil.rmtree(ready, ignore_errors=True)
                run([engine[0], "prefix"], ready, 300.0)
                run([engine[0], "wine-stop"], ready)
                (ready / _READY).touch()
            for left in home.iterdir():
                owner = left.name.partition("-")[0]
                if owner.isdigit() and left.is_dir() and not Path(f"/proc/{owner}").exists():
                    with contextlib.suppress(WineTrouble):
                        run([engine[0], "wine-stop"], left)
                    shutil.rmtree(left, ignore_errors=True)
        return ready

    def furnish(self) -> None:
        """Make the prefix, put the machine into it, start its services. Raise WineTrouble."""
        ready = self.template(self.engine)
        subprocess.run(["/bin/cp", "-al", str(ready), str(self.folder)], check=True)  # noqa: S603
        for file in self.folder.glob("*.reg"):
            # The registry is written in place; everything else may stay shared.
            file.unlink()
            shutil.copy2(ready / file.name, file)
        self._put_files()
        self.import_registry()
        # The service manager reads what is registered when it starts.
        self.stop()
        self.start()

    def import_registry(self) -> None:
        """Bring over what of the machine's registry Wine shall have. Raise WineTrouble."""
        text = self.folder / "drive_c" / "lab.reg"
        text.write_bytes(self._registry())
        run([self.engine[0], "wine-run", "reg.exe", "import", r"C:\lab.reg"], self.folder)
        text.unlink()

    def stop(self) -> None:
        """End all that runs in the prefix, as a machine that is switched off does. Raise WineTrouble."""
        run([self.engine[0], "wine-stop"], self.folder)
        with self._lock:
            keepers, self._keepers = self._keepers, []
        _bury(keepers)

    def start(self) -> None:
        """Start the machine; its services are as it has them, and its files are held. Raise WineTrouble."""
        services = [one for one in self.machine.services.values() if one.name.lower() not in BUILT_IN]
        self.keep(
            running=[one.name for one in services if self.machine.service_state(one.name) == "Running"],
            stopped=[one.name for one in services if self.machine.service_state(one.name) == "Stopped"],
            locked=[
                path for path, node in self._all_files() if node.locked and path not in self.machine.holds
            ],
            held=["|".join((path, *names)) for path, names in self.machine.holds.items()],
        )

    def keep(
        self,
        *,
        running: Sequence[str] = (),
        stopped: Sequence[str] = (),
        locked: Sequence[str] = (),
        pinned: Sequence[str] = (),
        held: Sequence[str] = (),
        stays: bool = True,
    ) -> None:
        """Start a process that brings services to a state, locks files, and stays. Raise WineTrouble.

        `held`: a path and names of services between `|`: it is locked as long as one of them is not stopped.
        """
        script = (
            _KEEPER.replace("NAMED", _quoted([self.machine.name]))
            .replace(
                "WHERE", _quoted([self.machine.registry.text(rf"{SERVICES}\Tcpip\Parameters", "Domain")])
            )
            .replace("STOPPED", _quoted(stopped))
            .replace("RUNNING", _quoted(running))
            .replace("LOCKED", _quoted(locked))
            .replace("PINNED", _quoted(pinned))
            .replace("HELD", _quoted(held))
            .replace("STAYS", "$true" if stays else "$false")
        )
        encoded = base64.b64encode(script.encode("utf-16-le")).decode()
        keeper = subprocess.Popen(  # noqa: S603 - as above
            [*self.engine, "-NoProfile", "-NonInteractive", "-EncodedCommand", encoded],
            env={**os.environ, **self.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        with self._lock:
            self._keepers.append(keeper)
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        keeper.stdin.close()
        late = threading.Timer(_START_S, keeper.kill)
        late.start()
        try:
            line = keeper.stdout.readline()
        finally:
            late.cancel()
        if b"ready" not in line:
            raise WineTrouble(f"{self.machine.name}: services or locks could not be had ({line!r})")

    # --- files ---

    def path(self, remote: str) -> Path:
        r"""Return where `C:\...` or `\\server\share\...` is on this system, names matched without case."""
        remote = remote.replace("/", "\\")
        if remote.startswith("\\\\"):
            place, names = self.folder / "unc", remote[2:].split("\\")
        elif remote[:2].lower() == "c:":
            place, names = self.drive_c, remote[2:].split("\\")
        else:
            place, names = self.folder / f"drive_{remote[0].lower()}", remote[2:].split("\\")
        for name in names:
            if name:
                there = place / name
                if not there.exists() and place.is_dir():
                    there = next((one for one in place.iterdir() if one.name.lower() == name.lower()), there)
                place = there
        return place

    def _all_files(self) -> list[tuple[str, Node]]:
        found = []
        for root in self.machine.files.roots.values():
            for relative, node in self.machine.files.walk(root.name + "\\"):
                found.append((f"{root.name.rstrip(chr(92))}\\{relative}", node))
        return found

    def _put_files(self) -> None:
        labsvc = self.service_program()
        program = self.drive_c / "windows" / "system32" / "ntbackup.exe"
        if program_of(self.machine) and (standin := winlab(self.engine) / "ntbackup.exe").is_file():
            program.write_bytes(standin.read_bytes())
        images = {self._image(name).lower() for name in self.machine.services}
        dosdevices = self.folder / "dosdevices"
        for root in self.machine.files.roots.values():
            if root.name.startswith("\\\\"):
                server, share = root.name[2:].split("\\")
                target = self.folder / "unc" / server / share
                target.mkdir(parents=True, exist_ok=True)
                (dosdevices / "unc").mkdir(exist_ok=True)
                for spelling in {server, server.lower()}:
                    (dosdevices / "unc" / spelling).mkdir(exist_ok=True)
                    for each in {share, share.lower()}:
                        link = dosdevices / "unc" / spelling / each
                        if not link.is_symlink():
                            link.symlink_to(target)
            elif root.name[:2].lower() != "c:":
                target = self.folder / f"drive_{root.name[0].lower()}"
                target.mkdir(exist_ok=True)
                link = dosdevices / f"{root.name[0].lower()}:"
                if not link.is_symlink():
                    link.symlink_to(target)
        for share, place in (("ADMIN$", self.drive_c / "windows"), ("C$", self.drive_c), ("D$", "drive_d")):
            # Wine has no administrative shares; whoever is its gateway goes by this machine's name.
            for name in {self.machine.name, self.machine.name.lower()}:
                (dosdevices / "unc" / name).mkdir(parents=True, exist_ok=True)
                (dosdevices / "unc" / name / share).symlink_to(self.folder / place)
        system_root = self.machine.os.system_root.lower() + "\\"
        times: list[tuple[Path, int]] = []
        for remote, node in self._all_files():
            if remote.lower().startswith(system_root) and not node.is_directory:
                continue  # Wine has its own
            place = self.path(remote)
            if node.content is None:
                place.mkdir(parents=True, exist_ok=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                with place.open("wb") as file:
                    for chunk in [labsvc] if remote.lower() in images else node.content.chunks():
                        file.write(chunk)
            times.append((place, node.modified))
        for place, modified in reversed(times):
            self._set_time(place, modified)

    @staticmethod
    def _set_time(place: Path, modified: int) -> None:
        nanoseconds = (modified - _UNIX_EPOCH_TICKS) * 100
        os.utime(place, ns=(nanoseconds, nanoseconds))

    def _image(self, service: str) -> str:
        image = self.machine.expand(self.machine.registry.text(rf"{SERVICES}\{service}", "ImagePath"))
        return image.split('"')[1] if image.startswith('"') else image.split(" ")[0]

    def service_program(self) -> bytes:
        """Return the program that plays every service. Raise WineTrouble."""
        return (winlab(self.engine) / "labsvc.exe").read_bytes()

    def _registry(self) -> bytes:
        """Return what of the machine's registry Wine shall have, as a .reg file."""
        registry = self.machine.registry
        keys = [key for key in KEYS if registry.find(key) is not None]
        keys += [
            rf"{SERVICES}\{one.name}"
            for one in self.machine.services.values()
            if one.name.lower() not in BUILT_IN
        ]
        registry_path = registry.text(ENVIRONMENT, "Path")
        paths = f"{registry_path};%SystemRoot%\\system32\\wbem" if registry_path else ""
        lines = registry.export_many(keys)
        if paths:
            blob = ",".join(f"{byte:02x}" for byte in (paths + "\0").encode("utf-16-le"))
            key = ENVIRONMENT.replace("HKLM", "HKEY_LOCAL_MACHINE", 1)
            lines += f'[{key}]\r\n"PATH"=hex({int(Kind.ExpandString):x}):{blob}\r\n\r\n'.encode("utf-16-le")
        return lines

    # --- changes while it runs ---

    def write_file(self, remote: str, modified: int | None = None) -> None:
        """Bring one file over as the machine has it now."""
        node = self.machine.files.find(remote)
        place = self.path(remote)
        place.parent.mkdir(parents=True, exist_ok=True)
        if node.content is None:
            place.mkdir(exist_ok=True)
        else:
            # A new file, never the old one's bytes: that one may be shared with the template.
            part = place.with_name(place.name + ".lab-part")
            with part.open("wb") as file:
                for chunk in node.content.chunks():
                    file.write(chunk)
            part.replace(place)
        self._set_time(place, modified or node.modified)

    def write_program(self, remote: str) -> None:
        """Put a service's program there. Raise WineTrouble."""
        place = self.path(remote)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(self.service_program())

    def register_service(self, name: str) -> None:
        """Have the service manager, which runs, know one more service of the machine. Raise WineTrouble."""
        key = rf"{SERVICES}\{name}"
        registry = self.machine.registry
        image, title = registry.text(key, "ImagePath"), registry.text(key, "DisplayName")
        start = {2: "auto", 4: "disabled"}.get(registry.number(key, "Start"), "demand")
        words = ["create", name, "binPath=", image, "start=", start, "DisplayName=", title]
        run([self.engine[0], "wine-run", "sc.exe", *words], self.folder)
        # A value that Wine writes there, and Windows does not unless it is asked to.
        self.set_registry(key, without="PreshutdownTimeout")

    def remove_file(self, remote: str) -> None:
        """Remove a file or folder."""
        place = self.path(remote)
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)

    def lock_file(self, remote: str, shared: bool = False) -> None:
        """Have a process hold a file open without sharing, or shared with readers. Raise WineTrouble."""
        self.keep(locked=() if shared else [remote], pinned=[remote] if shared else ())

    def set_service(self, name: str, state: str) -> None:
        """Bring a service to Running or Stopped. Raise WineTrouble."""
        self.keep(running=[name] if state == "Running" else (), stopped=[name] if state == "Stopped" else ())

    def set_registry(self, key: str, without: str = "") -> None:
        """Bring one key over as the machine has it now, and take one value away. Raise WineTrouble."""
        text = self.drive_c / f"lab-{ticks(self.machine.now())}.reg"
        lines = self.machine.registry.export_many([key])
        if without:
            place = key.replace("HKLM", "HKEY_LOCAL_MACHINE", 1)
            lines += f'[{place}]\r\n"{without}"=-\r\n\r\n'.encode("utf-16-le")
        text.write_bytes(lines)
        run([self.engine[0], "wine-run", "reg.exe", "import", "C:\\" + text.name], self.folder)
        text.unlink()

    def close(self) -> None:
        """End all that runs in the prefix, and remove it."""
        if self._closed:
            return
        self._closed = True
        if self.folder.exists():
            with contextlib.suppress(WineTrouble):
                run([self.engine[0], "wine-stop"], self.folder, 30.0)
        _bury(self._keepers)
        shutil.rmtree(self.folder, ignore_errors=True)
        Path(f"{self.folder}.lock").unlink(missing_ok=True)


def furnished(
    machine: Machine, engine: Sequence[str], note: Callable[[Prefix], None] = lambda prefix: None
) -> Prefix:
    """Return a machine as a Windows of its own. `note`: is told of each that is tried. Raise WineTrouble."""
    for attempt in (1, 2):
        prefix = Prefix(machine, engine)
        note(prefix)
        try:
            prefix.furnish()
            break
        except WineTrouble:
            # Wine's own start fails now and then on a busy machine, and a new prefix helps.
            prefix.close()
            if attempt == 2:
                raise
    return prefix
