<#
.SYNOPSIS
    Starts one job of ntbackup that goes on when the session ends, in a folder of its own.
.DESCRIPTION
    The folder gets the selection (.bks, UTF-16 with its mark), a command file that catches the exit code, and, from ntbackup,
    the .bkf; only administrators and the system may enter it. Nothing is started while any ntbackup runs, or where the
    folder has a job already. Wmi: a process that WMI makes outlives the session; Direct: a child of the session, for a
    host whose WMI is out of order, which ends with the session.
.PARAMETER Folder
    The job's folder, a full path; made if it is not there.
.PARAMETER Name
    The job's name: letters, digits, dots and hyphens.
.PARAMETER Selection
    Lines of the selection.
.PARAMETER Arguments
    What stands behind the program's name on the command line.
.PARAMETER Start
    How it is started.
.EXAMPLE
    .\Start-NtBackupJob.ps1 -Folder 'D:\exremote\systemstate' -Name 'job-1' -Selection 'SystemState' -Arguments 'backup "@D:\exremote\systemstate\job-1.bks" /J "job-1" /F "D:\exremote\systemstate\job-1.bkf"' -WhatIf
.OUTPUTS
    PSObject: Folder [string], Started [bool], ProcessId [int], Private [bool], StartedUtc [datetime]
.NOTES
    Effect: Once
    Rights: administrator, or backup operator with write access to the folder
    Errors: ExRemote.BadArgument, ExRemote.ProgramMissing, ExRemote.JobRunning, ExRemote.JobThere, ExRemote.StartFailed
#>
#requires -Version 2.0
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Low')]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Folder,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Name,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string[]]$Selection,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Arguments,
    [ValidateSet('Wmi', 'Direct')] [string]$Start = 'Wmi'
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
# What a command file would read as its own sign may not get into one.
if ($Folder -notmatch '^[A-Za-z]:\\[A-Za-z0-9 ._\\-]+$') {
    Write-Error -ErrorId 'ExRemote.BadArgument' -Category InvalidArgument -Message "'$Folder' is not a full path of plain letters."
}
if ($Name -notmatch '^[A-Za-z0-9.-]+$' -or $Arguments -match '[^ -~]|[%&|<>^!]') {
    Write-Error -ErrorId 'ExRemote.BadArgument' -Category InvalidArgument -Message "'$Name' or its command line has a sign that a command file takes for its own."
}
# A 32-bit process on 64-bit Windows is shown another System32.
$program = @(@("$env:SystemRoot\Sysnative", "$env:SystemRoot\System32") | ForEach-Object { "$_\ntbackup.exe" } | Where-Object { [IO.File]::Exists($_) })
if ($program.Length -eq 0) { Write-Error -ErrorId 'ExRemote.ProgramMissing' -Category ObjectNotFound -Message 'There is no ntbackup.exe on this host.' }
$others = @([Diagnostics.Process]::GetProcessesByName('ntbackup'))
if ($others.Length -gt 0) {
    Write-Error -ErrorId 'ExRemote.JobRunning' -Category ResourceBusy -Message "ntbackup runs already (process $($others[0].Id))."
}
$info = [IO.DirectoryInfo]$Folder
if ($info.Exists -and $info.GetFiles().Length -gt 0) {
    Write-Error -ErrorId 'ExRemote.JobThere' -Category ResourceExists -Message "$Folder holds files of another job."
}

$answer = @{ Folder = $Folder; Started = $false; ProcessId = 0; Private = $false; StartedUtc = [DateTime]::UtcNow }
if ($PSCmdlet.ShouldProcess($Folder, 'Start ntbackup')) {
    try {
        $info.Create()
        try {
            $rights = New-Object Security.AccessControl.DirectorySecurity
            $rights.SetSecurityDescriptorSddlForm('D:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;FA;;;CO)')
            $info.SetAccessControl($rights)
            $answer.Private = $true
        } catch { Write-Verbose "Rights could not be set: $($_.Exception.GetBaseException().Message)" }
        $base = "$Folder\$Name"
        [IO.File]::WriteAllText("$base.bks", [string]::Join("`r`n", $Selection) + "`r`n", [Text.Encoding]::Unicode)
        # ERRORLEVEL in front of the sign: "1>file" would be a redirection. The name tells that it was written to its end.
        $lines = @(
            '@echo off', ('"' + $program[0] + '" ' + $Arguments),
            ('>"' + $base + '.end" echo %ERRORLEVEL%'), ('move /y "' + $base + '.end" "' + $base + '.rc" >nul')
        )
        [IO.File]::WriteAllText("$base.cmd", [string]::Join("`r`n", $lines) + "`r`n", [Text.Encoding]::ASCII)
        $shell = "$env:SystemRoot\System32\cmd.exe"
        $line = '/d /c ""' + $base + '.cmd""'
        if ($Start -eq 'Wmi') {
            $made = (New-Object Management.ManagementClass 'Win32_Process').Create(('"' + $shell + '" ' + $line), $Folder)
            if ([int]$made.ReturnValue -ne 0) { throw "Win32_Process.Create returned $($made.ReturnValue)." }
            $answer.ProcessId = [int]$made.ProcessId
        } else {
            $how = New-Object Diagnostics.ProcessStartInfo($shell, $line)
            $how.UseShellExecute, $how.CreateNoWindow, $how.WorkingDirectory = $false, $true, $Folder
            $answer.ProcessId = [int][Diagnostics.Process]::Start($how).Id
        }
        $answer.Started = $true
        [IO.File]::WriteAllText("$base.pid", "$($answer.ProcessId)", [Text.Encoding]::ASCII)
    } catch {
        Write-Error -ErrorId 'ExRemote.StartFailed' -Message "ntbackup could not be started. $($_.Exception.GetBaseException().Message)"
    }
}
New-Object PSObject -Property $answer
