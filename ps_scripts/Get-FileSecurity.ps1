<#
.SYNOPSIS
    Reads the access lists and owners of those files and folders below roots that do not merely inherit.
.DESCRIPTION
    Such a list is protected, or has an entry of its own. What inherits all of it has no line. Inherited entries are left out.
    UTF-8 lines of number of the root TAB list in SDDL with whole SIDs, or ! and an error id, TAB path below the root ('' is
    the root), in no order, in blocks of at most 256 KiB, a first byte 0 before plain bytes, 1 before deflated ones. Links are
    not looked at, nor what lies below a root whose own list cannot be read. Error ids in lines: AccessDenied, NoList (of a drive
    that keeps none), PathMissing (the root), ReadFailed, UnknownForm (an entry is no plain one).
.PARAMETER Path
    The roots, full paths; their numbers count from 0.
.PARAMETER Only
    Number of a root, |, a path below it, '' for itself: of this root nothing but what is named so is looked at.
.PARAMETER Skip
    Number of a root, |, a folder below it: what lies below that folder is not looked at.
.PARAMETER Account
    SIDs, of which it says whether this host knows them.
.PARAMETER Most
    It ends with an error after so many lines.
.EXAMPLE
    .\Get-FileSecurity.ps1 -Path 'C:\Exchsrvr\Conndata', 'C:\WINDOWS' -Only '1|Notes.ini' -Skip '0|Gwrouter\archive'
.OUTPUTS
    byte[] blocks of the lines, then
    PSObject: Lines [int], Looked [long], Unknown [string[]]
.NOTES
    Effect: Read
    Rights: the right to read permissions there
    Errors: ExRemote.BadArgument, ExRemote.TooMany
#>
#requires -Version 2.0
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string[]]$Path,
    [string[]]$Only = @(), [string[]]$Skip = @(), [string[]]$Account = @(), [int]$Most = 20000
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$said, $last, $answer, $both = (New-Object Text.StringBuilder), @{ List = '' }, @{ Lines = 0; Looked = [long]0; Unknown = @() }, [Security.AccessControl.AccessControlSections]'Access, Owner'

function Send-Block {
    if ($said.Length -eq 0) { return }
    $plain, $memory = [Text.Encoding]::UTF8.GetBytes($said.ToString()), (New-Object IO.MemoryStream)
    $said.Length = 0; $memory.WriteByte(1)
    $deflate = New-Object IO.Compression.DeflateStream($memory, [IO.Compression.CompressionMode]::Compress, $true)
    $deflate.Write($plain, 0, $plain.Length); $deflate.Close(); $sealed = $memory.ToArray()
    if ($sealed.Length - 1 -gt 0.9 * $plain.Length) { $sealed = New-Object byte[] ($plain.Length + 1); [Buffer]::BlockCopy($plain, 0, $sealed, 1, $plain.Length) }
    , $sealed
}
# In SDDL of our own making: Windows' own has names for accounts (LA, DA) that are others on another computer.
function Get-List([string]$Place, [bool]$Folder) {
    $security = if ($Folder) { New-Object Security.AccessControl.DirectorySecurity($Place, $both) } else { New-Object Security.AccessControl.FileSecurity($Place, $both) }
    $raw = New-Object Security.AccessControl.RawSecurityDescriptor($security.GetSecurityDescriptorBinaryForm(), 0)
    if ($null -eq $raw.DiscretionaryAcl) { return '!ExRemote.NoList' }
    $closed, $text = (([int]$raw.ControlFlags -band 4096) -ne 0), ''
    foreach ($ace in @($raw.DiscretionaryAcl)) {
        $bits = [int]$ace.AceFlags
        if (-not $closed -and ($bits -band 16)) { continue }
        $kind = @{ 0 = 'A'; 1 = 'D' }[[int]$ace.AceType]
        if ($null -eq $kind) { return '!ExRemote.UnknownForm' }
        $flags = ''
        foreach ($pair in @((1, 'OI'), (2, 'CI'), (4, 'NP'), (8, 'IO'), (16, 'ID'))) { if ($bits -band $pair[0]) { $flags += $pair[1] } }
        $text += "($kind;$flags;0x$($ace.AccessMask.ToString('x'));;;$($ace.SecurityIdentifier.Value))"
    }
    if (-not $closed -and $text -eq '') { return '' }
    $owner = if ($null -eq $raw.Owner) { '' } else { "O:$($raw.Owner.Value)" }
    "${owner}D:$(if ($closed) { 'P' })$text"
}
function Add-Line([int]$Number, [string]$Place, [string]$Name, [bool]$Folder) {
    $answer.Looked++
    try { $list = Get-List $Place $Folder } catch {
        $base = $_.Exception.GetBaseException()
        if ($base -is [IO.FileNotFoundException] -or $base -is [IO.DirectoryNotFoundException]) { return }    # gone since
        $list = if ($base -is [UnauthorizedAccessException]) { '!ExRemote.AccessDenied' } else { '!ExRemote.ReadFailed' }
    }
    $last.List = $list
    if ($list -eq '') { return }
    $answer.Lines++
    if ($answer.Lines -gt $Most) { Write-Error -ErrorId 'ExRemote.TooMany' -Message "More than $Most files and folders have access lists of their own." }
    [void]$said.Append("$Number`t$list`t$Name`n")
    if ($said.Length -gt 40000) { Send-Block }
}

foreach ($one in @($Path)) { if ($one -notmatch '^[A-Za-z]:\\|^\\\\') { Write-Error -ErrorId 'ExRemote.BadArgument' -Message "'$one' is not a full path." } }
foreach ($one in @($Only + $Skip)) { if ($one -notmatch '^[0-9]{1,4}\|' -or $one.Split('|\/'.ToCharArray()) -contains '..') { Write-Error -ErrorId 'ExRemote.BadArgument' -Message "'$one' is not NUMBER|PATH." } }
$closed = New-Object Collections.Hashtable ([StringComparer]::OrdinalIgnoreCase); foreach ($one in @($Skip)) { $closed[$one] = $true }
for ($number = 0; $number -lt $Path.Length; $number++) {
    $root = $Path[$number].TrimEnd('\'); $top = $root + '\'
    if (-not [IO.Directory]::Exists($top)) { [void]$said.Append("$number`t!ExRemote.PathMissing`t`n"); $answer.Lines++; continue }
    $named = @($Only | Where-Object { $_.StartsWith("$number|", 'Ordinal') })
    foreach ($one in @($named)) {
        $name = $one.Substring("$number|".Length); $place = if ($name) { $top + $name } else { $top }
        try { $bits = [int][IO.File]::GetAttributes($place) } catch { continue }    # it is not there
        if (($bits -band 1024) -eq 0) { Add-Line $number $place $name (($bits -band 16) -ne 0) }
    }
    if ($named.Length) { continue }
    Add-Line $number $top '' $true
    if ($last.List.StartsWith('!', 'Ordinal')) { continue }    # a drive without access lists, say: no line for each file there
    $todo = New-Object Collections.Stack; $todo.Push('')
    while ($todo.Count -gt 0) {
        $folder = $todo.Pop(); $entries = @()
        try { $entries = [IO.Directory]::GetFileSystemEntries($top + $folder) } catch { if ($folder -eq '') { [void]$said.Append("$number`t!ExRemote.AccessDenied`t`n"); $answer.Lines++ } }
        foreach ($entry in @($entries)) {
            $name = $entry.Substring($top.Length)
            try {
                # A device, or a name with a dot behind it: it would be another one that is read.
                $info = [IO.FileInfo]$entry; $bits = [int]$info.Attributes
                if ($info.FullName -like '\\.\*' -or -not $info.FullName.EndsWith('\' + $name.Split('\')[-1], 'Ordinal')) { continue }
            } catch { continue }    # the listing of the tree says why
            if ($bits -eq -1 -or ($bits -band 1024)) { continue }
            Add-Line $number $entry $name (($bits -band 16) -ne 0)
            if (($bits -band 16) -and -not $closed.ContainsKey("$number|$name")) { $todo.Push($name) }
        }
    }
}
Send-Block
$answer.Unknown = [string[]]@($Account | Where-Object { $_ } | Where-Object { try { [void](New-Object Security.Principal.SecurityIdentifier($_)).Translate([Security.Principal.NTAccount]); $false } catch { $true } })
New-Object PSObject -Property $answer
