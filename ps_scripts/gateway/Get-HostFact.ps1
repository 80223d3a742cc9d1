<#
.SYNOPSIS
    Says what kind of machine another computer is: names, versions, disks, clock.
.DESCRIPTION
    Reads its registry and looks at its administrative share, which only an administrator of it may enter. Its disks, its
    clock, when it started and what runs only WMI tells: without it they are empty and null. PowerShellVersion, ClrVersion and
    FipsPolicy are those of the computer that asks, where scripts for that other one run.
.PARAMETER ComputerName
    The computer; its service Remote Registry answers.
.PARAMETER OnPath
    Names of files to look for in the folders of the machine's PATH; those on other computers are left out.
.PARAMETER ProcessName
    Names of programs, of which those that run are returned.
.PARAMETER UserName
    For WMI: an administrator there; without it the account that runs this.
.PARAMETER Password
    His password.
.PARAMETER Wmi
    Ask WMI, too: TCP 135 and the ports of RPC have to be open.
.EXAMPLE
    .\Get-HostFact.ps1 -ComputerName 'EXMSMAIL01' -OnPath 'nnotes.dll'
.OUTPUTS
    PSObject: ComputerName [string], Domain [string], OSVersion [string], ServicePack [string], ProductType [string], Architecture [string], PowerShellVersion [string], ClrVersion [string], SystemRoot [string], UtcNow [datetime], StartedUtc [datetime], FipsPolicy [bool], UserName [string], IsAdministrator [bool], SystemPath [string], Disks [string[]], OnPath [string[]], Processes [string[]]
.NOTES
    Effect: Read
    Rights: administrator of that computer
    Errors: ExRemote.TargetDenied, ExRemote.TargetUnreachable, ExRemote.WmiUnavailable
#>
#requires -Version 2.0
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$ComputerName,
    [string[]]$OnPath = @(),
    [string[]]$ProcessName = @(),
    [string]$UserName,
    [Security.SecureString]$Password,
    [switch]$Wmi
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function Get-MachineValue([string]$Below, [string]$Name) {
    $key = $machine.OpenSubKey($Below)
    if ($null -ne $key) { $key.GetValue($Name, $null, 'DoNotExpandEnvironmentNames'); $key.Close() }
}
$windows, $control = 'SOFTWARE\Microsoft\Windows NT\CurrentVersion', 'SYSTEM\CurrentControlSet\Control'
try {
    $machine = [Microsoft.Win32.RegistryKey]::OpenRemoteBaseKey('LocalMachine', $ComputerName)
    $root = [string](Get-MachineValue $windows 'SystemRoot')
    if ($root -eq '') { throw 'Its registry does not say where Windows is.' }
} catch {
    $base = $_.Exception.GetBaseException()
    if ($base -is [UnauthorizedAccessException] -or $base -is [Security.SecurityException]) {
        Write-Error -ErrorId 'ExRemote.TargetDenied' -Category PermissionDenied -Message "$($ComputerName): $($base.Message)"
    }
    Write-Error -ErrorId 'ExRemote.TargetUnreachable' -Category ResourceUnavailable -Message "$($ComputerName): $($base.Message)"
}
$version = '{0}.{1}' -f (Get-MachineValue $windows 'CurrentVersion'), (Get-MachineValue $windows 'CurrentBuildNumber')
$path = [string](Get-MachineValue "$control\Session Manager\Environment" 'Path')
foreach ($pair in @(('%SystemRoot%', $root), ('%windir%', $root), ('%SystemDrive%', $root.Substring(0, 2)))) {
    $path = [Text.RegularExpressions.Regex]::Replace($path, $pair[0], $pair[1].Replace('$', '$$'), 'IgnoreCase, CultureInvariant')
}
$found = @(foreach ($folder in @($path.Split(';') | ForEach-Object { $_.Trim().Trim('"').TrimEnd('\') } | Where-Object { $_ -match '^[A-Za-z]:' })) {
        foreach ($name in @($OnPath | Where-Object { $_ })) {
            try { if ([IO.File]::Exists("\\$ComputerName\$($folder[0])`$$($folder.Substring(2))\$name")) { "$folder\$name" } }
            catch { Write-Verbose "$folder cannot be looked into: $($_.Exception.Message)" }
        }
    })

$disks, $running, $now, $started, $why = @(), @(), $null, $null, ''
# Whether a file exists is answered with no and no reason where the share is gone.
try { [void][IO.Directory]::GetDirectories("\\$ComputerName\$($root[0])`$\", 'exremote-none') }
catch { if ($_.Exception.GetBaseException() -isnot [UnauthorizedAccessException]) { $why = $_.Exception.GetBaseException().Message } }
if ($why -ne '') { Write-Error -ErrorId 'ExRemote.TargetUnreachable' -Category ResourceUnavailable -Message "$($ComputerName): $why" }
if ($Wmi) {
    try {
        $how = New-Object Management.ConnectionOptions
        if ($UserName -ne '') { $how.Username, $how.SecurePassword = $UserName, $Password }
        $how.Timeout = [TimeSpan]::FromSeconds(60)
        $scope = New-Object Management.ManagementScope("\\$ComputerName\root\cimv2", $how)
        $scope.Connect()
        $kinds = 'Unknown', 'NoRootDirectory', 'Removable', 'Fixed', 'Network', 'CDRom', 'Ram'
        $search = New-Object Management.ManagementObjectSearcher($scope, (New-Object Management.ObjectQuery 'SELECT DeviceID, DriveType, FileSystem, Size, FreeSpace FROM Win32_LogicalDisk WHERE Size > 0'))
        $disks = @(foreach ($disk in @($search.Get())) { '{0}\|{1}|{2}|{3}|{4}' -f $disk['DeviceID'], $kinds[[int]$disk['DriveType']], $disk['FileSystem'], $disk['Size'], $disk['FreeSpace'] })
        $search = New-Object Management.ManagementObjectSearcher($scope, (New-Object Management.ObjectQuery 'SELECT LocalDateTime, LastBootUpTime FROM Win32_OperatingSystem'))
        foreach ($system in @($search.Get())) {
            $now = [Management.ManagementDateTimeConverter]::ToDateTime($system['LocalDateTime']).ToUniversalTime()
            $started = [Management.ManagementDateTimeConverter]::ToDateTime($system['LastBootUpTime']).ToUniversalTime()
        }
        $search = New-Object Management.ManagementObjectSearcher($scope, (New-Object Management.ObjectQuery 'SELECT Name FROM Win32_Process'))
        if (@($ProcessName).Length -gt 0) { $there = @(foreach ($one in @($search.Get())) { [string]$one['Name'] }); $running = @($ProcessName | Where-Object { $there -contains $_ }) }
    } catch { $why = $_.Exception.GetBaseException().Message }
    if ($why -ne '') { Write-Error -ErrorId 'ExRemote.WmiUnavailable' -Category ResourceUnavailable -Message "$($ComputerName): $why" }
}
# Of the computer that asks: it is the one that runs scripts and computes hashes.
$lsa = 'HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Lsa'
$fips = [bool][Microsoft.Win32.Registry]::GetValue($lsa, 'FIPSAlgorithmPolicy', $null) -or [bool][Microsoft.Win32.Registry]::GetValue("$lsa\FIPSAlgorithmPolicy", 'Enabled', $null)
$identity = [Security.Principal.WindowsIdentity]::GetCurrent()

New-Object PSObject -Property @{
    ComputerName      = [string](Get-MachineValue "$control\ComputerName\ActiveComputerName" 'ComputerName')
    Domain            = [string](Get-MachineValue 'SYSTEM\CurrentControlSet\Services\Tcpip\Parameters' 'Domain')
    OSVersion         = $version
    ServicePack       = [string](Get-MachineValue $windows 'CSDVersion')
    ProductType       = [string](Get-MachineValue "$control\ProductOptions" 'ProductType')
    Architecture      = [string](Get-MachineValue "$control\Session Manager\Environment" 'PROCESSOR_ARCHITECTURE')
    PowerShellVersion = $PSVersionTable.PSVersion.ToString()
    ClrVersion        = [Environment]::Version.ToString()
    SystemRoot        = $root
    UtcNow            = $now
    StartedUtc        = $started
    FipsPolicy        = $fips
    UserName          = $(if ($UserName -ne '') { $UserName } else { [string]$identity.Name })
    IsAdministrator   = [IO.Directory]::Exists("\\$ComputerName\ADMIN`$")
    SystemPath        = $path
    Disks             = [string[]]$disks
    OnPath            = [string[]]$found
    Processes         = [string[]]$running
}
