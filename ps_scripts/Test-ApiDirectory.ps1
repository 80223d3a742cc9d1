<#
.SYNOPSIS
    Lists the queues of a GroupWise API gateway and, when asked to, proves that its root can be written and read.
.DESCRIPTION
    The queues are only listed. The probe is one small file in the root, never in a queue: a name of the 8.3 form that
    no gateway fetches, text that is no message; written, read back, compared, and removed in every outcome.
    It proves the rights of Account, which are not those of the connector's own service.
.PARAMETER Path
    The gateway's directory, a full or UNC path.
.PARAMETER Probe
    Write the probe file, and remove those that earlier probes left behind.
.EXAMPLE
    .\Test-ApiDirectory.ps1 -Path '\\NW01\SYS\GWDOM\WPGATE\API' -Probe -WhatIf
.OUTPUTS
    PSObject: Queue [string], Exists [bool], Files [long], Bytes [long], ZeroByte [long], OldestUtc [datetime]
    PSObject: Path [string], Exists [bool], Account [string], Probed [bool], Written [bool], ReadBack [bool], Removed [bool], ProbeError [string], Leftovers [string[]]
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
    $answer = @{ Queue = $queue; Exists = $folder.Exists; Files = [long]0; Bytes = [long]0; ZeroByte = [long]0; OldestUtc = $null }
    try {
        foreach ($file in @(if ($folder.Exists) { $folder.GetFiles() })) {
            $answer.Files++
            $answer.Bytes += $file.Length
            if ($file.Length -eq 0) { $answer.ZeroByte++ }
            if ($null -eq $answer.OldestUtc -or $file.LastWriteTimeUtc -lt $answer.OldestUtc) { $answer.OldestUtc = $file.LastWriteTimeUtc }
        }
        New-Object PSObject -Property $answer
    } catch {
        $why = $_.Exception.GetBaseException().Message
        Write-Error -ErrorId 'ExRemote.AccessDenied' -Category PermissionDenied -ErrorAction Continue -Message "$($queue): $why"
    }
}

$answer = @{
    Path = $Path; Exists = [IO.Directory]::Exists($Path); Account = [string][Security.Principal.WindowsIdentity]::GetCurrent().Name
    Probed = $false; Written = $false; ReadBack = $false; Removed = $false; ProbeError = ''; Leftovers = [string[]]@()
}
try {
    $old = @(if ($answer.Exists) { ([IO.DirectoryInfo]$Path).GetFiles() | Where-Object { $_.Name -match '^EXPR\d{4}\.TMP$' -and $_.Length -lt 1024 } })
    $old = @($old | Where-Object { [IO.File]::ReadAllText($_.FullName).StartsWith($mark) })
    $answer.Leftovers = [string[]]@($old | ForEach-Object { $_.Name })
    if ($answer.Exists -and $Probe -and $PSCmdlet.ShouldProcess($Path, 'Write, read back and remove a probe file')) {
        $answer.Probed = $true
        $old | Where-Object { $_ } | ForEach-Object { $_.Delete() }
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
