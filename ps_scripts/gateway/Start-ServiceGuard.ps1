<#
.SYNOPSIS
    Has another computer start services by itself after a time, unless the guard's folder is removed before.
.DESCRIPTION
    For services that are stopped for a moment, should whoever stopped them vanish. A process there, which WMI makes, waits,
    and then runs a command file in the folder: without the file it ends and does nothing.
.PARAMETER ComputerName
    The computer.
.PARAMETER Folder
    The guard's folder, a full path of plain letters; its name begins with exremote-. It is made.
.PARAMETER Service
    Short names of the services, in the order in which they are to start.
.PARAMETER Seconds
    After how long.
.PARAMETER UserName
    For WMI: an administrator there; without it the account that runs this.
.PARAMETER Password
    His password.
.EXAMPLE
    .\Start-ServiceGuard.ps1 -ComputerName 'EXMSMAIL01' -Folder 'D:\exremote-guard-msmail' -Service 'MSExchangeMSMI', 'MTA1' -Seconds 3600
.OUTPUTS
    PSObject: Folder [string], Started [bool], ProcessId [int]
.NOTES
    Effect: Converge
    Rights: administrator of that computer
    Errors: ExRemote.BadArgument, ExRemote.StartFailed
#>
#requires -Version 2.0
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Low')]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$ComputerName,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Folder,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string[]]$Service,
    [Parameter(Mandatory = $true)] [ValidateRange(1, 86400)] [int]$Seconds,
    [string]$UserName,
    [Security.SecureString]$Password
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
# What a command file would read as its own sign may not get into one.
if ($Folder -notmatch '^[A-Za-z]:\\([A-Za-z0-9 ._-]+\\)*exremote-[A-Za-z0-9._-]+$' -or $Folder.Contains('..')) {
    Write-Error -ErrorId 'ExRemote.BadArgument' -Category InvalidArgument -Message "'$Folder' is no full path of plain letters whose name begins with exremote-."
}
foreach ($one in @($Service)) {
    if ($one -match '[^ -~]|["%&|<>^!]') { Write-Error -ErrorId 'ExRemote.BadArgument' -Category InvalidArgument -Message "'$one' has a sign that a command file takes for its own." }
}
$answer = @{ Folder = $Folder; Started = $false; ProcessId = 0 }
if ($PSCmdlet.ShouldProcess($Folder, 'Start services later')) {
    try {
        $there = "\\$ComputerName\$($Folder[0])`$$($Folder.Substring(2))"
        $how = New-Object Management.ConnectionOptions
        if ($UserName -ne '') { $how.Username, $how.SecurePassword = $UserName, $Password }
        $how.Timeout = [TimeSpan]::FromSeconds(50)
        $scope = New-Object Management.ManagementScope("\\$ComputerName\root\cimv2", $how)
        $scope.Connect()
        $key = [Microsoft.Win32.RegistryKey]::OpenRemoteBaseKey('LocalMachine', $ComputerName).OpenSubKey('SOFTWARE\Microsoft\Windows NT\CurrentVersion')
        $system = "$($key.GetValue('SystemRoot'))\System32"
        $info = [IO.DirectoryInfo]$there
        $info.Create()
        try {
            $rights = New-Object Security.AccessControl.DirectorySecurity
            $rights.SetSecurityDescriptorSddlForm('D:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;FA;;;CO)')
            $info.SetAccessControl($rights)
        } catch { Write-Verbose "Rights could not be set: $($_.Exception.GetBaseException().Message)" }
        $net, $ping = "$system\net.exe", "$system\ping.exe"
        $lines = @('@echo off') + @($Service | ForEach-Object { '"' + $net + '" start "' + $_ + '"' })
        [IO.File]::WriteAllText("$there\start.cmd", [string]::Join("`r`n", $lines) + "`r`n", [Text.Encoding]::ASCII)
        # One echo a second: there is no other program that waits on all of these systems.
        $line = '"' + $system + '\cmd.exe" /d /c ""' + $ping + '" -n ' + ($Seconds + 1) + ' 127.0.0.1 >nul ' + [char]38 + ' if exist "' + $Folder + '\start.cmd" call "' + $Folder + '\start.cmd""'
        $class = New-Object Management.ManagementClass($scope, (New-Object Management.ManagementPath 'Win32_Process'), $null)
        $said = $class.GetMethodParameters('Create')
        $said['CommandLine'], $said['CurrentDirectory'] = $line, $system
        $made = $class.InvokeMethod('Create', $said, $null)
        if ([int]$made['ReturnValue'] -ne 0) { throw "Win32_Process.Create returned $($made['ReturnValue'])." }
        $answer.ProcessId = [int]$made['ProcessId']
        $answer.Started = $true
    } catch {
        Write-Error -ErrorId 'ExRemote.StartFailed' -Message "The guard could not be started. $($_.Exception.GetBaseException().Message)"
    }
}
New-Object PSObject -Property $answer
