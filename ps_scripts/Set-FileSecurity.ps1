<#
.SYNOPSIS
    Sets access lists and owners of named files and folders below a folder, and reads each back.
.DESCRIPTION
    In the order in which they come: a folder before what lies in it. Where the owner cannot be set, the list alone is. What
    inherits from a folder whose list is set follows it. Nothing is set over a link, or on one.
    UTF-8 lines of state TAB error id TAB reason, one a list, in blocks of at most 256 KiB, a first byte 0 before plain bytes,
    1 before deflated ones. States: set, same (it was so), owner (all but the owner), kept (under -WhatIf), failed.
.PARAMETER Path
    The folder that they lie below, a full path.
.PARAMETER Lists
    Base64 of the raw deflate of UTF-8: lines of SDDL TAB relative path, '' for the folder. SDDL as Get-FileSecurity gives it;
    D: alone has it inherit all.
.EXAMPLE
    .\Set-FileSecurity.ps1 -Path 'C:\Exchsrvr\Conndata' -Lists 'c7FyDXIJ5kxMSQIA'
.OUTPUTS
    byte[] blocks of the lines, then
    PSObject: Path [string], Lists [int], Failed [int]
.NOTES
    Effect: Converge
    Rights: the right to change permissions there; for an owner, to restore files
    Errors: ExRemote.BadArgument, ExRemote.Link
#>
#requires -Version 2.0
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Low')]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Path,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Lists
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$said, $clock, $both = @{ Text = (New-Object Text.StringBuilder); At = 0 }, [Diagnostics.Stopwatch]::StartNew(), [Security.AccessControl.AccessControlSections]'Access, Owner'
# Protected; what calls it (File.SetAccessControl) takes no say in whether the owner is written, too.
$persist = [Security.AccessControl.NativeObjectSecurity].GetMethod('Persist', [Reflection.BindingFlags]'Instance, NonPublic', $null, [Type[]]@([string], [Security.AccessControl.AccessControlSections]), $null)

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
# As Get-FileSecurity does; '' where nothing is its own. A script travels alone.
function Get-Text($Security) {
    $raw = New-Object Security.AccessControl.RawSecurityDescriptor($Security.GetSecurityDescriptorBinaryForm(), 0)
    $closed, $text = (([int]$raw.ControlFlags -band 4096) -ne 0), ''
    foreach ($ace in @($raw.DiscretionaryAcl | Where-Object { $null -ne $_ })) {
        $bits, $flags = [int]$ace.AceFlags, ''
        if (-not $closed -and ($bits -band 16)) { continue }
        foreach ($pair in @((1, 'OI'), (2, 'CI'), (4, 'NP'), (8, 'IO'), (16, 'ID'))) { if ($bits -band $pair[0]) { $flags += $pair[1] } }
        $text += "($(@{ 0 = 'A'; 1 = 'D' }[[int]$ace.AceType]);$flags;0x$($ace.AccessMask.ToString('x'));;;$($ace.SecurityIdentifier.Value))"
    }
    if (-not $closed -and $text -eq '') { return '' }
    $owner = if ($null -eq $raw.Owner) { '' } else { "O:$($raw.Owner.Value)" }
    "${owner}D:$(if ($closed) { 'P' })$text"
}
function Get-List([string]$Place, [bool]$Folder) {
    if ($Folder) { Get-Text (New-Object Security.AccessControl.DirectorySecurity($Place, $both)) } else { Get-Text (New-Object Security.AccessControl.FileSecurity($Place, $both)) }
}
function Set-One([string]$Name, [string]$Sddl) {
    $place = if ($Name) { "$Path\$Name" } else { $Path }
    # A device, or a dot at the end of a name.
    $full = [IO.Path]::GetFullPath($place)
    if ($Name -and ($full -like '\\.\*' -or -not $full.EndsWith("\$Name", 'Ordinal'))) { return 'failed', 'ExRemote.BadName', 'Windows takes that name for another one.' }
    if (Test-Link $Path $Name) { return 'failed', 'ExRemote.Link', "$place leads over a link." }
    $folder = [IO.Directory]::Exists($place)
    if (-not $folder -and -not [IO.File]::Exists($place)) { return 'failed', 'ExRemote.PathMissing', 'It is not there.' }
    $wanted, $owned = $(if ($Sddl -eq 'D:') { '' } else { $Sddl }), $Sddl.StartsWith('O:', 'Ordinal')
    # What inherits is set all the same: it may inherit from the folder that it was moved from.
    if ($wanted -match '^[^D]*D:P' -and (Get-List $place $folder) -eq $wanted) { return 'same', '', '' }
    if (-not $PSCmdlet.ShouldProcess($place, "Set the access list $Sddl")) { return 'kept', '', '' }
    $security = if ($folder) { New-Object Security.AccessControl.DirectorySecurity } else { New-Object Security.AccessControl.FileSecurity }
    # A new one is empty and open to what comes from above. What Windows reads otherwise than it is meant is never set.
    if ($wanted -ne '') { $security.SetSecurityDescriptorSddlForm($Sddl, $(if ($owned) { $both } else { 'Access' })) }
    if ((Get-Text $security) -ne $wanted) { return 'failed', 'ExRemote.UnknownForm', "Windows reads the list as '$(Get-Text $security)'." }
    $why = ''
    try { [void]$persist.Invoke($security, [object[]]@($place, $(if ($owned) { $both } else { [Security.AccessControl.AccessControlSections]'Access' }))) } catch {
        if (-not $owned) { throw }
        $why = $_.Exception.GetBaseException().Message
        [void]$persist.Invoke($security, [object[]]@($place, [Security.AccessControl.AccessControlSections]'Access'))
    }
    $now = Get-List $place $folder
    if ($now -eq $wanted) { return 'set', '', '' }
    if ($owned -and $now.Substring([Math]::Max(0, $now.IndexOf('D:'))) -eq $wanted.Substring($wanted.IndexOf('D:'))) { return 'owner', 'ExRemote.OwnerDenied', "The owner stays as it is. $why" }
    'failed', 'ExRemote.NotSame', "Read back it is '$now'. $why"
}

if ($Path -notmatch '^([A-Za-z]:|\\\\[^\\]+\\[^\\]+)(\\[^\\]+)+$' -or $Path.Split('\/'.ToCharArray()) -contains '..') { Write-Error -ErrorId 'ExRemote.BadArgument' -Message "'$Path' is not the full path of a folder below a root." }
if (Test-Link $Path '') { Write-Error -ErrorId 'ExRemote.Link' -Message "$Path is a link." }
$packed = New-Object IO.MemoryStream (, [Convert]::FromBase64String($Lists))
$rows = @((New-Object IO.StreamReader (New-Object IO.Compression.DeflateStream($packed, [IO.Compression.CompressionMode]::Decompress))).ReadToEnd().Split("`n") | ForEach-Object { , $_.Split("`t") })
foreach ($row in @($rows)) { if ($row.Length -ne 2 -or $row[0] -notmatch '^(O:S-1-[-0-9]+)?D:' -or $row[1] -match '[:/*?]|^\\' -or ($row[1] -and @($row[1].Split('\') | Where-Object { $_.Trim('. '.ToCharArray()) -eq '' }).Length -gt 0)) { Write-Error -ErrorId 'ExRemote.BadArgument' -Message "'$($row[-1])' leads out of the folder, or has no list." } }
$answer = @{ Path = $Path; Lists = 0; Failed = 0 }
foreach ($row in @($rows)) {
    try { $state, $id, $why = Set-One $row[1] $row[0] } catch {
        $base = $_.Exception.GetBaseException(); $state, $why = 'failed', $base.Message
        $id = if ($base -is [UnauthorizedAccessException]) { 'ExRemote.AccessDenied' } else { 'ExRemote.SetFailed' }
    }
    $answer.Lists++; if ($state -eq 'failed') { $answer.Failed++ }
    $why = $why -replace '\s+', ' '
    [void]$said.Text.Append("$state`t$id`t$($why.Substring(0, [Math]::Min(300, $why.Length)))`n")
    if ($said.Text.Length -gt 40000 -or $clock.ElapsedMilliseconds - $said.At -gt 5000) { Send-Block }
}
Send-Block
New-Object PSObject -Property $answer
