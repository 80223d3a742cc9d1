<#
.SYNOPSIS
    Moves staged files to their places, and what is there aside, one by one.
.DESCRIPTION
    Each staged file is read first: it moves only if it has the digest that is asked for. A file that has it already
    stays; its time and attributes are set. If the second move fails, what was moved aside comes back. Folders are made.
    UTF-8 lines of state TAB error id TAB reason, one a file, in blocks of at most 256 KiB, a first byte 0 before plain
    bytes, 1 before deflated ones. States: swapped, there, kept (under -WhatIf), failed. Nothing moves over a link.
.PARAMETER Staging
    The folder of the staged files, a full path.
.PARAMETER Path
    The folder that they are for, a full path on the same volume.
.PARAMETER Aside
    The folder for what they replace, a full path on the same volume.
.PARAMETER Files
    Base64 of the raw deflate of UTF-8: lines of SHA-256 TAB size TAB time in ticks TAB attributes TAB relative path.
.EXAMPLE
    .\Move-StagedFile.ps1 -Staging 'C:\Exchsrvr\exremote-1' -Path 'C:\Exchsrvr\Conndata' -Aside 'C:\Exchsrvr\exremote-2' -Files '...'
.OUTPUTS
    byte[] blocks of the lines, then
    PSObject: Path [string], Files [int], Failed [int]
.NOTES
    Effect: Converge
    Rights: the right to write and delete in all three folders
    Errors: ExRemote.BadArgument, ExRemote.Link
#>
#requires -Version 2.0
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Low')]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Staging,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Path,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Aside,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Files
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$said, $clock = @{ Text = (New-Object Text.StringBuilder); At = 0 }, [Diagnostics.Stopwatch]::StartNew()
$sha, $plainFolders = (New-Object Security.Cryptography.SHA256Managed), (New-Object Collections.Hashtable ([StringComparer]::OrdinalIgnoreCase))
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
function Test-Content([string]$Place, [string]$Sha256, [long]$Size) {
    $stream = [IO.File]::Open($Place, 'Open', 'Read', 'ReadWrite, Delete')
    try { $stream.Length -eq $Size -and [BitConverter]::ToString($sha.ComputeHash($stream)).Replace('-', '') -eq $Sha256 } finally { $stream.Close() }
}
function Set-Mark([string]$Place, [long]$Ticks, [int]$Bits) {
    if (([int][IO.File]::GetAttributes($Place) -band 1) -ne 0) { [IO.File]::SetAttributes($Place, 'Normal') }
    [IO.File]::SetLastWriteTimeUtc($Place, (New-Object DateTime($Ticks, [DateTimeKind]::Utc)))
    [IO.File]::SetAttributes($Place, $(if ($Bits -band 8231) { $Bits -band 8231 } else { 128 }))
}
function Move-One([string]$Name, [string]$Sha256, [long]$Size, [long]$Ticks, [int]$Bits) {
    $from, $to, $old = "$Staging\$Name", "$Path\$Name", "$Aside\$Name"
    if (-not [IO.Path]::GetFullPath($to).EndsWith("\$Name", 'Ordinal')) { return 'failed', 'ExRemote.BadName', 'Windows takes that name for another one.' }
    foreach ($root in @($Staging, $Path, $Aside)) { if (Test-Link $root $Name) { return 'failed', 'ExRemote.Link', "$root\$Name leads over a link." } }
    if ([IO.Directory]::Exists($to)) { return 'failed', 'ExRemote.IsFolder', 'It is a folder.' }
    $there = [IO.File]::Exists($to)
    if ($there -and (Test-Content $to $Sha256 $Size)) {
        if ($PSCmdlet.ShouldProcess($to, 'Set time and attributes')) { Set-Mark $to $Ticks $Bits }
        return 'there', '', ''
    }
    if (-not [IO.File]::Exists($from)) { return 'failed', 'ExRemote.FileMissing', 'It was not staged.' }
    if (-not (Test-Content $from $Sha256 $Size)) { return 'failed', 'ExRemote.Damaged', 'What was staged is not what is to come there.' }
    if ($there -and ([IO.File]::Exists($old) -or [IO.Directory]::Exists($old))) { return 'failed', 'ExRemote.AsideTaken', "$old is there already, and is kept." }
    if (-not $PSCmdlet.ShouldProcess($to, 'Replace')) { return 'kept', '', '' }
    Set-Mark $from $Ticks $Bits
    [void][IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($to))
    if (-not $there) { [IO.File]::Move($from, $to); return 'swapped', '', '' }
    [void][IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($old))
    [IO.File]::Move($to, $old)
    try { [IO.File]::Move($from, $to) } catch {
        $id, $why = Get-Reason $_.Exception
        try { [IO.File]::Move($old, $to) } catch { $id, $why = 'ExRemote.NotMovedBack', "$why What was there is $old now. $($_.Exception.GetBaseException().Message)" }
        return 'failed', $id, $why
    }
    'swapped', '', ''
}

foreach ($one in @($Staging, $Path, $Aside)) { if ($one -notmatch '^([A-Za-z]:|\\\\[^\\]+\\[^\\]+)(\\[^\\]+)+$' -or $one.Split('\/'.ToCharArray()) -contains '..') { Write-Error -ErrorId 'ExRemote.BadArgument' -Message "'$one' is not the full path of a folder below a root." } }
foreach ($one in @($Staging, $Path, $Aside)) { if (Test-Link $one '') { Write-Error -ErrorId 'ExRemote.Link' -Message "$one is a link." } }
$packed = New-Object IO.MemoryStream (, [Convert]::FromBase64String($Files))
$rows = @((New-Object IO.StreamReader (New-Object IO.Compression.DeflateStream($packed, [IO.Compression.CompressionMode]::Decompress))).ReadToEnd().Split("`n") | ForEach-Object { , $_.Split("`t") })
foreach ($row in @($rows)) { if ($row.Length -ne 5 -or $row[4] -match '[:/*?]|^\\' -or @($row[4].Split('\') | Where-Object { $_.Trim('. '.ToCharArray()) -eq '' }).Length -gt 0) { Write-Error -ErrorId 'ExRemote.BadArgument' -Message "'$($row[-1])' leads out of the folder." } }
$answer = @{ Path = $Path; Files = 0; Failed = 0 }
foreach ($row in @($rows)) {
    try { $state, $id, $why = Move-One $row[4] $row[0] $row[1] $row[2] $row[3] } catch { $state = 'failed'; $id, $why = Get-Reason $_.Exception }
    $answer.Files++; if ($state -eq 'failed') { $answer.Failed++ }
    $why = $why -replace '\s+', ' '
    [void]$said.Text.Append("$state`t$id`t$($why.Substring(0, [Math]::Min(300, $why.Length)))`n")
    if ($said.Text.Length -gt 40000 -or $clock.ElapsedMilliseconds - $said.At -gt 5000) { Send-Block }
}
Send-Block
New-Object PSObject -Property $answer
