<#
.SYNOPSIS
    Says how named services are, and how they are registered.
.DESCRIPTION
    Answers every name with one object, whether or not there is such a service. State comes from the service control
    manager; the rest from the service's registry key, as it would be used at the next start.
    ImageExists says whether the program that ImagePath names is there.
.PARAMETER Name
    Short names of services.
.EXAMPLE
    .\Get-ServiceState.ps1 -Name 'MSExchangeCoCo', 'LME-NOTES'
.OUTPUTS
    PSObject: Name [string], Exists [bool], DisplayName [string], State [string], StartMode [string], Account [string], ImagePath [string], ImageExists [bool], DependsOn [string[]]
.NOTES
    Effect: Read
    Rights: local administrator
    Errors: none
#>
#requires -Version 2.0
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)]
    [ValidateNotNullOrEmpty()]
    [string[]]$Name
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
Add-Type -AssemblyName System.ServiceProcess

function Test-Image([string]$Command) {
    $path = $Command.Trim() -replace '^\\\?\?\\', '' -replace '^\\SystemRoot\\', "$env:SystemRoot\"
    if ($path -eq '') { return $false }
    if ($path.StartsWith('"')) { return [IO.File]::Exists($path.Split('"')[1]) }
    if (-not [IO.Path]::IsPathRooted($path)) { $path = "$env:SystemRoot\$path" }
    # Without quotes Windows tries each space as the end of the program's name, the shortest first.
    $candidate = ''
    foreach ($part in @($path.Split(' '))) {
        $candidate = "$candidate $part".TrimStart()
        if ([IO.File]::Exists($candidate) -or [IO.File]::Exists("$candidate.exe")) { return $true }
    }
    return $false
}

$known = @{}
foreach ($service in @([ServiceProcess.ServiceController]::GetServices())) { $known[$service.ServiceName] = $service }
$modes = 'Boot', 'System', 'Automatic', 'Manual', 'Disabled'

foreach ($one in @($Name)) {
    $answer = @{
        Name = $one; Exists = $known.ContainsKey($one); DisplayName = ''; State = ''; StartMode = ''; Account = ''
        ImagePath = ''; ImageExists = $false; DependsOn = [string[]]@()
    }
    if ($answer.Exists) {
        $service = $known[$one]
        $answer.Name = $service.ServiceName
        $answer.DisplayName = [string]$service.DisplayName
        try { $answer.State = [string]$service.Status } catch { $answer.State = 'Unknown' }
        $key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey("SYSTEM\CurrentControlSet\Services\$one")
        $start = $key.GetValue('Start', 9)
        $answer.StartMode = 'Unknown'
        if ($start -ge 0 -and $start -le 4) { $answer.StartMode = $modes[$start] }
        $answer.Account = [string]$key.GetValue('ObjectName', '')
        $answer.ImagePath = [Environment]::ExpandEnvironmentVariables([string]$key.GetValue('ImagePath', ''))
        $answer.ImageExists = Test-Image $answer.ImagePath
        $answer.DependsOn = [string[]]@($key.GetValue('DependOnService', [string[]]@()) | Where-Object { $_ })
        $key.Close()
    }
    New-Object PSObject -Property $answer
}
