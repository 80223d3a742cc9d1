<#
.SYNOPSIS
    Removes work files from a folder, and named files below it.
.DESCRIPTION
    Files directly in the folder whose names match are removed; such files in folders below are listed and stay. UTF-8
    lines of state TAB size TAB time TAB error id TAB reason TAB path, in blocks of at most 256 KiB, a first byte 0 before
    plain bytes, 1 before deflated ones. States: removed, gone (was not there), deeper, kept (under -WhatIf), failed.
    Nothing is looked for, or removed, behind a link.
.PARAMETER Path
    The folder, a full path.
.PARAMETER Pattern
    Patterns (* and ?) of file names.
.PARAMETER Files
    Base64 of the raw deflate of UTF-8: relative paths of files, joined by line feeds.
.EXAMPLE
    .\Remove-WorkFile.ps1 -Path 'C:\Program Files\Exchsrvr\Conndata' -Pattern '*.seq', '*.ck'
.OUTPUTS
    byte[] blocks of the lines, then
    PSObject: Path [string], Exists [bool], Lines [int]
.NOTES
    Effect: Converge
    Rights: the right to delete in the folder
    Errors: ExRemote.BadArgument, ExRemote.Link
#>
#requires -Version 2.0
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Low')]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Path,
    [string[]]$Pattern = @(),
    [string]$Files = ''
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$said, $clock = @{ Text = (New-Object Text.StringBuilder); Lines = 0; At = 0 }, [Diagnostics.Stopwatch]::StartNew()
# Protected in .NET 2.0; Marshal.GetHRForException would leave its text behind for the next COM error of the thread.
$hresult = [Exception].GetProperty('HResult', [Reflection.BindingFlags]'Instance, Public, NonPublic')

function Send-Block {
    if ($said.Text.Length -eq 0) { return }
    $plain, $memory = [Text.Encoding]::UTF8.GetBytes($said.Text.ToString()), (New-Object IO.MemoryStream)
    $said.Text.Length, $said.At = 0, $clock.ElapsedMilliseconds
    $memory.WriteByte(1)
    $deflate = New-Object IO.Compression.DeflateStream($memory, [IO.Compression.CompressionMode]::Compress, $true)
    $deflate.Write($plain, 0, $plain.Length)
    $deflate.Close()
    $sealed = $memory.ToArray()
    if ($sealed.Length - 1 -gt 0.9 * $plain.Length) { $sealed = New-Object byte[] ($plain.Length + 1); [Buffer]::BlockCopy($plain, 0, $sealed, 1, $plain.Length) }
    , $sealed
}
function Send-Line([string]$Name, [string]$State, [long]$Size, [long]$Ticks, [string]$ErrorId, [string]$Message) {
    $text = [Text.RegularExpressions.Regex]::Replace($Message, '\s+', ' ')
    [void]$said.Text.Append("$State`t$Size`t$Ticks`t$ErrorId`t$($text.Substring(0, [Math]::Min(300, $text.Length)))`t$Name`n")
    $said.Lines++
    if ($said.Text.Length -gt 40000 -or $clock.ElapsedMilliseconds - $said.At -gt 5000) { Send-Block }
}
function Send-Reason([string]$Name, [long]$Size, [long]$Ticks, [Exception]$Exception) {
    $base = $Exception.GetBaseException(); $code = $hresult.GetValue($base, $null) -band 65535
    $id = if ($base -is [UnauthorizedAccessException]) { 'AccessDenied' } elseif ($code -eq 32 -or $code -eq 33) { 'Locked' } else { 'RemoveFailed' }
    Send-Line $Name 'failed' $Size $Ticks "ExRemote.$id" $base.Message
}
function Test-Link([string]$Place) { try { ([int][IO.File]::GetAttributes($Place) -band 1024) -ne 0 } catch { $false } }
function Remove-One([string]$Name, [string]$Full) {
    if ([IO.Directory]::Exists($Full)) { Send-Line $Name 'failed' 0 0 'ExRemote.IsFolder' 'It is a folder.'; return }
    if (-not [IO.File]::Exists($Full)) { Send-Line $Name 'gone' 0 0 '' ''; return }
    $info = [IO.FileInfo]$Full; $size, $ticks, $bits = [long]$info.Length, [long]$info.LastWriteTimeUtc.Ticks, $info.Attributes
    if (-not $PSCmdlet.ShouldProcess($Full, 'Remove')) { Send-Line $Name 'kept' $size $ticks '' ''; return }
    try {
        if (([int]$bits -band 1) -ne 0) { [IO.File]::SetAttributes($Full, 'Normal') }
        try { [IO.File]::Delete($Full) } catch { [IO.File]::SetAttributes($Full, $bits); throw }
        if ([IO.File]::Exists($Full)) { Send-Line $Name 'failed' $size $ticks 'ExRemote.Locked' 'It goes when the process that has it open closes it.' }
        else { Send-Line $Name 'removed' $size $ticks '' '' }
    } catch { Send-Reason $Name $size $ticks $_.Exception }
}

if ($Path -notmatch '^([A-Za-z]:|\\\\[^\\]+\\[^\\]+)(\\[^\\]+)+\\?$' -or $Path.Split('\/'.ToCharArray()) -contains '..') { Write-Error -ErrorId 'ExRemote.BadArgument' -Message "'$Path' is not the full path of a folder below a root." }
$packed = New-Object IO.Compression.DeflateStream((New-Object IO.MemoryStream (, [Convert]::FromBase64String($Files))), [IO.Compression.CompressionMode]::Decompress)
$names = @(if ($Files) { (New-Object IO.StreamReader $packed).ReadToEnd().Split("`n") })
foreach ($name in @($names)) { if ($name -match '[:/*?]|^\\' -or @($name.Split('\') | Where-Object { $_.Trim('. '.ToCharArray()) -eq '' }).Length -gt 0) { Write-Error -ErrorId 'ExRemote.BadArgument' -Message "'$name' leads out of the folder." } }
foreach ($one in @($Pattern)) { if ($one -match '[\\/:]' -or $one -notmatch '[^*?.\s]') { Write-Error -ErrorId 'ExRemote.BadArgument' -Message "'$one' is not a pattern of some file names." } }
$parts = @('(?!)') + @($Pattern | ForEach-Object { [Text.RegularExpressions.Regex]::Escape($_).Replace('\*', '.*').Replace('\?', '.') })
$wanted = New-Object Text.RegularExpressions.Regex (('(?is)^(?:' + [String]::Join('|', $parts) + ')$'), 'CultureInvariant')
$root, $answer = ($Path.TrimEnd('\') + '\'), @{ Path = $Path; Exists = [IO.Directory]::Exists($Path); Lines = 0 }
if (Test-Link $root.TrimEnd('\')) { Write-Error -ErrorId 'ExRemote.Link' -Message "$Path is a link." }
$todo = New-Object Collections.Stack; if ($answer.Exists -and $Pattern.Length -gt 0) { $todo.Push('') }
while ($todo.Count -gt 0) {
    $folder, $entries = $todo.Pop(), @()
    try { $entries = [IO.Directory]::GetFileSystemEntries($root + $folder) } catch { Send-Reason $folder 0 0 $_.Exception }
    foreach ($entry in @($entries)) {
        $name = $entry.Substring($root.Length)
        if ([IO.Directory]::Exists($entry)) { if (-not (Test-Link $entry)) { $todo.Push($name) }; continue }
        if (-not $wanted.IsMatch($name.Split('\')[-1])) { continue }
        if ($folder -ne '') { $info = [IO.FileInfo]$entry; Send-Line $name 'deeper' $info.Length $info.LastWriteTimeUtc.Ticks '' '' } else { Remove-One $name $entry }
    }
}
foreach ($name in @($names)) {
    $place, $link = $root.TrimEnd('\'), $false
    foreach ($part in @($name.Split('\'))) { $place += "\$part"; $link = $link -or (Test-Link $place) }
    if ($link) { Send-Line $name 'failed' 0 0 'ExRemote.Link' 'Its path leads over a link.' } else { Remove-One $name ($root + $name) }
}
Send-Block
$answer.Lines = $said.Lines
New-Object PSObject -Property $answer
