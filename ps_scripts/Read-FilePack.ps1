<#
.SYNOPSIS
    Streams named files under a root as one pack, from a given file and offset on.
.DESCRIPTION
    Records of type (1 byte), length (uint32), payload, little-endian: F a file begins; D data; E its end with size, time
    and the SHA-256 of the data; X why one cannot be read; Z end of the pack. In blocks of at most 256 KiB, a first byte
    0 before plain bytes, 1 before deflated ones. Of a file that grows meanwhile, what was there is sent.
.PARAMETER Path
    The root, a full path.
.PARAMETER Files
    Base64 of the raw deflate of UTF-8: relative paths, joined by line feeds.
.PARAMETER StartIndex
    The first file to send, counted from 0.
.PARAMETER StartOffset
    Where in that file to begin.
.EXAMPLE
    .\Read-FilePack.ps1 -Path 'C:\Program Files\Exchsrvr\Conndata' -Files 'S8zLT0rVS8oAAA==' -StartOffset 4096
.OUTPUTS
    byte[] blocks of the pack, then
    PSObject: Files [long], Bytes [long], Failed [int]
.NOTES
    Effect: Read
    Rights: read access to the files
    Errors: ExRemote.BadArgument, ExRemote.PathMissing
#>
#requires -Version 2.0
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Path,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Files,
    [int]$StartIndex = 0,
    [long]$StartOffset = 0
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$plain, $block = (New-Object byte[] 262144), @{ Turn = 0; Poor = 0 }
$window = New-Object IO.MemoryStream (, $plain)
$writer = New-Object IO.BinaryWriter $window

function Send-Block([int]$Room) {
    $used = [int]$window.Position
    if ($used -eq 0 -or $plain.Length - $used -ge $Room) { return }
    $sealed, $window.Position = $null, 0
    $block.Turn++
    # The server has mail to carry: after three blocks that deflate could not shrink, only each 16th and the first two of
    # a large file are tried.
    if ($block.Poor -lt 3 -or $block.Turn % 16 -eq 0) {
        $memory = New-Object IO.MemoryStream; $memory.WriteByte(1)
        $deflate = New-Object IO.Compression.DeflateStream($memory, [IO.Compression.CompressionMode]::Compress, $true)
        $deflate.Write($plain, 0, $used)
        $deflate.Close()
        if ($memory.Length - 1 -le 0.9 * $used) { $sealed = $memory.ToArray(); $block.Poor = 0 } else { $block.Poor++ }
    }
    if ($null -eq $sealed) { $sealed = New-Object byte[] ($used + 1); [Buffer]::BlockCopy($plain, 0, $sealed, 1, $used) }
    , $sealed
}
# Protected in .NET 2.0; Marshal.GetHRForException would leave its text behind for the next COM error of the thread.
$hresult = [Exception].GetProperty('HResult', [Reflection.BindingFlags]'Instance, Public, NonPublic')
function Get-Reason([Exception]$Base) {
    $code = $hresult.GetValue($Base, $null) -band 65535
    if ($Base -is [UnauthorizedAccessException]) { 'ExRemote.AccessDenied' }
    elseif ($Base -is [IO.FileNotFoundException] -or $Base -is [IO.DirectoryNotFoundException]) { 'ExRemote.FileMissing' }
    elseif ($code -eq 32 -or $code -eq 33) { 'ExRemote.FileLocked' } else { 'ExRemote.ReadFailed' }
}

if ($Path -notmatch '^[A-Za-z]:\\|^\\\\') { Write-Error -ErrorId 'ExRemote.BadArgument' -Message "'$Path' is not a full path." }
$packed = New-Object IO.MemoryStream (, [Convert]::FromBase64String($Files))
$names = (New-Object IO.StreamReader (New-Object IO.Compression.DeflateStream($packed, [IO.Compression.CompressionMode]::Decompress))).ReadToEnd().Split("`n")
$strange = @($names | Where-Object { [IO.Path]::IsPathRooted($_) -or $_.Split('\/'.ToCharArray()) -contains '..' })
if ($strange.Length -gt 0) { Write-Error -ErrorId 'ExRemote.BadArgument' -Message "'$($strange[0])' leads out of the root." }
if (-not [IO.Directory]::Exists($Path)) { Write-Error -ErrorId 'ExRemote.PathMissing' -Message "$Path is not there." }

$sha, $records, $answer = (New-Object Security.Cryptography.SHA256Managed), 0, @{ Files = [long]0; Bytes = [long]0; Failed = 0 }
for ($i = $StartIndex; $i -lt $names.Length; $i++) {
    $stream, $offset = $null, $(if ($i -eq $StartIndex) { $StartOffset } else { [long]0 })
    try {
        $info = [IO.FileInfo]($Path.TrimEnd('\') + '\' + $names[$i])
        if ($info.FullName -like '\\.\*' -or -not $info.FullName.EndsWith('\' + $names[$i].Split('\')[-1], 'Ordinal')) { throw 'Windows takes that name for another one.' }
        $stream = [IO.File]::Open($info.FullName, 'Open', 'Read', 'ReadWrite, Delete')
        $info.Refresh()
        $size, $ticks, $bits = $stream.Length, $info.LastWriteTimeUtc.Ticks, [int]$info.Attributes
        if ($bits -eq -1) { throw (New-Object IO.FileNotFoundException) }
        if ($size -lt $offset) { throw "The file is shorter than $offset bytes now." }
        [void]$stream.Seek($offset, 'Begin')
        Send-Block 4096
        $writer.Write([byte]70); $writer.Write([uint32]32); $writer.Write([uint32]$i); $writer.Write($offset)
        $writer.Write($ticks); $writer.Write([uint32]$bits); $writer.Write($size)
        $records++
        if ($size - $offset -gt $plain.Length) { $block.Poor = [Math]::Min($block.Poor, 1) }
        $sha.Initialize()
        while ($stream.Position -lt $size) {
            Send-Block 65536
            $start = [int]$window.Position
            $count = $stream.Read($plain, $start + 5, [Math]::Min($size - $stream.Position, $plain.Length - $start - 5))
            if ($count -eq 0) { break }
            [void]$sha.TransformBlock($plain, $start + 5, $count, $plain, $start + 5)
            $writer.Write([byte]68); $writer.Write([uint32]$count)
            $window.Position += $count
            $answer.Bytes += $count
        }
        [void]$sha.TransformFinalBlock($plain, 0, 0)
        $info.Refresh()
        $size, $ticks = $stream.Length, $info.LastWriteTimeUtc.Ticks
        Send-Block 4096
        $writer.Write([byte]69); $writer.Write([uint32]48); $writer.Write($size); $writer.Write($ticks); $writer.Write($sha.Hash)
        $answer.Files++
    } catch {
        $base = $_.Exception.GetBaseException()
        # A share that went away has not lost its files.
        if ($Path[0] -eq '\' -and -not [IO.Directory]::Exists($Path)) { Write-Error -ErrorId 'ExRemote.PathMissing' -Message "$Path is not there any more." }
        $text = [Text.Encoding]::UTF8.GetBytes((Get-Reason $base) + "`t" + $base.Message); Send-Block ($text.Length + 9)
        $writer.Write([byte]88); $writer.Write([uint32]($text.Length + 4)); $writer.Write([uint32]$i); $writer.Write($text)
        $records++; $answer.Failed++
    } finally { if ($null -ne $stream) { $stream.Close() } }
}
Send-Block 9
$writer.Write([byte]90); $writer.Write([uint32]4); $writer.Write([uint32]$records)
Send-Block $plain.Length
New-Object PSObject -Property $answer
