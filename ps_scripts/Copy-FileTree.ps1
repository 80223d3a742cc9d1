<#
.SYNOPSIS
    Copies a folder and all below it into a staging folder of the same host.
.DESCRIPTION
    For files that can only be read while a service is stopped: the copy is read later, and the service runs again. Times
    and attributes come along; the staging folder is closed to all but administrators (Private). A link is not followed.
    A file that is still held is tried again for some seconds in all: a process may end later than its service. What
    cannot be copied is told file by file, and the rest goes on; a full disk ends it.
.PARAMETER Path
    The folder, a full path.
.PARAMETER Staging
    The folder for the copy, a full path; its name begins with exremote-.
.EXAMPLE
    .\Copy-FileTree.ps1 -Path 'D:\Msmcon\Maildata' -Staging 'D:\exremote-copy-maildata'
.OUTPUTS
    [long] bytes copied so far, now and then
    PSObject: File [string], ErrorId [string], Message [string]
    PSObject: Path [string], Files [long], Bytes [long], Failed [long], Private [bool]
.NOTES
    Effect: Converge
    Rights: the right to read the folder and to write the staging folder
    Errors: ExRemote.BadArgument, ExRemote.PathMissing, ExRemote.DiskFull
#>
#requires -Version 2.0
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Low')]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Path,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Staging
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$clock, $said, $patience = [Diagnostics.Stopwatch]::StartNew(), @{ At = 0 }, @{ Ms = 10000 }
# Protected in .NET 2.0; Marshal.GetHRForException would leave its text behind for the next COM error of the thread.
$hresult = [Exception].GetProperty('HResult', [Reflection.BindingFlags]'Instance, Public, NonPublic')

function Get-Code([Exception]$Exception) { $hresult.GetValue($Exception.GetBaseException(), $null) -band 65535 }
function Send-Failure([string]$File, [Exception]$Exception) {
    $base = $Exception.GetBaseException(); $code = Get-Code $base
    if ($code -eq 112 -or $code -eq 39) { Write-Error -ErrorId 'ExRemote.DiskFull' -Message "$($File): $($base.Message)" }
    $reason = 'ExRemote.ReadFailed'
    if ($base -is [UnauthorizedAccessException]) { $reason = 'ExRemote.AccessDenied' }
    elseif ($base -is [IO.FileNotFoundException] -or $base -is [IO.DirectoryNotFoundException]) { $reason = 'ExRemote.FileMissing' }
    elseif ($code -eq 32 -or $code -eq 33) { $reason = 'ExRemote.FileLocked' }
    New-Object PSObject -Property @{ File = $File; ErrorId = $reason; Message = [string]$base.Message }
}
function Copy-One([string]$From, [string]$To) {
    while ($true) {
        try { [IO.File]::Copy($From, $To, $true); return } catch {
            $code = Get-Code $_.Exception
            if (($code -ne 32 -and $code -ne 33) -or $patience.Ms -le 0) { throw }
        }
        $patience.Ms -= 250
        [Threading.Thread]::Sleep(250)
    }
}

$from, $to = $Path.TrimEnd('\'), $Staging.TrimEnd('\')
$form = '^([A-Za-z]:|\\\\[^\\]+\\[^\\]+)(\\[^\\]+)+$'
foreach ($one in @($from, $to)) {
    if ($one -notmatch $form -or $one.Split('\/'.ToCharArray()) -contains '..') { Write-Error -ErrorId 'ExRemote.BadArgument' -Message "'$one' is not the full path of a folder." }
}
if (-not [IO.Path]::GetFileName($to).StartsWith('exremote-', 'OrdinalIgnoreCase') -or "$to\".StartsWith("$from\", 'OrdinalIgnoreCase')) {
    Write-Error -ErrorId 'ExRemote.BadArgument' -Message "'$Staging' is no folder beside the other one whose name begins with exremote-."
}
if (-not [IO.Directory]::Exists($from)) { Write-Error -ErrorId 'ExRemote.PathMissing' -Message "$Path is not there." }
$answer = @{ Path = $Path; Files = [long]0; Bytes = [long]0; Failed = [long]0; Private = $false }
if ($PSCmdlet.ShouldProcess($from, "Copy to $to")) {
    $info = [IO.DirectoryInfo]$to
    $info.Create()
    try {
        $rights = New-Object Security.AccessControl.DirectorySecurity
        $rights.SetSecurityDescriptorSddlForm('D:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;FA;;;CO)')
        $info.SetAccessControl($rights)
        $answer.Private = $true
    } catch { Write-Verbose "Rights could not be set: $($_.Exception.GetBaseException().Message)" }
    $todo = New-Object Collections.Stack
    $todo.Push('')
    while ($todo.Count -gt 0) {
        $folder, $entries = $todo.Pop(), @()
        try {
            [void][IO.Directory]::CreateDirectory($to + $folder)
            $entries = [IO.Directory]::GetFileSystemEntries($from + $folder + '\')
        } catch { $answer.Failed++; Send-Failure $folder.TrimStart('\') $_.Exception }
        foreach ($entry in @($entries)) {
            $name = $entry.Substring($from.Length)
            try {
                $info = [IO.FileInfo]$entry
                $bits = [int]$info.Attributes
                if ($bits -eq -1) { continue }    # gone since
                if (($bits -band 1040) -eq 16) { $todo.Push($name); continue }
                if (($bits -band 1024) -ne 0) { throw 'A link to another place is not followed.' }
                if ([IO.File]::Exists($to + $name)) { [IO.File]::SetAttributes($to + $name, 'Normal') }
                Copy-One $entry ($to + $name)
                $answer.Files++; $answer.Bytes += $info.Length
            } catch { $answer.Failed++; Send-Failure $name.TrimStart('\') $_.Exception }
            if ($clock.ElapsedMilliseconds - $said.At -gt 2000) { $said.At = $clock.ElapsedMilliseconds; $answer.Bytes }
        }
    }
}
New-Object PSObject -Property $answer
