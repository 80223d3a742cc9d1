<#
.SYNOPSIS
    Lists the queues of a GroupWise API gateway and, when asked to, proves that its root can be written and read.
.DESCRIPTION
    The queues are only listed; a file that is fetched meanwhile does not count. The probe is one small file in the root, never in a queue: a name of the 8.3 form that
    no gateway fetches, text that is no message; written, read back, compared, and removed in every outcome.
    It proves the rights of Account, which are not those of the connector's own service.
.PARAMETER Path
    The gateway's directory, a full or UNC path.
.PARAMETER Probe
    Write the probe file, and remove those that earlier probes left behind.
.EXAMPLE
    .\Test-ApiDirectory.ps1 -Path '\\NW01\SYS\GWDOM\WPGATE\API' -Probe -WhatIf
.OUTPUTS
    PSObject: Queue [string], Exists [bool], Files [long], Bytes [long], ZeroByte [long], OldestUtc [datetime], OldestEmptyUtc [datetime]
    PSObject: Path [string], Exists [bool], Account [string], Probed [bool], Written [bool], ReadBack [bool], Removed [bool], ProbeError [string], Leftovers [string[]], Cleared [string[]], LeftoverError [string]
.NOTES
    Effect: Converge
    Rights: file scan in the directory and its queues; create, write, read and erase in the directory for -Probe
    Errors: ExRemote.BadArgument, ExRemote.AccessDenied
#>
#requires -Version 2.0
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Low')]
param(
    [Parameter(Mandatory = $true)]
    [ValidateNotNullOrEmpty()]
    [string]$Path,

    [switch]$Probe
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
if ($Path -notmatch '^[A-Za-z]:\\|^\\\\') {
    Write-Error -ErrorId 'ExRemote.BadArgument' -Category InvalidArgument -Message "'$Path' is not a full path."
}
$mark = 'exremote probe'

foreach ($queue in @('API_IN', 'API_OUT', 'ATT_IN', 'ATT_OUT', 'GWHOLD', 'GWPROB')) {
    $folder = [IO.DirectoryInfo][IO.Path]::Combine($Path, $queue)
    $answer = @{ Queue = $queue; Exists = $folder.Exists; Files = [long]0; Bytes = [long]0; ZeroByte = [long]0; OldestUtc = $null; OldestEmptyUtc = $null }
    try {
        foreach ($file in @(if ($folder.Exists) { $folder.GetFiles() })) {
            if (-not $file.Exists) { continue }    # fetched between the listing, which .NET 2.0 keeps no sizes of, and this look
            $when = $file.LastWriteTimeUtc
            $answer.Files++
            $answer.Bytes += $file.Length
            if ($null -eq $answer.OldestUtc -or $when -lt $answer.OldestUtc) { $answer.OldestUtc = $when }
            if ($file.Length -gt 0) { continue }
            $answer.ZeroByte++
            if ($null -eq $answer.OldestEmptyUtc -or $when -lt $answer.OldestEmptyUtc) { $answer.OldestEmptyUtc = $when }
        }
        New-Object PSObject -Property $answer
    } catch {
        $why = $_.Exception.GetBaseException().Message
        Write-Error -ErrorId 'ExRemote.AccessDenied' -Category PermissionDenied -ErrorAction Continue -Message "$($queue): $why"
    }
}

$answer = @{
    Path = $Path; Exists = [IO.Directory]::Exists($Path); Account = [string][Security.Principal.WindowsIdentity]::GetCurrent().Name
    Probed = $false; Written = $false; ReadBack = $false; Removed = $false; ProbeError = ''; Leftovers = [string[]]@(); Cleared = [string[]]@(); LeftoverError = ''
}
$answer.Probed = $answer.Exists -and $Probe -and $PSCmdlet.ShouldProcess($Path, 'Write, read back and remove a probe file')
$old, $left, $gone = @(), (New-Object Collections.ArrayList), (New-Object Collections.ArrayList)
try { $old = @(if ($answer.Exists) { ([IO.DirectoryInfo]$Path).GetFiles() | Where-Object { $_.Name -match '^EXPR\d{4}\.TMP$' } }) }
catch { $answer.LeftoverError = $_.Exception.GetBaseException().Message }
foreach ($file in @($old)) {
    try {
        if (-not $file.Exists -or $file.Length -ge 1024 -or -not [IO.File]::ReadAllText($file.FullName).StartsWith($mark, 'Ordinal')) { continue }
        [void]$left.Add($file.Name)
        if ($answer.Probed) { $file.Delete(); if (-not [IO.File]::Exists($file.FullName)) { [void]$gone.Add($file.Name) } }
    } catch { $answer.LeftoverError = "$($file.Name): " + $_.Exception.GetBaseException().Message }
}
$answer.Leftovers = [string[]]$left.ToArray()
$answer.Cleared = [string[]]$gone.ToArray()
try {
    if ($answer.Probed) {
        $text = "$mark, may be removed " + [Guid]::NewGuid().ToString()
        $bytes = [Text.Encoding]::ASCII.GetBytes($text)
        $file = [IO.Path]::Combine($Path, 'EXPR{0:0000}.TMP' -f ([DateTime]::UtcNow.Ticks % 10000))
        $stream = [IO.File]::Open($file, 'CreateNew', 'Write', 'Read')
        try {
            try { $stream.Write($bytes, 0, $bytes.Length) } finally { $stream.Close() }
            $answer.Written = $true
            $answer.ReadBack = [IO.File]::ReadAllText($file) -ceq $text
        } finally {
            [IO.File]::Delete($file)
            $answer.Removed = -not [IO.File]::Exists($file)
        }
    }
} catch { $answer.ProbeError = $_.Exception.GetBaseException().Message }
New-Object PSObject -Property $answer
