<#
.SYNOPSIS
    Reads a tape file of ntbackup where it lies: its blocks without the data in them, and the SHA-256 of all of it.
.DESCRIPTION
    Sends the descriptor blocks of a Microsoft Tape Format file, the headers of their streams, and the streams that hold
    names or checksums; other data is passed over. Records of offset (int64), length (int32), payload, little-endian, in
    blocks of at most 256 KiB, a first byte 0 before plain bytes, 1 before deflated ones. Where no block begins it sends no
    more: whether that is well, the reader judges. Nobody can write to the file meanwhile.
.PARAMETER Path
    The file, a full path.
.EXAMPLE
    .\Read-TapeBlock.ps1 -Path 'D:\bkf\exremote-systemstate-1.bkf'
.OUTPUTS
    byte[] blocks of the records, then
    PSObject: Path [string], Exists [bool], Size [long], ModifiedTicks [long], Attributes [int], Sha256 [string]
.NOTES
    Effect: Read
    Rights: read access to the file
    Errors: ExRemote.BadArgument, ExRemote.AccessDenied, ExRemote.FileLocked, ExRemote.ReadFailed
#>
#requires -Version 2.0
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Path
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
if ($Path -notmatch '^[A-Za-z]:\\|^\\\\') { Write-Error -ErrorId 'ExRemote.BadArgument' -Category InvalidArgument -Message "'$Path' is not a full path." }
$answer = @{ Path = $Path; Exists = $false; Size = [long]0; ModifiedTicks = [long]0; Attributes = 0; Sha256 = '' }
$info = [IO.FileInfo]$Path
if (-not $info.Exists) { return New-Object PSObject -Property $answer }
$plain, $piece = (New-Object byte[] 262144), @{ Start = 0; Count = 0 }
$window = New-Object IO.MemoryStream (, $plain)
$writer = New-Object IO.BinaryWriter $window

function Send-Block {
    $used = [int]$window.Position
    if ($used -eq 0) { return }
    $memory = New-Object IO.MemoryStream; $memory.WriteByte(1)
    $deflate = New-Object IO.Compression.DeflateStream($memory, [IO.Compression.CompressionMode]::Compress, $true)
    $deflate.Write($plain, 0, $used); $deflate.Close()
    $sealed, $window.Position = $memory.ToArray(), 0
    if ($sealed.Length - 1 -gt 0.9 * $used) { $sealed = New-Object byte[] ($used + 1); [Buffer]::BlockCopy($plain, 0, $sealed, 1, $used) }
    , $sealed
}
# What it sent lies in $plain from $piece.Start on until the next one.
function Send-Piece([long]$At, [long]$Count) {
    $Count = [Math]::Max([long]0, [Math]::Min($Count, $size - $At))
    if ($window.Position + 12 + $Count -gt $plain.Length) { Send-Block }
    $writer.Write($At); $writer.Write([int]$Count)
    $piece.Start, $piece.Count = [int]$window.Position, 0
    [void]$stream.Seek($At, 'Begin')
    while ($piece.Count -lt $Count) {
        $more = $stream.Read($plain, $piece.Start + $piece.Count, [int]$Count - $piece.Count)
        if ($more -eq 0) { throw 'The file ended before its own length.' }
        $piece.Count += $more
    }
    $window.Position = $piece.Start + $piece.Count
}
function Get-Kind([int]$Place) { [Text.Encoding]::ASCII.GetString($plain, $Place, 4) }
# Streams of one block, from $At on; in $piece.Next where the next block has to begin, the file's end if nobody can tell.
function Send-Stream([long]$At) {
    $piece.Next = $size
    while ($At -lt $size) {
        $gap = [int]((4 - $At % 4) % 4)
        Send-Piece $At ($gap + 22)
        if ($piece.Count -lt $gap + 22) { return }
        $head, $kind = ($piece.Start + $gap), (Get-Kind ($piece.Start + $gap))
        if ($kind -cnotmatch '^[A-Z0-9]{4}$' -or $blocks -ccontains $kind) {
            # A writer of version 1.0 may leave SPAD out: zeros up to the next block.
            $piece.Next, $sent = ($At + ($flb - $At % $flb) % $flb), ($At + $gap + 22)
            if ($piece.Next -gt $sent) { Send-Piece $sent ($piece.Next - $sent) }
            return
        }
        $length = [BitConverter]::ToInt64($plain, $head + 8)
        $At += $gap + 22
        if ($length -lt 0 -or $length -gt $size - $At) { return }
        if ($length -le 65536 -and $names -ccontains $kind) { Send-Piece $At $length }
        $At += $length
        if ($kind -ceq 'SPAD') { $piece.Next = $At; return }
    }
}
$blocks = 'TAPE', 'SSET', 'VOLB', 'DIRB', 'FILE', 'CFIL', 'ESPB', 'ESET', 'EOTM', 'SFMB'
$names, $stream, $at, $flb = ('PNAM', 'FNAM', 'CSUM'), $null, [long]0, 0
# Protected in .NET 2.0; Marshal.GetHRForException would leave its text behind for the next COM error of the thread.
$hresult = [Exception].GetProperty('HResult', [Reflection.BindingFlags]'Instance, Public, NonPublic')
try {
    $stream = [IO.File]::Open($Path, 'Open', 'Read', 'Read')
    $size = $stream.Length
    while ($at -lt $size) {
        Send-Piece $at 52
        if ($piece.Count -lt 52 -or (Get-Kind $piece.Start) -cnotmatch '^[A-Z0-9]{4}$') { break }
        $kind, $first = (Get-Kind $piece.Start), [int][BitConverter]::ToUInt16($plain, $piece.Start + 8)
        if ($first -lt 52) { break }
        Send-Piece ($at + 52) ($first - 52)
        if ($flb -eq 0) { if ($piece.Count -ge 34) { $flb = [int][BitConverter]::ToUInt16($plain, $piece.Start + 32) }; if ($flb -ne 512 -and $flb -ne 1024) { break } }
        $at += $first
        # A soft filemark has no streams.
        if ($kind -cne 'SFMB') { Send-Stream $at; $at = $piece.Next }
    }
    Send-Block
    $stream.Position = 0
    $answer.Sha256 = [BitConverter]::ToString((New-Object Security.Cryptography.SHA256Managed).ComputeHash($stream)).Replace('-', '').ToLowerInvariant()
    $answer.Exists, $answer.Size, $answer.ModifiedTicks, $answer.Attributes = $true, $size, $info.LastWriteTimeUtc.Ticks, [int]$info.Attributes
} catch {
    $base = $_.Exception.GetBaseException(); $code = $hresult.GetValue($base, $null) -band 65535
    if ($base -is [UnauthorizedAccessException]) { Write-Error -ErrorId 'ExRemote.AccessDenied' -Category PermissionDenied -Message $base.Message }
    if ($code -eq 32 -or $code -eq 33) { Write-Error -ErrorId 'ExRemote.FileLocked' -Category ResourceBusy -Message $base.Message }
    Write-Error -ErrorId 'ExRemote.ReadFailed' -Category ReadError -Message $base.Message
} finally { if ($null -ne $stream) { $stream.Close() } }
New-Object PSObject -Property $answer
