<#
.SYNOPSIS
    Writes the files of a pack that comes through the pipeline, each below a root and from a given offset on.
.DESCRIPTION
    Each block is a byte 0 and plain bytes, or a byte 1 and deflated ones: whole records as Read-FilePack sends them, F a file
    begins, D data, J another file is the next piece of it, E its end with size, time and the SHA-256 of the data. What lies
    behind the offset of a file that is there goes. The root is for nothing else: no file of anybody is meant here.
.PARAMETER Path
    The root, a full path.
.PARAMETER Files
    Base64 of the raw deflate of UTF-8: relative paths, joined by line feeds. Records name them by number, from 0.
.PARAMETER Every
    After so many plain bytes at most, say how many there were so far, and give back the memory of their blocks.
.PARAMETER Block
    The pack, block after block.
.EXAMPLE
    , $block | .\Write-FilePack.ps1 -Path 'C:\Windows\Temp\exremote' -Files 'S8zLT0rVS8oAAA=='
.OUTPUTS
    [long] plain bytes so far, now and then
    PSObject: Index [int], ErrorId [string], Message [string]
    PSObject: Files [long], Bytes [long], Failed [int]
.NOTES
    Effect: Converge
    Rights: write access to the root
    Errors: ExRemote.BadArgument, ExRemote.DiskFull
#>
#requires -Version 2.0
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Low')]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Path,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Files,
    [long]$Every = 1048576,
    [Parameter(ValueFromPipeline = $true)] [byte[]]$Block = @()
)
begin {
    Set-StrictMode -Version 2.0
    $ErrorActionPreference = 'Stop'
    $plain, $copy, $sha = (New-Object byte[] 262144), (New-Object byte[] 65536), (New-Object Security.Cryptography.SHA256Managed)
    $file = @{ Index = -1; Name = ''; Stream = $null; Attributes = 0 }
    $answer, $taken = @{ Files = [long]0; Bytes = [long]0; Failed = 0 }, @{ Now = [long]0; Said = [long]0 }
    # Protected in .NET 2.0; Marshal.GetHRForException would leave its text behind for the next COM error of the thread.
    $hresult = [Exception].GetProperty('HResult', [Reflection.BindingFlags]'Instance, Public, NonPublic')
    function Close-File { if ($null -ne $file.Stream) { $file.Stream.Close(); $file.Stream = $null } }
    function Complete-File([long]$Ticks) {
        Close-File; [IO.File]::SetLastWriteTimeUtc($file.Name, (New-Object DateTime($Ticks, [DateTimeKind]::Utc)))
        [IO.File]::SetAttributes($file.Name, $file.Attributes); $answer.Files++
    }
    function Send-Failure([string]$ErrorId, [string]$Message) {
        Close-File; $answer.Failed++
        New-Object PSObject -Property @{ Index = [int]$file.Index; ErrorId = $ErrorId; Message = $Message }
    }
    function Send-Reason([Exception]$Base) {
        $code = $hresult.GetValue($Base, $null) -band 65535
        if ($code -eq 112 -or $code -eq 39) { Close-File; Write-Error -ErrorId 'ExRemote.DiskFull' -Message "No room for $($file.Name). $($Base.Message)" }
        elseif ($Base -is [UnauthorizedAccessException]) { Send-Failure 'ExRemote.AccessDenied' $Base.Message }
        elseif ($code -eq 32 -or $code -eq 33) { Send-Failure 'ExRemote.FileLocked' $Base.Message }
        else { Send-Failure 'ExRemote.WriteFailed' $Base.Message }
    }
    function Open-File([int]$Index, [long]$Offset, [int]$Attributes) {
        $file.Index, $file.Name, $file.Attributes = $Index, ($Path.TrimEnd('\') + '\' + $names[$Index]), $Attributes
        $full = [IO.Path]::GetFullPath($file.Name)
        if ($full -like '\\.\*' -or -not $full.EndsWith('\' + $names[$Index].Split('\')[-1], 'Ordinal')) { throw 'Windows takes that name for another one.' }
        [void][IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($full))
        if ([IO.File]::Exists($full)) { [IO.File]::SetAttributes($full, 'Normal') }
        # A writer of a connection that was lost may still hold it; without a buffer nothing of it comes late.
        $file.Stream = New-Object IO.FileStream($full, [IO.FileMode]::OpenOrCreate, [IO.FileAccess]::Write, [IO.FileShare]'ReadWrite, Delete', 1)
        if ($file.Stream.Length -lt $Offset) { Send-Failure 'ExRemote.Damaged' "The file has less than $Offset bytes."; return }
        $file.Stream.SetLength($Offset); [void]$file.Stream.Seek($Offset, 'Begin'); $sha.Initialize()
    }
    function Add-Data([byte[]]$From, [int]$Start, [int]$Count) { [void]$sha.TransformBlock($From, $Start, $Count, $From, $Start); $file.Stream.Write($From, $Start, $Count) }
    function Add-Piece([string]$Name) {
        $piece = New-Object IO.FileStream($Name, [IO.FileMode]::Open, [IO.FileAccess]::Read, [IO.FileShare]'ReadWrite, Delete')
        try { while (($count = $piece.Read($copy, 0, $copy.Length)) -gt 0) { Add-Data $copy 0 $count } } finally { $piece.Close() }
        [IO.File]::SetAttributes($Name, 'Normal'); [IO.File]::Delete($Name)
    }
    if ($Path -notmatch '^[A-Za-z]:\\|^\\\\') { Write-Error -ErrorId 'ExRemote.BadArgument' -Message "'$Path' is not a full path." }
    $packed = New-Object IO.MemoryStream (, [Convert]::FromBase64String($Files))
    $names = (New-Object IO.StreamReader (New-Object IO.Compression.DeflateStream($packed, [IO.Compression.CompressionMode]::Decompress))).ReadToEnd().Split("`n")
    $strange = @($names | Where-Object { [IO.Path]::IsPathRooted($_) -or $_.Split('\/'.ToCharArray()) -contains '..' })
    if ($strange.Length -gt 0) { Write-Error -ErrorId 'ExRemote.BadArgument' -Message "'$($strange[0])' leads out of the root." }
}
process {
    if ($Block.Length -eq 0) { return }
    $data, $at, $end = $Block, 1, $Block.Length
    if ($Block[0] -eq 1) {
        $data, $at, $end = $plain, 0, 0
        $deflate = New-Object IO.Compression.DeflateStream((New-Object IO.MemoryStream($Block, 1, ($Block.Length - 1))), [IO.Compression.CompressionMode]::Decompress)
        while (($count = $deflate.Read($plain, $end, $plain.Length - $end)) -gt 0) { $end += $count }
    }
    $reader = New-Object IO.BinaryReader (New-Object IO.MemoryStream($data, 0, $end))
    $taken.Now += $end - $at
    while ($at -lt $end) {
        $reader.BaseStream.Position = $at
        $kind, $length = [char]$reader.ReadByte(), $reader.ReadInt32()
        try {
            if ($kind -eq 'F') {
                $index, $offset, $ticks, $bits = $reader.ReadInt32(), $reader.ReadInt64(), $reader.ReadInt64(), $reader.ReadInt32()
                Close-File; if ($PSCmdlet.ShouldProcess("$Path\$($names[$index])", 'Write')) { Open-File $index $offset $bits }
            } elseif ($null -eq $file.Stream) { # It failed before.
            } elseif ($kind -eq 'D') {
                Add-Data $data ($at + 5) $length; $answer.Bytes += $length
            } elseif ($kind -eq 'J') {
                Add-Piece ($Path.TrimEnd('\') + '\' + $names[$reader.ReadInt32()])
            } elseif ($kind -eq 'E') {
                $size, $ticks = $reader.ReadInt64(), $reader.ReadInt64()
                [void]$sha.TransformFinalBlock($plain, 0, 0)
                $whole = $file.Stream.Length -eq $size -and [BitConverter]::ToString($sha.Hash) -eq [BitConverter]::ToString($reader.ReadBytes(32))
                if ($whole) { Complete-File $ticks } else { Send-Failure 'ExRemote.Damaged' 'It did not arrive as it was sent.' }
            } else { throw "A record '$kind'." }
        } catch { Send-Reason $_.Exception.GetBaseException() }
        $at += 5 + $length
    }
    # Blocks are large objects, which the runtime lets pile up: a shell of WinRM 2.0 has 150 MB in all.
    if ($taken.Now - $taken.Said -ge $Every) { $taken.Said = $taken.Now; $taken.Now; [GC]::Collect() }
}
end {
    Close-File
    New-Object PSObject -Property $answer
}
