<#
.SYNOPSIS
    Starts one job of ntbackup by a scheduled task, in a folder of its own.
.DESCRIPTION
    The folder gets what Start-NtBackupJob puts there, and a batch file (.bat) that runs the command file once: it needs
    the .go, and holds the .run open meanwhile. With -Task, a task that an administrator made beforehand runs ..\task\start.cmd,
    which is written here; without, a task of the system is made, named as the job, and its mark .task. Only administrators
    and the system may enter the folders. schtasks.exe is told no date and no time, asked for no text, and gives no input.
.PARAMETER Folder
    The job's folder, a full path; made if it is not there.
.PARAMETER Name
    The job's name: letters, digits, dots and hyphens.
.PARAMETER Selection
    Lines of the selection.
.PARAMETER Arguments
    What stands behind the program's name on the command line.
.PARAMETER Task
    The task that is there already; none: one of the system is made.
.EXAMPLE
    .\Start-NtBackupTask.ps1 -Folder 'D:\exremote\systemstate' -Name 'job-1' -Selection 'SystemState' -Arguments 'backup "@D:\exremote\systemstate\job-1.bks" /J "job-1" /F "\\FS01\backup$\job-1.bkf"' -Task 'exremote ntbackup' -WhatIf
.OUTPUTS
    PSObject: Folder [string], Started [bool], ProcessId [int], Private [bool], StartedUtc [datetime]
.NOTES
    Effect: Once
    Rights: administrator
    Errors: ExRemote.BadArgument, ExRemote.ProgramMissing, ExRemote.SchedulerMissing, ExRemote.JobRunning, ExRemote.JobThere, ExRemote.TaskRefused, ExRemote.StartFailed
#>
#requires -Version 2.0
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Low')]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Folder,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Name,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string[]]$Selection,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Arguments,
    [string]$Task = ''
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
# What a command file would read as its own sign may not get into one.
if ($Folder -notmatch '^[A-Za-z]:(\\[A-Za-z0-9 ._-]+){2,}$' -or $Task -notmatch '^[A-Za-z0-9 ._-]*$') {
    Write-Error -ErrorId 'ExRemote.BadArgument' -Category InvalidArgument -Message "'$Folder' and '$Task' are not a full path and a task of plain letters."
}
if ($Name -notmatch '^[A-Za-z0-9.-]+$' -or $Arguments -match '[^ -~]|[%&|<>^!]') {
    Write-Error -ErrorId 'ExRemote.BadArgument' -Category InvalidArgument -Message "'$Name' or its command line has a sign that a command file takes for its own."
}
# A 32-bit process on 64-bit Windows is shown another System32.
$native = @(@("$env:SystemRoot\Sysnative", "$env:SystemRoot\System32") | Where-Object { [IO.Directory]::Exists($_) })[0]
$program, $scheduler = "$native\ntbackup.exe", "$native\schtasks.exe"
if (-not [IO.File]::Exists($program)) { Write-Error -ErrorId 'ExRemote.ProgramMissing' -Category ObjectNotFound -Message 'There is no ntbackup.exe on this host.' }
if (-not [IO.File]::Exists($scheduler)) { Write-Error -ErrorId 'ExRemote.SchedulerMissing' -Category ObjectNotFound -Message 'There is no schtasks.exe on this host.' }
$others = @([Diagnostics.Process]::GetProcessesByName('ntbackup'))
if ($others.Length -gt 0) {
    Write-Error -ErrorId 'ExRemote.JobRunning' -Category ResourceBusy -Message "ntbackup runs already (process $($others[0].Id))."
}
$info, $base = [IO.DirectoryInfo]$Folder, "$Folder\$Name"
if ($info.Exists -and $info.GetFiles().Length -gt 0) {
    Write-Error -ErrorId 'ExRemote.JobThere' -Category ResourceExists -Message "$Folder holds files of another job."
}
function Set-Private([IO.DirectoryInfo]$Place) {
    $Place.Create()
    try {
        $rights = New-Object Security.AccessControl.DirectorySecurity
        $rights.SetSecurityDescriptorSddlForm('D:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;FA;;;CO)')
        $Place.SetAccessControl($rights)
        $true
    } catch { Write-Verbose "Rights could not be set: $($_.Exception.GetBaseException().Message)"; $false }
}
# Its words are in the host's language: only the exit code counts. One that asks gets no answer, and ends.
function Get-Refusal([string]$Order) {
    $how = New-Object Diagnostics.ProcessStartInfo($scheduler, $Order)
    $how.UseShellExecute, $how.CreateNoWindow = $false, $true
    $how.RedirectStandardInput, $how.RedirectStandardError = $true, $true
    $process = [Diagnostics.Process]::Start($how)
    $process.StandardInput.Close()
    $said = $process.StandardError.ReadToEnd()
    $process.WaitForExit()
    if ($process.ExitCode -ne 0) { "schtasks.exe ended with $($process.ExitCode). $said".Trim() }
}
function Write-Order([string]$Path, [string[]]$Line) { [IO.File]::WriteAllText($Path, [string]::Join("`r`n", $Line) + "`r`n", [Text.Encoding]::ASCII) }

$answer = @{ Folder = $Folder; Started = $false; ProcessId = 0; Private = $false; StartedUtc = [DateTime]::UtcNow }
if ($PSCmdlet.ShouldProcess($Folder, 'Start ntbackup')) {
    $refused = $null
    try {
        $answer.Private = Set-Private $info
        [IO.File]::WriteAllText("$base.bks", [string]::Join("`r`n", $Selection) + "`r`n", [Text.Encoding]::Unicode)
        # ERRORLEVEL in front of the sign: "1>file" would be a redirection. The name tells that it was written to its end.
        Write-Order "$base.cmd" @('@echo off', "`"$program`" $Arguments", ">`"$base.end`" echo %ERRORLEVEL%", "move /y `"$base.end`" `"$base.rc`" >nul")
        # Who starts it again, as at the next start of Windows, starts nothing.
        Write-Order "$base.bat" @('@echo off', "if not exist `"$base.go`" goto :eof", "move /y `"$base.go`" `"$base.run`" >nul", "if not exist `"$base.run`" goto :eof", ">`"$base.run`" call `"$base.cmd`"")
        Write-Order "$base.go" @($Name)
        if ($Task -ne '') {
            $place = [IO.DirectoryInfo]([IO.Path]::GetDirectoryName($Folder) + '\task')
            $answer.Private = (Set-Private $place) -and $answer.Private
            Write-Order "$place\start.cmd" @("@call `"$base.bat`"")
        } else {
            Write-Order "$base.task" @($Name)
            # ONSTART alone is made without a time, whose form is another one in each Windows.
            $refused = Get-Refusal "/create /tn `"$Name`" /ru SYSTEM /sc onstart /tr `"\`"$base.bat\`"`""
        }
        if (-not $refused) { $refused = Get-Refusal "/run /tn `"$(if ($Task -ne '') { $Task } else { $Name })`"" }
        if ($refused -and $Task -eq '') { [void](Get-Refusal "/delete /tn `"$Name`" /f") }
        $answer.Started = -not $refused
    } catch {
        $why = $_.Exception.GetBaseException().Message
        if ([IO.File]::Exists("$base.go")) { [IO.File]::Delete("$base.go") }    # or the next start of Windows would begin it
        Write-Error -ErrorId 'ExRemote.StartFailed' -Message "ntbackup could not be started. $why"
    }
    if ($refused) { [IO.File]::Delete("$base.go"); Write-Error -ErrorId 'ExRemote.TaskRefused' -Category InvalidOperation -Message $refused }
}
New-Object PSObject -Property $answer
