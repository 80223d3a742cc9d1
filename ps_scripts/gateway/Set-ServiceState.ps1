<#
.SYNOPSIS
    Brings one service of another computer to run or to stop, and sets how it starts.
.DESCRIPTION
    As on the computer itself: dependents are stopped first, the start mode is set before a start and after a stop.
.PARAMETER ComputerName
    The computer.
.PARAMETER Name
    The service's short name.
.PARAMETER State
    What it is to be; without it only the start mode is set.
.PARAMETER StartMode
    How it is to start from now on; without it this stays.
.PARAMETER DeadlineSeconds
    For how long to wait, in all.
.EXAMPLE
    .\Set-ServiceState.ps1 -ComputerName 'EXMSMAIL01' -Name 'LME-NOTES' -State 'Stopped' -DeadlineSeconds 300
.OUTPUTS
    [long] milliseconds waited, now and then
    PSObject: Name [string], State [string], StartMode [string], Changed [bool], WaitedMs [long], Also [string[]]
.NOTES
    Effect: Converge
    Rights: administrator of that computer
    Errors: ExRemote.ServiceMissing, ExRemote.ServiceStuck, ExRemote.ServiceDisabled, ExRemote.ServiceDenied, ExRemote.ServiceFailed, ExRemote.TargetDenied, ExRemote.TargetUnreachable
#>
#requires -Version 2.0
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Low')]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$ComputerName,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Name,
    [ValidateSet('Running', 'Stopped')] [string]$State,
    [ValidateSet('Automatic', 'Manual', 'Disabled')] [string]$StartMode,
    [ValidateRange(1, 86400)] [int]$DeadlineSeconds = 240
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
Add-Type -AssemblyName System.ServiceProcess
$clock, $said = [Diagnostics.Stopwatch]::StartNew(), @{ At = 0 }
$known, $needed, $seen = @(1..3 | ForEach-Object { New-Object Collections.Hashtable ([StringComparer]::OrdinalIgnoreCase) })
$order, $base = (New-Object Collections.ArrayList), $null

function Get-Registered([string]$One, [string]$Value, $Default) {
    try { $machine.OpenSubKey("SYSTEM\CurrentControlSet\Services\$One").GetValue($Value, $Default) } catch { $Default }
}
function Get-StartMode {
    $start = Get-Registered $Name 'Start' 9; if ($start -ge 0 -and $start -le 4) { ('Boot', 'System', 'Automatic', 'Manual', 'Disabled')[$start] } else { 'Unknown' }
}
function Send-Refusal([string]$One, [int]$Code, [string]$Why) {
    if ($Code -eq 5) { Write-Error -ErrorId 'ExRemote.ServiceDenied' -Category PermissionDenied -Message "$($One): $Why" }
    elseif ((53, 59, 64, 1722, 1723, 1726, 1727) -contains $Code) { Write-Error -ErrorId 'ExRemote.TargetUnreachable' -Category ResourceUnavailable -Message "$($ComputerName): $Why" }
    elseif ($Code -eq 1058) { Write-Error -ErrorId 'ExRemote.ServiceDisabled' -Message "$One is disabled. $Why" } else { Write-Error -ErrorId 'ExRemote.ServiceFailed' -Message "$($One): $Why" }
}
function Get-State([string]$One) {    # by method: a property that throws is nothing to a newer PowerShell
    try { $known[$One].Refresh(); return [string]$known[$One].get_Status() } catch { $bad = $_.Exception.GetBaseException() }
    Send-Refusal $One $(if ($bad -is [ComponentModel.Win32Exception]) { $bad.NativeErrorCode } else { 0 }) $bad.Message
}
function Wait-State([string]$One, [string]$Until) {
    while ($true) {
        $now = Get-State $One
        if ($now -eq $Until -or ($Until -eq '' -and -not $now.EndsWith('Pending', 'Ordinal'))) { return }
        if ($Until -eq 'Running' -and $now -eq 'Stopped') {
            $code = [Text.RegularExpressions.Regex]::Match([string]@(& "$env:SystemRoot\System32\sc.exe" "\\$ComputerName" query $One), 'WIN32_EXIT_CODE\s*:\s*(\d+)').Groups[1].Value
            Send-Refusal $One 0 "it stopped again while it started, with code $code."
        }
        if ($clock.Elapsed.TotalSeconds -ge $DeadlineSeconds) { Write-Error -ErrorId 'ExRemote.ServiceStuck' -Category OperationTimeout -Message "$One is $now after $DeadlineSeconds s." }
        if ($clock.ElapsedMilliseconds - $said.At -ge 2000) { $said.At = $clock.ElapsedMilliseconds; [long]$said.At }
        Start-Sleep -Milliseconds 200
    }
}
function Set-State([string]$One, [string]$Wanted) {
    Wait-State $One ''
    $now, $failure = (Get-State $One), $null; if ($now -eq $Wanted) { return }
    if ($Wanted -eq 'Running' -and (Get-StartMode) -eq 'Disabled') { Send-Refusal $One 1058 'It cannot start.' }
    try { if ($Wanted -eq 'Stopped') { $known[$One].Stop() } elseif ($now -eq 'Paused') { $known[$One].Continue() } else { $known[$One].Start() } } catch { $failure = $_.Exception.GetBaseException() }
    if ($null -ne $failure) { Send-Refusal $One $(if ($failure -is [ComponentModel.Win32Exception]) { $failure.NativeErrorCode } else { 0 }) $failure.Message }
    Wait-State $One $Wanted
}
function Set-StartMode {
    if ($StartMode -eq '' -or (Get-StartMode) -eq $StartMode) { return }
    $word = @{ Automatic = 'auto'; Manual = 'demand'; Disabled = 'disabled' }[$StartMode]
    $text = [string]@(& "$env:SystemRoot\System32\sc.exe" "\\$ComputerName" config $Name start= $word)
    if ($LASTEXITCODE -gt 1 -or (Get-StartMode) -eq $StartMode) { if ($LASTEXITCODE -gt 1) { Send-Refusal $Name $LASTEXITCODE "its start mode cannot be set. $text" }; return }
    # Wine's sc.exe ends with 1, for it knows neither config nor other computers.
    $key = $machine.OpenSubKey("SYSTEM\CurrentControlSet\Services\$Name", $true)
    try { $key.SetValue('Start', @{ Automatic = 2; Manual = 3; Disabled = 4 }[$StartMode], 'DWord') } finally { $key.Close() }
}
function Add-Dependent([string]$One) {
    foreach ($other in @($needed[$One] | Where-Object { $_ })) {
        if (-not $seen.ContainsKey($other)) { $seen[$other] = $true; Add-Dependent $other; [void]$order.Add($other) }
    }
}

try {
    $machine = [Microsoft.Win32.RegistryKey]::OpenRemoteBaseKey('LocalMachine', $ComputerName)
    foreach ($service in @([ServiceProcess.ServiceController]::GetServices($ComputerName))) { $known[$service.ServiceName] = $service }
} catch { $base = $_.Exception.GetBaseException() }
if ($base -is [UnauthorizedAccessException] -or $base -is [Security.SecurityException] -or ($base -is [ComponentModel.Win32Exception] -and $base.NativeErrorCode -eq 5)) {
    Write-Error -ErrorId 'ExRemote.TargetDenied' -Category PermissionDenied -Message "$($ComputerName): $($base.Message)"
}
if ($null -ne $base) { Write-Error -ErrorId 'ExRemote.TargetUnreachable' -Category ResourceUnavailable -Message "$($ComputerName): $($base.Message)" }
if (-not $known.ContainsKey($Name)) { Write-Error -ErrorId 'ExRemote.ServiceMissing' -Category ObjectNotFound -Message "There is no service $Name." }
$Name = $known[$Name].ServiceName
$answer = @{ Name = $Name; State = (Get-State $Name); StartMode = (Get-StartMode); Changed = $false; WaitedMs = [long]0; Also = [string[]]@() }
$before = "$($answer.State) $($answer.StartMode)"
if ($PSCmdlet.ShouldProcess($Name, "Set to '$State' '$StartMode'")) {
    # A service that is to run and to be disabled has to be started first.
    if ($State -eq 'Running' -and $StartMode -ne 'Disabled') { Set-StartMode }
    if ($State -eq 'Stopped') {
        foreach ($one in @($known.Keys)) { foreach ($other in @(Get-Registered $one 'DependOnService' '' | Where-Object { $_ })) { $needed[$other] = @($needed[$other]) + $one } }
        Add-Dependent $Name
        $answer.Also = [string[]]@($order | Where-Object { $_ -ne $Name -and (Get-State $_) -ne 'Stopped' })
        foreach ($other in @($answer.Also)) { Set-State $other 'Stopped' }
    }
    if ($State -ne '') { Set-State $Name $State }
    Set-StartMode
    $answer.State, $answer.StartMode, $answer.WaitedMs = (Get-State $Name), (Get-StartMode), [long]$clock.ElapsedMilliseconds
    $answer.Changed = $before -ne "$($answer.State) $($answer.StartMode)"
}
New-Object PSObject -Property $answer
