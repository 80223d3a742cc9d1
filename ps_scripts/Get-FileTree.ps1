<#
.SYNOPSIS
    Lists every file and directory under a root, with size, time, attributes and SHA-256.
.DESCRIPTION
    UTF-8 lines of size TAB time TAB attributes TAB sha TAB path, sorted by path, in blocks of at most 256 KiB, a first
    byte 0 before plain bytes, 1 before deflated ones. Groups of lines that are as Known says are left out; Changed numbers
    the others, and what lies behind all. What cannot be read has the reason for a digest. Links to folders are not followed.
.PARAMETER Path
    The root, a full path.
.PARAMETER Exclude
    Patterns (* and ?) of file names, or with a backslash of relative paths: listed, not read, no part of the digest.
.PARAMETER Known
    Base64 of the raw deflate of UTF-8: for each group of lines the first half of its SHA-256, TAB, the path of its last line.
.PARAMETER NoHash
    Do not read files.
.EXAMPLE
    .\Get-FileTree.ps1 -Path 'C:\Program Files\Exchsrvr\Conndata' -Exclude '*.seq', 'Gwrouter\archive\*'
.OUTPUTS
    byte[] blocks of the listing, then
    PSObject: Path [string], Exists [bool], Files [long], Bytes [long], Digest [string], Changed [string]
.NOTES
    Effect: Read
    Rights: read access to the tree
    Errors: ExRemote.BadArgument, ExRemote.AccessDenied
#>
#requires -Version 2.0
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Path,
    [string[]]$Exclude = @(), [string]$Known = '', [switch]$NoHash
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$plain, $block = (New-Object byte[] 262144), @{ Used = 0; Start = 0; Sent = $false; Group = 0 }
function Send-Block {
    $memory = New-Object IO.MemoryStream; $memory.WriteByte(1)
    $deflate = New-Object IO.Compression.DeflateStream($memory, [IO.Compression.CompressionMode]::Compress, $true)
    $deflate.Write($plain, 0, $block.Used); $deflate.Close()
    $sealed, $used, $block.Used, $block.Start, $block.Sent = $memory.ToArray(), $block.Used, 0, 0, $true
    if ($sealed.Length - 1 -gt 0.9 * $used) { $sealed = New-Object byte[] ($used + 1); [Buffer]::BlockCopy($plain, 0, $sealed, 1, $used) }
    , $sealed
}
# Protected in .NET 2.0; Marshal.GetHRForException would leave its text behind for the next COM error of the thread.
$hresult = [Exception].GetProperty('HResult', [Reflection.BindingFlags]'Instance, Public, NonPublic')
function Get-Reason([Exception]$Exception) {
    $base = $Exception.GetBaseException(); $code = $hresult.GetValue($base, $null) -band 65535
    if ($base -is [UnauthorizedAccessException]) { '!ExRemote.AccessDenied' }
    elseif ($base -is [IO.FileNotFoundException] -or $base -is [IO.DirectoryNotFoundException]) { '' }
    elseif ($code -eq 32 -or $code -eq 33) { '!ExRemote.FileLocked' } else { '!ExRemote.ReadFailed' }
}
function Get-Hex([byte[]]$Bytes) { [BitConverter]::ToString($Bytes).Replace('-', '').ToLowerInvariant() }
if ($Path -notmatch '^[A-Za-z]:\\|^\\\\') { Write-Error -ErrorId 'ExRemote.BadArgument' -Message "'$Path' is not a full path." }
$patterns = @('(?!)') + @($Exclude | Where-Object { $_ } | ForEach-Object {
        $text = [Text.RegularExpressions.Regex]::Escape($_)
        if ($_.Contains('\')) { $text.Replace('\*', '.*').Replace('\?', '.') } else { '(?:.*\\)?' + $text.Replace('\*', '[^\\]*').Replace('\?', '[^\\]') }
    })
$excluded = New-Object Text.RegularExpressions.Regex (('(?is)^(?:' + [String]::Join('|', $patterns) + ')$'), 'CultureInvariant')
$answer = @{ Path = $Path; Exists = [IO.Directory]::Exists($Path); Files = [long]0; Bytes = [long]0; Digest = ''; Changed = '' }
if (-not $answer.Exists) { return New-Object PSObject -Property $answer }
$packed = New-Object IO.Compression.DeflateStream((New-Object IO.MemoryStream (, [Convert]::FromBase64String($Known))), [IO.Compression.CompressionMode]::Decompress)
$groups = @(if ($Known) { (New-Object IO.StreamReader $packed).ReadToEnd().Split("`n") })
# First the names, each with NUL and its line so far (NUL sorts before all); ? stands where a file is still to be read.
$root, $found, $todo = ($Path.TrimEnd('\') + '\'), (New-Object Collections.ArrayList), (New-Object Collections.Stack); $todo.Push(@('', ''))
while ($todo.Count -gt 0) {
    $folder, $head = $todo.Pop(); $entries, $mark = @(), '-'
    try { $entries = [IO.Directory]::GetFileSystemEntries($root + $folder) } catch { $mark = Get-Reason $_.Exception }
    if ($folder -eq '' -and $mark -ne '-') { Write-Error -ErrorId 'ExRemote.AccessDenied' -Message "$Path cannot be listed. $mark" }
    if ($folder -ne '' -and $mark -ne '') { [void]$found.Add("$folder`0$head$mark") }
    foreach ($entry in @($entries)) {
        $name, $head, $mark = $entry.Substring($root.Length), "0`t0`t0`t", '?'
        try {
            $info = [IO.FileInfo]$entry    # of a directory no time: it moves with every work file in it
            # A device, or a name with a dot behind it: it would be another one that is read.
            if ($info.FullName -like '\\.\*' -or -not $info.FullName.EndsWith('\' + $name.Split('\')[-1], 'Ordinal')) { throw 'Windows takes that name for another one.' }
            $bits = [int]$info.Attributes; $size = if ($bits -band 16) { -1 } else { [long]$info.Length }
            $head = "$size`t$(if ($size -lt 0) { 0 } else { $info.LastWriteTimeUtc.Ticks })`t$bits`t"
            if ($bits -eq -1) { $mark = '' }    # gone since
            elseif ($(if ($size -lt 0) { $Exclude -contains "$name\*" } else { $excluded.IsMatch($name) })) { $mark = 'x' }
            elseif ($size -lt 0 -and $bits -band 1024) { $mark = 'r' }
            elseif ($size -lt 0) { $todo.Push(@($name, $head)); continue }
            elseif ($NoHash) { $mark = '-' }
        } catch { $mark = Get-Reason $_.Exception }
        if ($mark -ne '') { [void]$found.Add("$name`0$head$mark") }
    }
}
$found.Sort([StringComparer]::Ordinal)
[void]$found.Add('')    # behind all: it closes the groups
# Then the files, one after the other. The size is how much was read, so that it belongs to the digest.
$sha, $tree, $part = @(1..3 | ForEach-Object { New-Object Security.Cryptography.SHA256Managed })
foreach ($one in @($found)) {
    $name, $field = $one.Split("`0`t".ToCharArray())
    # A group that is whole: its lines are taken back if it is the same, unless some of them are on their way.
    while ($block.Group -lt $groups.Length -and ($one -eq '' -or [String]::CompareOrdinal($name, $groups[$block.Group].Substring(33)) -gt 0)) {
        [void]$part.TransformFinalBlock($plain, 0, 0)
        if ($block.Sent -or $groups[$block.Group].Substring(0, 32) -ne (Get-Hex $part.Hash).Substring(0, 32)) { $answer.Changed += "$($block.Group)," } else { $block.Used = $block.Start }
        $part.Initialize(); $block.Start, $block.Sent, $block.Group = $block.Used, $false, ($block.Group + 1)
    }
    if ($one -eq '') { break }
    if ($field[3] -eq '?') {
        try { $stream = [IO.File]::Open($root + $name, 'Open', 'Read', 'ReadWrite, Delete') } catch { $stream, $field[3] = $null, (Get-Reason $_.Exception) }
        if ($null -ne $stream) {
            try { $field[3] = Get-Hex $sha.ComputeHash($stream); $field[0] = $stream.Position } catch { $field[3] = Get-Reason $_.Exception } finally { $stream.Close() }
        }
    }
    if ($field[3] -eq '') { continue }
    $line = [String]::Join("`t", $field) + "`t$name`n"
    if ($block.Used + 3 * $line.Length -gt $plain.Length) { Send-Block }
    $count = [Text.Encoding]::UTF8.GetBytes($line, 0, $line.Length, $plain, $block.Used)
    if ($field[3] -ne 'x') {
        foreach ($each in @($part, $tree)) { [void]$each.TransformBlock($plain, $block.Used, $count, $plain, $block.Used) }
        if ($field[0] -ne '-1') { $answer.Files++; $answer.Bytes += [long]$field[0] }
    }
    $block.Used += $count
}
if ($block.Sent -or $block.Used -gt $block.Start) { $answer.Changed += "$($block.Group)," }
if ($block.Used) { Send-Block }
[void]$tree.TransformFinalBlock($plain, 0, 0)
$answer.Digest, $answer.Changed = (Get-Hex $tree.Hash), $answer.Changed.TrimEnd(',')
New-Object PSObject -Property $answer
