<#
.SYNOPSIS
    Removes the files of one job of ntbackup on another computer and its folder, and ends the job first if it is told to.
.DESCRIPTION
    As on the computer itself; WMI says which processes run there, and ends them.
.PARAMETER ComputerName
    The computer.
.PARAMETER Folder
    The job's folder, a full path there.
.PARAMETER Name
    The job's name.
.PARAMETER End
    End the job if it runs; without this it is an error if it does.
.PARAMETER Keep
    Leave the files.
.PARAMETER UserName
    For WMI: an administrator there; without it the account that runs this.
.PARAMETER Password
    His password.
.EXAMPLE
    .\Remove-NtBackupJob.ps1 -ComputerName 'EXMSMAIL01' -Folder 'D:\exremote\systemstate' -Name 'job-1' -WhatIf
.OUTPUTS
    PSObject: Folder [string], Ended [int], Removed [string[]], Left [string[]], Error [string]
.NOTES
    Effect: Converge
    Rights: administrator of that computer
    Errors: ExRemote.BadArgument, ExRemote.JobRunning, ExRemote.TargetUnreachable, ExRemote.WmiUnavailable
#>
#requires -Version 2.0
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Low')]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$ComputerName,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Folder,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Name,
    [switch]$End,
    [switch]$Keep,
    [string]$UserName,
    [Security.SecureString]$Password
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
if ($Folder -notmatch '^[A-Za-z]:\\[A-Za-z0-9 ._\\-]+$' -or $Name -notmatch '^[A-Za-z0-9.-]+$') {
    Write-Error -ErrorId 'ExRemote.BadArgument' -Category InvalidArgument -Message "'$Folder' and '$Name' are not a folder and a job."
}
$answer = @{ Folder = $Folder; Ended = 0; Removed = [string[]]@(); Left = [string[]]@(); Error = '' }
$share, $why, $running = "\\$ComputerName\$($Folder[0])`$", '', @()
# Whether a folder exists is answered with no and no reason where the share is gone.
try { [void][IO.Directory]::GetDirectories("$share\", 'exremote-none') } catch { $why = $_.Exception.GetBaseException().Message }
if ($why -ne '') { Write-Error -ErrorId 'ExRemote.TargetUnreachable' -Category ResourceUnavailable -Message "$($share): $why" }
$info = [IO.DirectoryInfo]"$share$($Folder.Substring(2))"
$base = "$($info.FullName)\$Name"

# The command file that waits for ntbackup, if it is there; then each ntbackup that is younger than the job.
function Get-Own {
    if (-not [IO.File]::Exists("$base.pid") -or [IO.File]::Exists("$base.rc")) { return }
    $began, $own = ([IO.FileInfo]"$base.cmd").LastWriteTime, [int][IO.File]::ReadAllText("$base.pid")
    $how = New-Object Management.ConnectionOptions
    if ($UserName -ne '') { $how.Username, $how.SecurePassword = $UserName, $Password }
    $how.Timeout = [TimeSpan]::FromSeconds(60)
    $scope = New-Object Management.ManagementScope("\\$ComputerName\root\cimv2", $how)
    $scope.Connect()
    $search = New-Object Management.ManagementObjectSearcher($scope, (New-Object Management.ObjectQuery "SELECT * FROM Win32_Process WHERE Name = 'ntbackup.exe' OR Name = 'cmd.exe'"))
    $all = @($search.Get())
    $waiting = @($all | Where-Object { [int]$_['ProcessId'] -eq $own -and [string]$_['Name'] -eq 'cmd.exe' })
    if ($waiting.Length -eq 0) { return }
    $waiting
    $all | Where-Object { [string]$_['Name'] -eq 'ntbackup.exe' -and [Management.ManagementDateTimeConverter]::ToDateTime([string]$_['CreationDate']) -ge $began.AddSeconds(-2) }
}
try { $running = @(if ($info.Exists) { Get-Own }) } catch { $why = $_.Exception.GetBaseException().Message }
if ($why -ne '') { Write-Error -ErrorId 'ExRemote.WmiUnavailable' -Category ResourceUnavailable -Message "$($ComputerName): $why" }
if ($running.Length -gt 0 -and -not $End) {
    Write-Error -ErrorId 'ExRemote.JobRunning' -Category ResourceBusy -Message "The job in $Folder still runs (process $($running[0]['ProcessId']))."
}
if ($info.Exists -and $PSCmdlet.ShouldProcess($Folder, 'Remove the files of a job of ntbackup')) {
    $gone = New-Object Collections.ArrayList
    foreach ($process in @($running)) {
        try {
            $code = [int]$process.InvokeMethod('Terminate', [object[]]@(0))
            if ($code -eq 0) { $answer.Ended++ } else { $answer.Error = "Win32_Process.Terminate returned $code." }
        } catch { $answer.Error = $_.Exception.GetBaseException().Message }
    }
    if ($running.Length -gt 0) { Start-Sleep -Seconds 2 }    # their files close when they are gone
    # No pattern: Windows takes one for short names, too.
    foreach ($file in @(if (-not $Keep) { $info.GetFiles() | Where-Object { $_.Name.StartsWith("$Name.", 'OrdinalIgnoreCase') } })) {
        try { $file.Delete(); [void]$gone.Add($file.Name) } catch { $answer.Error = $_.Exception.GetBaseException().Message }
    }
    $answer.Removed = [string[]]$gone.ToArray()
    try { if (-not $Keep -and $info.GetFileSystemInfos().Length -eq 0) { $info.Delete() } } catch { $answer.Error = $_.Exception.GetBaseException().Message }
    $info.Refresh()
}
$answer.Left = [string[]]@(if ($info.Exists) { $info.GetFileSystemInfos() | ForEach-Object { $_.Name } })
try { [void][IO.Directory]::GetDirectories("$share\", 'exremote-none') } catch { $why = $_.Exception.GetBaseException().Message }
if ($why -ne '') { Write-Error -ErrorId 'ExRemote.TargetUnreachable' -Category ResourceUnavailable -Message "$($share): $why" }
New-Object PSObject -Property $answer
