<#
.SYNOPSIS
    Says how named services are, and how they are registered.
.DESCRIPTION
    Answers every name with one object, whether or not there is such a service; then, each once, the services that
    Program finds, what all these depend on (a driver, too), and the services that Title finds. State comes from the service control manager; the rest from the
    service's registry key, as it would be used at the next start; Readable is false if that cannot be read whole.
    ImageExists says whether the program that ImagePath names is there.
.PARAMETER Name
    Short names of services.
.PARAMETER Title
    Beginnings of long names.
.PARAMETER Program
    Parts of command lines as registered. A service whose command line cannot be read may be one of them: it is answered.
.EXAMPLE
    .\Get-ServiceState.ps1 -Name 'MSExchangeCoCo', 'LME-NOTES'
.OUTPUTS
    PSObject: Name [string], Exists [bool], DisplayName [string], State [string], StartMode [string], Account [string], ImagePath [string], ImageExists [bool], DependsOn [string[]], Readable [bool]
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
    [string[]]$Name,

    [string[]]$Title = @(),

    [string[]]$Program = @()
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

$known = New-Object Collections.Hashtable ([StringComparer]::OrdinalIgnoreCase)
foreach ($service in @([ServiceProcess.ServiceController]::GetDevices() + [ServiceProcess.ServiceController]::GetServices())) { $known[$service.ServiceName] = $service }
$modes = 'Boot', 'System', 'Automatic', 'Manual', 'Disabled'
$named = New-Object Collections.Hashtable ([StringComparer]::OrdinalIgnoreCase)
$todo, $further = (New-Object Collections.ArrayList), (New-Object Collections.ArrayList)
foreach ($one in @($Name)) { $named[$one] = $true; [void]$todo.Add($one) }
foreach ($service in @($known.Values)) {
    foreach ($beginning in @($Title | Where-Object { $_ })) {
        if ($service.DisplayName.StartsWith($beginning, 'OrdinalIgnoreCase')) { [void]$further.Add($service.ServiceName) }
    }
}
$found = New-Object Collections.ArrayList
if (@($Program | Where-Object { $_ }).Length -gt 0) {
    foreach ($service in @([ServiceProcess.ServiceController]::GetServices() | Where-Object { -not $named.ContainsKey($_.ServiceName) })) {
        try {
            $key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey("SYSTEM\CurrentControlSet\Services\$($service.ServiceName)")
            if ($null -eq $key) { continue }
            $image = [Environment]::ExpandEnvironmentVariables([string]$key.GetValue('ImagePath', ''))
            $key.Close()
            $mine = @($Program | Where-Object { $_ -and $image.IndexOf($_, [StringComparison]'OrdinalIgnoreCase') -ge 0 }).Length -gt 0
        } catch { $mine = $true }
        if ($mine) { [void]$found.Add($service.ServiceName) }
    }
}
$found.Sort([StringComparer]::OrdinalIgnoreCase)
foreach ($one in @($found)) { $named[$one] = $true; [void]$todo.Add($one) }
$first = $todo.Count

for ($i = 0; $i -lt $todo.Count; $i++) {
    $one = $todo[$i]
    $answer = @{
        Name = $one; Exists = $known.ContainsKey($one); DisplayName = ''; State = ''; StartMode = ''; Account = ''
        ImagePath = ''; ImageExists = $false; DependsOn = [string[]]@(); Readable = $true
    }
    if ($answer.Exists) {
        $service = $known[$one]
        $answer.Name = $service.ServiceName
        $answer.DisplayName = [string]$service.DisplayName
        try { $answer.State = [string]$service.Status } catch { $answer.State = 'Unknown' }
        $answer.StartMode = 'Unknown'
        # A key that is gone, or closed to us, says nothing of the others.
        try {
            $key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey("SYSTEM\CurrentControlSet\Services\$one")
            $start = $key.GetValue('Start', 9)
            if ($start -ge 0 -and $start -le 4) { $answer.StartMode = $modes[$start] }
            $answer.Account = [string]$key.GetValue('ObjectName', '')
            $answer.ImagePath = [Environment]::ExpandEnvironmentVariables([string]$key.GetValue('ImagePath', ''))
            $answer.ImageExists = Test-Image $answer.ImagePath
            $answer.DependsOn = [string[]]@($key.GetValue('DependOnService', [string[]]@()) | Where-Object { $_ })
            $key.Close()
        } catch { $answer.Readable = $false }
        if ($i -lt $first) { $further.AddRange($answer.DependsOn) }
    }
    if ($i -eq $first - 1) {
        foreach ($other in @($further)) { if (-not $named.ContainsKey($other)) { $named[$other] = $true; [void]$todo.Add($other) } }
    }
    New-Object PSObject -Property $answer
}
