<#
.SYNOPSIS
    Says what kind of machine this is: names, versions, disks, clock, and whose rights the caller has.
.DESCRIPTION
    Reads the registry and the class library only; it asks no WMI, which old servers often have damaged.
    Domain is the primary DNS suffix, empty on a machine without one. StartedUtc is null where it cannot be read.
.PARAMETER OnPath
    Names of files to look for in the folders of the machine's PATH; those on other computers are left out.
.PARAMETER ProcessName
    Names of programs, of which those that run are returned.
.EXAMPLE
    .\Get-HostFact.ps1 -OnPath 'nnotes.dll' -ProcessName 'Lsdxa.exe'
.OUTPUTS
    PSObject: ComputerName [string], Domain [string], OSVersion [string], ServicePack [string], ProductType [string], Architecture [string], PowerShellVersion [string], ClrVersion [string], SystemRoot [string], UtcNow [datetime], StartedUtc [datetime], FipsPolicy [bool], UserName [string], IsAdministrator [bool], SystemPath [string], Disks [string[]], OnPath [string[]], Processes [string[]]
.NOTES
    Effect: Read
    Rights: any account that may log on
    Errors: none
#>
#requires -Version 2.0
[CmdletBinding()]
param(
    [string[]]$OnPath = @(),
    [string[]]$ProcessName = @()
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function Get-MachineValue([string]$Key, [string]$Name) {
    [Microsoft.Win32.Registry]::GetValue("HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\$Key", $Name, $null)
}

# A drive can go away, or refuse, between any two of these questions.
$disks = @(foreach ($drive in @([IO.DriveInfo]::GetDrives())) {
        try {
            if ($drive.IsReady) {
                '{0}|{1}|{2}|{3}|{4}' -f $drive.Name, $drive.DriveType, $drive.DriveFormat, $drive.TotalSize, $drive.AvailableFreeSpace
            }
        } catch { Write-Verbose "$($drive.Name) cannot be read: $($_.Exception.Message)" }
    })

# A 32-bit process on 64-bit Windows is told its own architecture in the first variable and the machine's in the second.
$architecture = $env:PROCESSOR_ARCHITECTURE
if ($env:PROCESSOR_ARCHITEW6432) { $architecture = $env:PROCESSOR_ARCHITEW6432 }

# A value until Windows Server 2003, a key of the same name since then.
$fips = [bool](Get-MachineValue 'Control\Lsa' 'FIPSAlgorithmPolicy') -or
    [bool](Get-MachineValue 'Control\Lsa\FIPSAlgorithmPolicy' 'Enabled')

$path = [Environment]::ExpandEnvironmentVariables([string](Get-MachineValue 'Control\Session Manager\Environment' 'Path'))
# A folder of another computer may keep the question waiting; one that cannot be a folder has no file.
$found = @(foreach ($folder in @($path.Split(';') | ForEach-Object { $_.Trim().Trim('"') } | Where-Object { $_ -match '^[A-Za-z]:\\' })) {
        foreach ($name in @($OnPath | Where-Object { $_ })) {
            try {
                $file = [IO.Path]::GetFullPath([IO.Path]::Combine($folder, $name))
                if ([IO.File]::Exists($file)) { $file }
            } catch { Write-Verbose "$folder cannot be looked into: $($_.Exception.Message)" }
        }
    })

# Windows starts the service control manager, and ends with it. WMI, which would say the same, is not asked. An account
# that may not query a process of the system is told nothing; another program of that name would be younger.
$started = $null
foreach ($process in @([Diagnostics.Process]::GetProcessesByName('services'))) {
    try {
        $time = $process.StartTime.ToUniversalTime()
        if ($null -eq $started -or $time -lt $started) { $started = $time }
    } catch { Write-Verbose "process $($process.Id) does not say since when it runs: $($_.Exception.Message)" }
}

$running = @(foreach ($name in @($ProcessName | Where-Object { $_ })) {
        if (@([Diagnostics.Process]::GetProcessesByName([IO.Path]::GetFileNameWithoutExtension($name))).Length -gt 0) { $name }
    })

$identity = [Security.Principal.WindowsIdentity]::GetCurrent()
$principal = New-Object Security.Principal.WindowsPrincipal $identity
$version = [Environment]::OSVersion.Version

New-Object PSObject -Property @{
    ComputerName      = [Environment]::MachineName
    Domain            = [string](Get-MachineValue 'Services\Tcpip\Parameters' 'Domain')
    OSVersion         = '{0}.{1}.{2}' -f $version.Major, $version.Minor, $version.Build
    ServicePack       = [string][Environment]::OSVersion.ServicePack
    ProductType       = [string](Get-MachineValue 'Control\ProductOptions' 'ProductType')
    Architecture      = [string]$architecture
    PowerShellVersion = $PSVersionTable.PSVersion.ToString()
    ClrVersion        = [Environment]::Version.ToString()
    SystemRoot        = [string]$env:SystemRoot
    UtcNow            = [DateTime]::UtcNow
    StartedUtc        = $started
    FipsPolicy        = $fips
    UserName          = [string]$identity.Name
    IsAdministrator   = $principal.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)
    SystemPath        = $path
    Disks             = [string[]]$disks
    OnPath            = [string[]]$found
    Processes         = [string[]]$running
}
