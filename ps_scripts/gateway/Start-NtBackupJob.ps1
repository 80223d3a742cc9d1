<#
.SYNOPSIS
    Starts one job of ntbackup on another computer, in a folder of its own there.
.DESCRIPTION
    As on the computer itself, by a process that WMI makes there. It has a log-on from the network: it reaches no third one.
.PARAMETER ComputerName
    The computer.
.PARAMETER Folder
    The job's folder, a full path there; made if it is not there.
.PARAMETER Name
    The job's name: letters, digits, dots and hyphens.
.PARAMETER Selection
    Lines of the selection.
.PARAMETER Arguments
    What stands behind the program's name on the command line.
.PARAMETER Start
    How it is started; Direct is not possible on another computer.
.PARAMETER UserName
    For WMI: an administrator there; without it the account that runs this.
.PARAMETER Password
    His password.
.EXAMPLE
    .\Start-NtBackupJob.ps1 -ComputerName 'EXMSMAIL01' -Folder 'D:\exremote\systemstate' -Name 'job-1' -Selection 'SystemState' -Arguments 'backup "@D:\exremote\systemstate\job-1.bks" /J "job-1" /F "D:\exremote\systemstate\job-1.bkf"' -WhatIf
.OUTPUTS
    PSObject: Folder [string], Started [bool], ProcessId [int], Private [bool], StartedUtc [datetime]
.NOTES
    Effect: Once
    Rights: administrator of that computer
    Errors: ExRemote.BadArgument, ExRemote.ProgramMissing, ExRemote.JobRunning, ExRemote.JobThere, ExRemote.StartFailed, ExRemote.TargetUnreachable, ExRemote.WmiUnavailable
#>
#requires -Version 2.0
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Low')]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$ComputerName,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Folder,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Name,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string[]]$Selection,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Arguments,
    [ValidateSet('Wmi', 'Direct')] [string]$Start = 'Wmi',
    [string]$UserName,
    [Security.SecureString]$Password
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
# What a command file would read as its own sign may not get into one.
if ($Folder -notmatch '^[A-Za-z]:\\[A-Za-z0-9 ._\\-]+$' -or $Start -eq 'Direct') {
    Write-Error -ErrorId 'ExRemote.BadArgument' -Category InvalidArgument -Message "'$Folder' is not a full path of plain letters, or Direct was asked for."
}
if ($Name -notmatch '^[A-Za-z0-9.-]+$' -or $Arguments -match '[^ -~]|[%&|<>^!]') {
    Write-Error -ErrorId 'ExRemote.BadArgument' -Category InvalidArgument -Message "'$Name' or its command line has a sign that a command file takes for its own."
}
$there, $root, $why = "\\$ComputerName\$($Folder[0])`$$($Folder.Substring(2))", '', ''
try {
    $key = [Microsoft.Win32.RegistryKey]::OpenRemoteBaseKey('LocalMachine', $ComputerName).OpenSubKey('SOFTWARE\Microsoft\Windows NT\CurrentVersion')
    $root = [string]$key.GetValue('SystemRoot')
    [void][IO.Directory]::GetDirectories("\\$ComputerName\$($Folder[0])`$\", 'exremote-none')
} catch { $why = $_.Exception.GetBaseException().Message }
if ($why -ne '') { Write-Error -ErrorId 'ExRemote.TargetUnreachable' -Category ResourceUnavailable -Message "$($ComputerName): $why" }
$program = "$root\System32\ntbackup.exe"
if (-not [IO.File]::Exists("\\$ComputerName\$($program[0])`$$($program.Substring(2))")) { Write-Error -ErrorId 'ExRemote.ProgramMissing' -Category ObjectNotFound -Message 'There is no ntbackup.exe on this host.' }
$info, $others = [IO.DirectoryInfo]$there, @()
if ($info.Exists -and $info.GetFiles().Length -gt 0) {
    Write-Error -ErrorId 'ExRemote.JobThere' -Category ResourceExists -Message "$Folder holds files of another job."
}
$answer = @{ Folder = $Folder; Started = $false; ProcessId = 0; Private = $false; StartedUtc = [DateTime]::UtcNow }
if ($PSCmdlet.ShouldProcess($Folder, 'Start ntbackup')) {
    try {
        $how = New-Object Management.ConnectionOptions
        if ($UserName -ne '') { $how.Username, $how.SecurePassword = $UserName, $Password }
        $how.Timeout = [TimeSpan]::FromSeconds(100)
        $scope = New-Object Management.ManagementScope("\\$ComputerName\root\cimv2", $how)
        $scope.Connect()
        $search = New-Object Management.ManagementObjectSearcher($scope, (New-Object Management.ObjectQuery "SELECT ProcessId FROM Win32_Process WHERE Name = 'ntbackup.exe'"))
        $others = @($search.Get())
    } catch { $why = $_.Exception.GetBaseException().Message }
    if ($why -ne '') { Write-Error -ErrorId 'ExRemote.WmiUnavailable' -Category ResourceUnavailable -Message "$($ComputerName): $why" }
    if ($others.Length -gt 0) { Write-Error -ErrorId 'ExRemote.JobRunning' -Category ResourceBusy -Message "ntbackup runs already (process $($others[0]['ProcessId']))." }
    try {
        $info.Create()
        try {
            $rights = New-Object Security.AccessControl.DirectorySecurity
            $rights.SetSecurityDescriptorSddlForm('D:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;FA;;;CO)')
            $info.SetAccessControl($rights)
            $answer.Private = $true
        } catch { Write-Verbose "Rights could not be set: $($_.Exception.GetBaseException().Message)" }
        $base = "$Folder\$Name"
        [IO.File]::WriteAllText("$there\$Name.bks", [string]::Join("`r`n", $Selection) + "`r`n", [Text.Encoding]::Unicode)
        # ERRORLEVEL in front of the sign: "1>file" would be a redirection. The name tells that it was written to its end.
        $lines = @(
            '@echo off', ('"' + $program + '" ' + $Arguments),
            ('>"' + $base + '.end" echo %ERRORLEVEL%'), ('move /y "' + $base + '.end" "' + $base + '.rc" >nul')
        )
        [IO.File]::WriteAllText("$there\$Name.cmd", [string]::Join("`r`n", $lines) + "`r`n", [Text.Encoding]::ASCII)
        $class = New-Object Management.ManagementClass($scope, (New-Object Management.ManagementPath 'Win32_Process'), $null)
        $said = $class.GetMethodParameters('Create')
        $said['CommandLine'], $said['CurrentDirectory'] = ('"' + $root + '\System32\cmd.exe" /d /c ""' + $base + '.cmd""'), $Folder
        $made = $class.InvokeMethod('Create', $said, $null)
        if ([int]$made['ReturnValue'] -ne 0) { throw "Win32_Process.Create returned $($made['ReturnValue'])." }
        $answer.ProcessId, $answer.Started = [int]$made['ProcessId'], $true
        [IO.File]::WriteAllText("$there\$Name.pid", "$($answer.ProcessId)", [Text.Encoding]::ASCII)
    } catch {
        Write-Error -ErrorId 'ExRemote.StartFailed' -Message "ntbackup could not be started. $($_.Exception.GetBaseException().Message)"
    }
}
New-Object PSObject -Property $answer
