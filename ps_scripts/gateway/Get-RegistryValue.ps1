<#
.SYNOPSIS
    Reads named registry values of another computer.
.DESCRIPTION
    Answers each question with one object, whether or not the value is there. What is answered is the same as on the
    computer itself: texts are expanded with its variables, not with those of the computer that asks.
.PARAMETER ComputerName
    The computer; its service Remote Registry answers.
.PARAMETER Value
    Questions, HIVE\KEY|NAME with HKLM or HKU. An empty NAME is the key's default value.
.EXAMPLE
    .\Get-RegistryValue.ps1 -ComputerName 'EXMSMAIL01' -Value 'HKLM\SOFTWARE\Lotus\Notes|Path'
.OUTPUTS
    PSObject: Key [string], Name [string], KeyExists [bool], Exists [bool], Kind [string], Text [string]
.NOTES
    Effect: Read
    Rights: administrator of that computer
    Errors: ExRemote.BadArgument, ExRemote.KeyUnreadable, ExRemote.TargetDenied, ExRemote.TargetUnreachable
#>
#requires -Version 2.0
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)]
    [ValidateNotNullOrEmpty()]
    [string]$ComputerName,

    [Parameter(Mandatory = $true)]
    [ValidateNotNullOrEmpty()]
    [string[]]$Value
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$hives, $known = (New-Object Collections.Hashtable ([StringComparer]::OrdinalIgnoreCase)), (New-Object Collections.Hashtable ([StringComparer]::OrdinalIgnoreCase))

function Send-Trouble($Exception) {
    $base = $Exception.GetBaseException()
    if ($base -is [UnauthorizedAccessException] -or $base -is [Security.SecurityException]) {
        Write-Error -ErrorId 'ExRemote.TargetDenied' -Category PermissionDenied -Message "$($ComputerName): $($base.Message)"
    }
    Write-Error -ErrorId 'ExRemote.TargetUnreachable' -Category ResourceUnavailable -Message "$($ComputerName): $($base.Message)"
}
# A key that is not there and a line that broke are the same to .NET: then one that every Windows has is asked for.
function Open-Key([string]$Hive, [string]$Below) {
    $key = $hives[$Hive].OpenSubKey($Below)
    if ($null -eq $key) {
        $alive = $hives[$Hive].OpenSubKey($(if ($Hive -eq 'HKU') { '.DEFAULT' } else { 'SOFTWARE' }))
        if ($null -eq $alive) { Write-Error -ErrorId 'ExRemote.TargetUnreachable' -Category ResourceUnavailable -Message "The registry of $ComputerName answers no more." }
        $alive.Close()
    }
    $key
}
function Get-Text([string]$Below, [string]$Name) {
    $key = Open-Key 'HKLM' $Below
    if ($null -ne $key) { [string]$key.GetValue($Name, '', 'DoNotExpandEnvironmentNames'); $key.Close() }
}
try {
    $hives['HKLM'] = [Microsoft.Win32.RegistryKey]::OpenRemoteBaseKey('LocalMachine', $ComputerName)
    $hives['HKU'] = [Microsoft.Win32.RegistryKey]::OpenRemoteBaseKey('Users', $ComputerName)
    $root = Get-Text 'SOFTWARE\Microsoft\Windows NT\CurrentVersion' 'SystemRoot'
} catch { Send-Trouble $_.Exception }
$known['SystemRoot'], $known['windir'], $known['SystemDrive'] = $root, $root, $root.Substring(0, [Math]::Min(2, $root.Length))
$known['ProgramFiles'], $known['ComputerName'] = (Get-Text 'SOFTWARE\Microsoft\Windows\CurrentVersion' 'ProgramFilesDir'), $ComputerName
function Expand-Text([string]$Text) {
    foreach ($found in @([Text.RegularExpressions.Regex]::Matches($Text, '%([^%]+)%'))) {
        $name = $found.Groups[1].Value
        if (-not $known.ContainsKey($name)) { $known[$name] = Get-Text 'SYSTEM\CurrentControlSet\Control\Session Manager\Environment' $name }
        if ($known[$name]) { $Text = $Text.Replace($found.Value, [string]$known[$name]) }
    }
    $Text
}
function ConvertTo-Text($Data, [string]$Kind) {
    if ($Data -is [byte[]]) { [BitConverter]::ToString($Data).Replace('-', '').ToLowerInvariant() }
    elseif ($Data -is [string[]]) { [String]::Join("`n", $Data) }
    elseif ($Data -is [int]) { ([long]$Data -band 4294967295).ToString() }
    elseif ($Kind -eq 'ExpandString') { Expand-Text ([string]$Data) }
    else { [string]$Data }
}

foreach ($request in @($Value)) {
    $bar = $request.IndexOf('|')
    $slash = $request.IndexOf('\')
    if ($bar -lt 0 -or $slash -lt 0 -or $slash -gt $bar -or -not $hives.ContainsKey($request.Substring(0, $slash))) {
        Write-Error -ErrorId 'ExRemote.BadArgument' -Category InvalidArgument -Message "'$request' is not HKLM\KEY|NAME or HKU\KEY|NAME."
    }
    $answer = @{ Key = $request.Substring(0, $bar); Name = $request.Substring($bar + 1); KeyExists = $false; Exists = $false; Kind = ''; Text = '' }
    $why = ''
    try {
        $key = Open-Key $request.Substring(0, $slash) $answer.Key.Substring($slash + 1)
        if ($null -ne $key) {
            $answer.KeyExists = $true
            if (@($key.GetValueNames()) -contains $answer.Name) {
                $answer.Exists = $true
                $answer.Kind = [string]$key.GetValueKind($answer.Name)
                $data = $key.GetValue($answer.Name, $null, 'DoNotExpandEnvironmentNames')
                if ($null -eq $data) { [void]$key.GetValueKind($answer.Name) }    # which fails if the line broke
                $answer.Text = ConvertTo-Text $data $answer.Kind
            }
            $key.Close()
        }
    } catch [Security.SecurityException] { $why = $_.Exception.GetBaseException().Message }
    catch [UnauthorizedAccessException] { $why = $_.Exception.GetBaseException().Message }
    catch [IO.IOException] { Send-Trouble $_.Exception }
    if ($why -eq '') { New-Object PSObject -Property $answer }
    else { Write-Error -ErrorId 'ExRemote.KeyUnreadable' -Category PermissionDenied -ErrorAction Continue -Message "$($answer.Key): $why" }
}
