<#
.SYNOPSIS
    Moves named files below a folder aside, one by one.
.DESCRIPTION
    Each keeps its relative path; folders are made, and left where they become empty. UTF-8 lines of state TAB error id TAB
    reason, one a file, in blocks of at most 256 KiB, a first byte 0 before plain bytes, 1 before deflated ones. States:
    moved (now or before), gone (neither there nor aside), kept (under -WhatIf), failed. Nothing moves over a link.
.PARAMETER Path
    The folder, a full path.
.PARAMETER Aside
    Where they go, a full path on the same volume.
.PARAMETER Files
    Base64 of the raw deflate of UTF-8: relative paths, joined by line feeds.
.EXAMPLE
    .\Move-FileAside.ps1 -Path 'C:\Exchsrvr\Conndata' -Aside 'C:\Exchsrvr\exremote-2' -Files 'S8zLT0rVS8oAAA=='
.OUTPUTS
    byte[] blocks of the lines, then
    PSObject: Path [string], Files [int], Failed [int]
.NOTES
    Effect: Converge
    Rights: the right to delete in the folder, and to write beside it
    Errors: ExRemote.BadArgument, ExRemote.Link
#>
#requires -Version 2.0
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Low')]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Path,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Aside,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Files
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$said, $clock = @{ Text = (New-Object Text.StringBuilder); At = 0 }, [Diagnostics.Stopwatch]::StartNew()
$plainFolders = New-Object Collections.Hashtable ([StringComparer]::OrdinalIgnoreCase)
# Protected in .NET 2.0; Marshal.GetHRForException would leave its text behind for the next COM error of the thread.
$hresult = [Exception].GetProperty('HResult', [Reflection.BindingFlags]'Instance, Public, NonPublic')

function Send-Block {
    if ($said.Text.Length -eq 0) { return }
    $plain, $memory = [Text.Encoding]::UTF8.GetBytes($said.Text.ToString()), (New-Object IO.MemoryStream)
    $said.Text.Length, $said.At = 0, $clock.ElapsedMilliseconds
    $memory.WriteByte(1)
    $deflate = New-Object IO.Compression.DeflateStream($memory, [IO.Compression.CompressionMode]::Compress, $true)
    $deflate.Write($plain, 0, $plain.Length); $deflate.Close(); $sealed = $memory.ToArray()
    if ($sealed.Length - 1 -gt 0.9 * $plain.Length) { $sealed = New-Object byte[] ($plain.Length + 1); [Buffer]::BlockCopy($plain, 0, $sealed, 1, $plain.Length) }
    , $sealed
}
function Get-Reason([Exception]$Exception) {
    $base = $Exception.GetBaseException(); $code = $hresult.GetValue($base, $null) -band 65535
    $id = if ($base -is [UnauthorizedAccessException]) { 'AccessDenied' } elseif ($code -eq 32 -or $code -eq 33) { 'Locked' } elseif ($code -eq 112 -or $code -eq 39) { 'DiskFull' } else { 'MoveFailed' }
    "ExRemote.$id", $base.Message
}
function Test-Link([string]$Root, [string]$Name) {
    $place = $Root
    foreach ($part in @(@('') + $Name.Split('\'))) {
        if ($part -ne '') { $place += "\$part" }
        if ($plainFolders.ContainsKey($place)) { continue }
        try { $bits = [int][IO.File]::GetAttributes($place) } catch { return $false }    # what is not there is no link
        if (($bits -band 1024) -ne 0) { return $true }
        if (($bits -band 16) -ne 0) { $plainFolders[$place] = $true }
    }
    $false
}
function Move-One([string]$Name) {
    $from, $to = "$Path\$Name", "$Aside\$Name"
    if (-not [IO.Path]::GetFullPath($from).EndsWith("\$Name", 'Ordinal')) { return 'failed', 'ExRemote.BadName', 'Windows takes that name for another one.' }
    foreach ($root in @($Path, $Aside)) { if (Test-Link $root $Name) { return 'failed', 'ExRemote.Link', "$root\$Name leads over a link." } }
    if ([IO.Directory]::Exists($from)) { return 'failed', 'ExRemote.IsFolder', 'It is a folder.' }
    $taken = [IO.File]::Exists($to)
    if (-not [IO.File]::Exists($from)) { return $(if ($taken) { 'moved' } else { 'gone' }), '', '' }
    if ($taken -or [IO.Directory]::Exists($to)) { return 'failed', 'ExRemote.AsideTaken', "$to is there already, and is kept." }
    if (-not $PSCmdlet.ShouldProcess($from, 'Move aside')) { return 'kept', '', '' }
    [void][IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($to))
    [IO.File]::Move($from, $to)
    'moved', '', ''
}

foreach ($one in @($Path, $Aside)) { if ($one -notmatch '^([A-Za-z]:|\\\\[^\\]+\\[^\\]+)(\\[^\\]+)+$' -or $one.Split('\/'.ToCharArray()) -contains '..') { Write-Error -ErrorId 'ExRemote.BadArgument' -Message "'$one' is not the full path of a folder below a root." } }
foreach ($one in @($Path, $Aside)) { if (Test-Link $one '') { Write-Error -ErrorId 'ExRemote.Link' -Message "$one is a link." } }
$packed = New-Object IO.MemoryStream (, [Convert]::FromBase64String($Files))
$names = @((New-Object IO.StreamReader (New-Object IO.Compression.DeflateStream($packed, [IO.Compression.CompressionMode]::Decompress))).ReadToEnd().Split("`n"))
foreach ($name in @($names)) { if ($name -match '[:/*?]|^\\' -or @($name.Split('\') | Where-Object { $_.Trim('. '.ToCharArray()) -eq '' }).Length -gt 0) { Write-Error -ErrorId 'ExRemote.BadArgument' -Message "'$name' leads out of the folder." } }
$answer = @{ Path = $Path; Files = 0; Failed = 0 }
foreach ($name in @($names)) {
    try { $state, $id, $why = Move-One $name } catch { $state = 'failed'; $id, $why = Get-Reason $_.Exception }
    $answer.Files++; if ($state -eq 'failed') { $answer.Failed++ }
    $why = $why -replace '\s+', ' '
    [void]$said.Text.Append("$state`t$id`t$($why.Substring(0, [Math]::Min(300, $why.Length)))`n")
    if ($said.Text.Length -gt 40000 -or $clock.ElapsedMilliseconds - $said.At -gt 5000) { Send-Block }
}
Send-Block
New-Object PSObject -Property $answer
