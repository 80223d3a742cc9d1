<#
.SYNOPSIS
    Says what named files are: size, time, SHA-256, kind of program and version.
.DESCRIPTION
    Answers every path with one object, whether or not there is such a file. Kind is PE (Windows, 32 or 64 bit), NE or LE
    (Windows or OS/2, 16 bit), MZ (MS-DOS) or empty. Version is the one that the file carries as numbers, or empty. Of a
    path whose last part has * or ? in it only the first file that fits is looked for, and it is not read.
.PARAMETER Path
    Full paths.
.PARAMETER NoHash
    Only opens each file, and does not read it: Sha256, Kind and Version stay empty.
.EXAMPLE
    .\Get-FileFact.ps1 -Path 'C:\WINNT\System32\ntbackup.exe'
.OUTPUTS
    PSObject: Path [string], Exists [bool], Size [long], ModifiedTicks [long], Attributes [int], Sha256 [string], Kind [string], Version [string], Error [string]
.NOTES
    Effect: Read
    Rights: any account that may read the files
    Errors: none
#>
#requires -Version 2.0
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)]
    [ValidateNotNullOrEmpty()]
    [string[]]$Path,
    [switch]$NoHash
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

# Protected in .NET 2.0; Marshal.GetHRForException would leave its text behind for the next COM error of the thread.
$hresult = [Exception].GetProperty('HResult', [Reflection.BindingFlags]'Instance, Public, NonPublic')
function Get-Reason([Exception]$Exception) {
    $base = $Exception.GetBaseException(); $code = $hresult.GetValue($base, $null) -band 65535
    if ($base -is [UnauthorizedAccessException]) { 'ExRemote.AccessDenied' }
    elseif ($code -eq 32 -or $code -eq 33) { 'ExRemote.FileLocked' } else { 'ExRemote.ReadFailed' }
}
function Get-Kind([IO.Stream]$Stream) {
    $head = New-Object byte[] 64
    if ($Stream.Read($head, 0, 64) -lt 64 -or $head[0] -ne 77 -or $head[1] -ne 90) { return '' }
    # A program of MS-DOS has no second header, and whatever it likes in its place.
    $place = [BitConverter]::ToInt32($head, 60)
    if ($place -lt 64 -or $place + 4 -gt $Stream.Length) { return 'MZ' }
    $Stream.Position = $place
    [void]$Stream.Read($head, 0, 4)
    $mark = [Text.Encoding]::ASCII.GetString($head, 0, 2)
    if ($mark -ceq 'PE' -and $head[2] -eq 0 -and $head[3] -eq 0) { return 'PE' }
    if ($mark -ceq 'NE' -or $mark -ceq 'LE') { return $mark }
    'MZ'
}
function Get-Version([string]$File) {
    $info = [Diagnostics.FileVersionInfo]::GetVersionInfo($File)
    $text = '{0}.{1}.{2}.{3}' -f $info.FileMajorPart, $info.FileMinorPart, $info.FileBuildPart, $info.FilePrivatePart
    if ($text -ne '0.0.0.0') { $text } else { '' }
}

foreach ($one in @($Path)) {
    $answer = @{
        Path = $one; Exists = $false; Size = [long]0; ModifiedTicks = [long]0; Attributes = 0; Sha256 = ''; Kind = ''; Version = ''; Error = ''
    }
    try {
        $file, $search = $one, ($one.Split('\')[-1].IndexOfAny('*?'.ToCharArray()) -ge 0)
        if ($search) {
            # Not the mask of GetFiles: what it makes of one that ends in .* is not the same everywhere.
            $mask = '^' + [Text.RegularExpressions.Regex]::Escape($one.Split('\')[-1]).Replace('\*', '.*').Replace('\?', '.') + '$'
            $fit = New-Object Text.RegularExpressions.Regex ($mask, 'IgnoreCase, CultureInvariant, Singleline')
            $file = @([IO.Directory]::GetFiles($one.Substring(0, $one.LastIndexOf('\') + 1)) | Where-Object { $fit.IsMatch($_.Split('\')[-1]) })[0]
        }
        if ($file -and [IO.File]::Exists($file)) {
            if (-not $search) {
                $stream = [IO.File]::Open($file, 'Open', 'Read', 'ReadWrite, Delete')
                try {
                    if ($NoHash) { $answer.Size = [long]$stream.Length }
                    else {
                        $answer.Kind = Get-Kind $stream
                        $stream.Position = 0
                        $sha = New-Object Security.Cryptography.SHA256Managed
                        $answer.Sha256 = [BitConverter]::ToString($sha.ComputeHash($stream)).Replace('-', '').ToLowerInvariant()
                        $answer.Size = [long]$stream.Position
                    }
                } finally { $stream.Close() }
                if ($answer.Kind -eq 'PE' -or $answer.Kind -eq 'NE') { $answer.Version = Get-Version $file }
            }
            $info = [IO.FileInfo]$file
            if ($search) { $answer.Size = [long]$info.Length }
            $answer.ModifiedTicks, $answer.Attributes, $answer.Exists = $info.LastWriteTimeUtc.Ticks, [int]$info.Attributes, $true
        }
    } catch {
        $base = $_.Exception.GetBaseException()
        # What went away between two questions is not there.
        if ($base -isnot [IO.FileNotFoundException] -and $base -isnot [IO.DirectoryNotFoundException]) { $answer.Error = Get-Reason $base }
    }
    New-Object PSObject -Property $answer
}
