<#
.SYNOPSIS
    Says how named services of another computer are, and how they are registered.
.DESCRIPTION
    Asks the service control manager there, its registry, and its administrative shares for the programs.
.PARAMETER ComputerName
    The computer.
.PARAMETER Name
    Short names of services.
.PARAMETER Title
    Beginnings of long names.
.PARAMETER Program
    Parts of command lines as registered. A service whose command line cannot be read may be one of them: it is answered.
.EXAMPLE
    .\Get-ServiceState.ps1 -ComputerName 'EXMSMAIL01' -Name 'MSExchangeMSMI'
.OUTPUTS
    PSObject: Name [string], Exists [bool], DisplayName [string], State [string], StartMode [string], Account [string], ImagePath [string], ImageExists [bool], DependsOn [string[]], Readable [bool]
.NOTES
    Effect: Read
    Rights: administrator of that computer
    Errors: ExRemote.TargetDenied, ExRemote.TargetUnreachable
#>
#requires -Version 2.0
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$ComputerName,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string[]]$Name,
    [string[]]$Title = @(), [string[]]$Program = @()
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
Add-Type -AssemblyName System.ServiceProcess
$known, $named, $variables = @(1..3 | ForEach-Object { New-Object Collections.Hashtable ([StringComparer]::OrdinalIgnoreCase) })
$modes = 'Boot', 'System', 'Automatic', 'Manual', 'Disabled'
$todo, $further, $found, $answers = @(1..4 | ForEach-Object { , (New-Object Collections.ArrayList) })

function Get-Text([string]$Below, [string]$Value) {
    $key = $machine.OpenSubKey($Below); if ($null -ne $key) { [string]$key.GetValue($Value, '', 'DoNotExpandEnvironmentNames'); $key.Close() }
}
function Expand-Text([string]$Text) {
    foreach ($one in @([Text.RegularExpressions.Regex]::Matches($Text, '%([^%]+)%'))) {
        $called = $one.Groups[1].Value; if (-not $variables.ContainsKey($called)) { $variables[$called] = Get-Text 'SYSTEM\CurrentControlSet\Control\Session Manager\Environment' $called }
        if ($variables[$called]) { $Text = $Text.Replace($one.Value, [string]$variables[$called]) }
    }
    $Text
}
# Of the other computer alone: what is no full path there would be one here.
function Test-File([string]$Path) {
    ($Path -match '^([A-Za-z]):(\\.*)$' -and [IO.File]::Exists("\\$ComputerName\$($matches[1])`$$($matches[2])")) -or ($Path -match '^\\\\[^\\.?]' -and [IO.File]::Exists($Path))
}
function Test-Image([string]$Command) {
    $path = $Command.Trim() -replace '^\\\?\?\\', ''
    if ($path -match '^\\SystemRoot\\') { $path = $root + $path.Substring(11) }
    if ($path.StartsWith('"')) { return Test-File $path.Split('"')[1] }
    if (-not [IO.Path]::IsPathRooted($path)) { $path = "$root\$path" } elseif ($path -match '^\\[^\\]') { $path = $root.Substring(0, 2) + $path }
    $candidate = ''    # without quotes Windows tries each space as the end of the program's name, the shortest first
    foreach ($part in @($path.Split(' '))) {
        $candidate = "$candidate $part".TrimStart(); if ((Test-File $candidate) -or (Test-File "$candidate.exe")) { return $true }
    }
    return $false
}
try {
    $services = @([ServiceProcess.ServiceController]::GetServices($ComputerName))
    foreach ($service in @([ServiceProcess.ServiceController]::GetDevices($ComputerName) + $services)) { $known[$service.ServiceName] = $service }
    $machine = [Microsoft.Win32.RegistryKey]::OpenRemoteBaseKey('LocalMachine', $ComputerName)
    $root = Get-Text 'SOFTWARE\Microsoft\Windows NT\CurrentVersion' 'SystemRoot'
    if (-not $root) { throw 'Its registry does not say where Windows is.' }
} catch {
    $base = $_.Exception.GetBaseException(); $denied = $base -is [UnauthorizedAccessException] -or $base -is [Security.SecurityException] -or ($base -is [ComponentModel.Win32Exception] -and $base.NativeErrorCode -eq 5)
    if ($denied) { Write-Error -ErrorId 'ExRemote.TargetDenied' -Category PermissionDenied -Message "$($ComputerName): $($base.Message)" }
    Write-Error -ErrorId 'ExRemote.TargetUnreachable' -Category ResourceUnavailable -Message "$($ComputerName): $($base.Message)"
}
$variables['SystemRoot'], $variables['windir'], $variables['SystemDrive'], $variables['ProgramFiles'] = $root, $root, $root.Substring(0, 2), (Get-Text 'SOFTWARE\Microsoft\Windows\CurrentVersion' 'ProgramFilesDir')

foreach ($one in @($Name)) { $named[$one] = $true; [void]$todo.Add($one) }
foreach ($beginning in @($Title | Where-Object { $_ })) { foreach ($service in @($known.Values)) { if ($service.DisplayName.StartsWith($beginning, 'OrdinalIgnoreCase')) { [void]$further.Add($service.ServiceName) } } }
foreach ($one in @(if (@($Program | Where-Object { $_ }).Length -gt 0) { $services | ForEach-Object { $_.ServiceName } | Where-Object { -not $named.ContainsKey($_) } })) {
    $mine = $true
    try {
        $key = $machine.OpenSubKey("SYSTEM\CurrentControlSet\Services\$one")
        if ($null -eq $key) { continue }
        $image = Expand-Text ([string]$key.GetValue('ImagePath', '', 'DoNotExpandEnvironmentNames'))
        $mine = @($Program | Where-Object { $_ -and $image.IndexOf($_, [StringComparison]'OrdinalIgnoreCase') -ge 0 }).Length -gt 0
    } catch { Write-Verbose "$one cannot be read: $($_.Exception.Message)" }
    if ($mine) { [void]$found.Add($one) }
}
$found.Sort([StringComparer]::OrdinalIgnoreCase); foreach ($one in @($found)) { $named[$one] = $true; [void]$todo.Add($one) }
$first = $todo.Count

for ($i = 0; $i -lt $todo.Count; $i++) {
    $one = $todo[$i]
    $answer = @{ Name = $one; Exists = $known.ContainsKey($one); DisplayName = ''; State = ''; StartMode = ''; Account = ''; ImagePath = ''; ImageExists = $false; DependsOn = [string[]]@(); Readable = $true }
    if ($answer.Exists) {
        $service = $known[$one]
        $answer.Name, $answer.DisplayName, $answer.StartMode = $service.ServiceName, [string]$service.DisplayName, 'Unknown'
        try { $answer.State = [string]$service.Status } catch { $answer.State = 'Unknown' }
        try {
            $key = $machine.OpenSubKey("SYSTEM\CurrentControlSet\Services\$one")
            $start = $key.GetValue('Start', 9)
            if ($start -ge 0 -and $start -le 4) { $answer.StartMode = $modes[$start] }
            $answer.Account = [string]$key.GetValue('ObjectName', '')
            $answer.ImagePath = Expand-Text ([string]$key.GetValue('ImagePath', '', 'DoNotExpandEnvironmentNames'))
            $answer.ImageExists = Test-Image $answer.ImagePath
            $answer.DependsOn = [string[]]@($key.GetValue('DependOnService', [string[]]@()) | Where-Object { $_ })
        } catch { $answer.Readable = $false }
        if ($i -lt $first) { $further.AddRange($answer.DependsOn) }
    }
    foreach ($other in @(if ($i -eq $first - 1) { $further })) { if (-not $named.ContainsKey($other)) { $named[$other] = $true; [void]$todo.Add($other) } }
    [void]$answers.Add((New-Object PSObject -Property $answer))
}
# A key or a file that is not there and a line that broke are the same to .NET.
$why = ''
try {
    if ($null -eq $machine.OpenSubKey('SOFTWARE')) { throw 'Its registry answers no more.' }
    if (@($answers | Where-Object { -not $_.ImageExists }).Length -gt 0) { [void][IO.Directory]::GetDirectories("\\$ComputerName\$($root[0])`$\", 'exremote-none') }
} catch { $why = $_.Exception.GetBaseException().Message }
if ($why -ne '') { Write-Error -ErrorId 'ExRemote.TargetUnreachable' -Category ResourceUnavailable -Message "$($ComputerName): $why" }
$answers
