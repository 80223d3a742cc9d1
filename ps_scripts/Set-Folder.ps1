<#
.SYNOPSIS
    Makes named folders below a folder, or removes those of them that are empty.
.DESCRIPTION
    Each is looked at again afterwards. A folder that is there already, or is gone, stays as it is; nothing with something in
    it is removed, and nothing is made or removed over a link.
    UTF-8 lines of state TAB error id TAB reason, one a folder, in blocks of at most 256 KiB, a first byte 0 before plain
    bytes, 1 before deflated ones. States: made, there, removed, gone, full (something is in it), kept (under -WhatIf), failed.
.PARAMETER Path
    The folder that they lie below, a full path.
.PARAMETER Folders
    Base64 of the raw deflate of UTF-8: relative paths, a line each, in the order in which they are to be made or removed.
.PARAMETER Absent
    Remove them.
.EXAMPLE
    .\Set-Folder.ps1 -Path 'C:\Exchsrvr\Conndata' -Folders 'cy8vyi8tSS2KSSxKzsgsSwUA'
.OUTPUTS
    byte[] blocks of the lines, then
    PSObject: Path [string], Folders [int], Failed [int]
.NOTES
    Effect: Converge
    Rights: the right to make and delete folders there
    Errors: ExRemote.BadArgument, ExRemote.Link
#>
#requires -Version 2.0
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Low')]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Path,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Folders,
    [switch]$Absent
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$said, $clock = @{ Text = (New-Object Text.StringBuilder); At = 0 }, [Diagnostics.Stopwatch]::StartNew()

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
function Test-Link([string]$Root, [string]$Name) {
    $place = $Root
    foreach ($part in @(@('') + $Name.Split('\'))) {
        if ($part -ne '') { $place += "\$part" }
        try { $bits = [int][IO.File]::GetAttributes($place) } catch { return $false }    # what is not there is no link
        if (($bits -band 1024) -ne 0) { return $true }
    }
    $false
}
function Set-One([string]$Name) {
    $place = "$Path\$Name"
    if (-not [IO.Path]::GetFullPath($place).EndsWith("\$Name", 'Ordinal')) { return 'failed', 'ExRemote.BadName', 'Windows takes that name for another one.' }
    if (Test-Link $Path $Name) { return 'failed', 'ExRemote.Link', "$place leads over a link." }
    if ([IO.File]::Exists($place)) { return 'failed', 'ExRemote.IsFile', 'It is a file.' }
    $there = [IO.Directory]::Exists($place)
    if ($Absent) {
        if (-not $there) { return 'gone', '', '' }
        if ([IO.Directory]::GetFileSystemEntries($place).Length -gt 0) { return 'full', '', '' }
        if (-not $PSCmdlet.ShouldProcess($place, 'Remove')) { return 'kept', '', '' }
        [IO.Directory]::Delete($place)
        if ([IO.Directory]::Exists($place)) { return 'failed', 'ExRemote.RemoveFailed', 'It is still there.' }
        return 'removed', '', ''
    }
    if ($there) { return 'there', '', '' }
    if (-not $PSCmdlet.ShouldProcess($place, 'Make')) { return 'kept', '', '' }
    [void][IO.Directory]::CreateDirectory($place)
    if (-not [IO.Directory]::Exists($place)) { return 'failed', 'ExRemote.MakeFailed', 'It is not there.' }
    'made', '', ''
}

if ($Path -notmatch '^([A-Za-z]:|\\\\[^\\]+\\[^\\]+)(\\[^\\]+)+$' -or $Path.Split('\/'.ToCharArray()) -contains '..') { Write-Error -ErrorId 'ExRemote.BadArgument' -Message "'$Path' is not the full path of a folder below a root." }
if (Test-Link $Path '') { Write-Error -ErrorId 'ExRemote.Link' -Message "$Path is a link." }
$packed = New-Object IO.MemoryStream (, [Convert]::FromBase64String($Folders))
$names = @((New-Object IO.StreamReader (New-Object IO.Compression.DeflateStream($packed, [IO.Compression.CompressionMode]::Decompress))).ReadToEnd().Split("`n"))
foreach ($name in @($names)) { if ($name -match '[:/*?]|^\\' -or @($name.Split('\') | Where-Object { $_.Trim('. '.ToCharArray()) -eq '' }).Length -gt 0) { Write-Error -ErrorId 'ExRemote.BadArgument' -Message "'$name' leads out of the folder." } }
$answer = @{ Path = $Path; Folders = 0; Failed = 0 }
foreach ($name in @($names)) {
    try { $state, $id, $why = Set-One $name } catch {
        $base = $_.Exception.GetBaseException(); $state, $why = 'failed', $base.Message
        $id = if ($base -is [UnauthorizedAccessException]) { 'ExRemote.AccessDenied' } elseif ($Absent) { 'ExRemote.RemoveFailed' } else { 'ExRemote.MakeFailed' }
    }
    $answer.Folders++; if ($state -eq 'failed') { $answer.Failed++ }
    $why = $why -replace '\s+', ' '
    [void]$said.Text.Append("$state`t$id`t$($why.Substring(0, [Math]::Min(300, $why.Length)))`n")
    if ($said.Text.Length -gt 40000 -or $clock.ElapsedMilliseconds - $said.At -gt 5000) { Send-Block }
}
Send-Block
New-Object PSObject -Property $answer
