<#
.SYNOPSIS
    Removes the files of one job of ntbackup and its folder, and ends the job first if it is told to.
.DESCRIPTION
    Only files that a job has, under its name, go; a folder that holds anything else stays. A job that runs is left alone unless
    -End is given: then the ntbackup that began since the job did is ended, and the command file that waits for it. One whose
    task has not begun it will not begin any more; a task that was made for it goes, too. A folder on a share stays.
.PARAMETER Folder
    The job's folder, a full path.
.PARAMETER Name
    The job's name.
.PARAMETER End
    End the job if it still runs.
.PARAMETER Keep
    End it only; its files stay.
.EXAMPLE
    .\Remove-NtBackupJob.ps1 -Folder 'D:\exremote\systemstate' -Name 'job-1' -WhatIf
.OUTPUTS
    PSObject: Folder [string], Ended [int], Removed [string[]], Left [string[]], Error [string]
.NOTES
    Effect: Converge
    Rights: administrator, or backup operator with write access to the folder
    Errors: ExRemote.BadArgument, ExRemote.JobRunning
#>
#requires -Version 2.0
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Low')]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Folder,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Name,
    [switch]$End,
    [switch]$Keep
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
if ($Folder -notmatch '^([A-Za-z]:|\\\\[A-Za-z0-9._-]+)\\[A-Za-z0-9 ._$\\-]+$' -or $Name -notmatch '^[A-Za-z0-9.-]+$') {
    Write-Error -ErrorId 'ExRemote.BadArgument' -Category InvalidArgument -Message "'$Folder' and '$Name' are not a folder and a job."
}
$answer = @{ Folder = $Folder; Ended = 0; Removed = [string[]]@(); Left = [string[]]@(); Error = '' }
$info, $base = [IO.DirectoryInfo]$Folder, "$Folder\$Name"

# The command file that waits for ntbackup, if it is there; then each ntbackup that is younger than the job.
function Test-Held {
    if (-not [IO.File]::Exists("$base.run")) { return $false }
    try { [IO.File]::Open("$base.run", 'Open', 'Read', 'None').Close(); $false } catch [IO.IOException] { $true }
}
function Get-Own {
    if ([IO.File]::Exists("$base.rc")) { return }
    $began = ([IO.FileInfo]"$base.cmd").LastWriteTime
    if ($held) { return @([Diagnostics.Process]::GetProcessesByName('ntbackup')) | Where-Object { $_.StartTime -ge $began.AddSeconds(-2) } }
    if (-not [IO.File]::Exists("$base.pid")) { return }
    try {
        $waiting = [Diagnostics.Process]::GetProcessById([int][IO.File]::ReadAllText("$base.pid"))
        if ($waiting.ProcessName -ne 'cmd') { return }
        $waiting
        @([Diagnostics.Process]::GetProcessesByName('ntbackup')) | Where-Object { $_.StartTime -ge $began.AddSeconds(-2) }
    } catch { Write-Verbose "It does not run: $($_.Exception.GetBaseException().Message)" }
}
# Its words are in the host's language: the exit code counts, and the file that Windows has of each task.
function Get-LeftTask {
    $how = New-Object Diagnostics.ProcessStartInfo("$env:SystemRoot\System32\schtasks.exe", "/delete /tn `"$Name`" /f")
    $how.UseShellExecute, $how.CreateNoWindow, $how.RedirectStandardInput = $false, $true, $true
    $process = [Diagnostics.Process]::Start($how)
    $process.StandardInput.Close()
    $process.WaitForExit()
    if ($process.ExitCode -ne 0 -and [IO.File]::Exists("$env:SystemRoot\Tasks\$Name.job")) { "The task $Name could not be removed: schtasks.exe ended with $($process.ExitCode)." }
}
$act = $info.Exists -and $PSCmdlet.ShouldProcess($Folder, 'Remove the files of a job of ntbackup')
if ($act) { [IO.File]::Delete("$base.go") }
$held = Test-Held
$running = @(if ($info.Exists) { Get-Own })
if (($running.Length -gt 0 -or $held) -and -not $End) {
    Write-Error -ErrorId 'ExRemote.JobRunning' -Category ResourceBusy -Message "The job in $Folder still runs (process $(@($running | ForEach-Object { $_.Id }) -join ', '))."
}
if ($act) {
    $gone, $last = (New-Object Collections.ArrayList), ''
    foreach ($process in @($running)) {
        try { $process.Kill(); [void]$process.WaitForExit(10000); $answer.Ended++ }
        catch { $answer.Error = $_.Exception.GetBaseException().Message }
    }
    for ($count = 0; $count -lt 50 -and (Test-Held); $count++) { [Threading.Thread]::Sleep(200) }
    if (-not $Keep -and [IO.File]::Exists("$base.task")) {
        # What says that there is a task goes last, and stays as long as there is one.
        try { $last = "$(Get-LeftTask)" } catch { $last = $_.Exception.GetBaseException().Message }
        $answer.Error = $last
    }
    # No pattern: Windows takes one for short names, too. What somebody put beside under a longer name is not the job's.
    $mine = @('bkf', 'bks', 'cmd', 'bat', 'go', 'run', 'end', 'rc', 'pid', 'task' | ForEach-Object { "$Name.$_" })
    foreach ($file in @(if (-not $Keep) { $info.GetFiles() | Where-Object { $mine -contains $_.Name } })) {
        if ($last -and '.task', '.cmd' -contains $file.Extension) { continue }
        try { $file.Delete(); [void]$gone.Add($file.Name) } catch { $answer.Error = $_.Exception.GetBaseException().Message }
    }
    $answer.Removed = [string[]]$gone.ToArray()
    try { if (-not $Keep -and $Folder -match '^[A-Za-z]:' -and $info.GetFileSystemInfos().Length -eq 0) { $info.Delete() } } catch { $answer.Error = $_.Exception.GetBaseException().Message }
    $info.Refresh()
}
$answer.Left = [string[]]@(if ($info.Exists) { $info.GetFileSystemInfos() | ForEach-Object { $_.Name } })
New-Object PSObject -Property $answer
