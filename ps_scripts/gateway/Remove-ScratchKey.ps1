<#
.SYNOPSIS
    Removes a registry key that exremote made on another computer for a drill, with all below it.
.DESCRIPTION
    Only a key directly below HKLM\SOFTWARE whose name begins with exremote- is taken. One that is not there is what is wanted.
.PARAMETER ComputerName
    The computer; its service Remote Registry answers.
.PARAMETER Key
    The key, such as HKLM\SOFTWARE\exremote-drill-1.
.EXAMPLE
    .\Remove-ScratchKey.ps1 -ComputerName 'EXMSMAIL01' -Key 'HKLM\SOFTWARE\exremote-drill-1' -WhatIf
.OUTPUTS
    PSObject: Key [string], Exists [bool], Removed [bool]
.NOTES
    Effect: Converge
    Rights: administrator of that computer
    Errors: ExRemote.BadArgument, ExRemote.KeyDenied, ExRemote.TargetUnreachable
#>
#requires -Version 2.0
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Low')]
param(
    [Parameter(Mandatory = $true)]
    [ValidateNotNullOrEmpty()]
    [string]$ComputerName,

    [Parameter(Mandatory = $true)]
    [ValidateNotNullOrEmpty()]
    [string]$Key
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$options = [Text.RegularExpressions.RegexOptions]'IgnoreCase, CultureInvariant'
$found = [Text.RegularExpressions.Regex]::Match($Key, '^HKLM\\(SOFTWARE\\exremote-[a-z0-9-]{1,100})$', $options)
if (-not $found.Success) { Write-Error -ErrorId 'ExRemote.BadArgument' -Category InvalidArgument -Message "'$Key' is no scratch key of exremote." }

$below, $answer = $found.Groups[1].Value, @{ Key = $Key; Exists = $false; Removed = $false }
try {
    $machine = [Microsoft.Win32.RegistryKey]::OpenRemoteBaseKey('LocalMachine', $ComputerName)
    $open = $machine.OpenSubKey($below)
    # A key that is not there and a line that broke are the same to .NET: then one that every Windows has is asked for.
    if ($null -eq $open -and $null -eq $machine.OpenSubKey('SOFTWARE')) { throw (New-Object IO.IOException 'Its registry answers no more.') }
    if ($null -ne $open) {
        $open.Close()
        $answer.Exists = $true
        if ($PSCmdlet.ShouldProcess($Key, 'Remove with all below')) {
            $machine.DeleteSubKeyTree($below)
            $answer.Removed = $true
        }
    }
} catch {
    $base = $_.Exception.GetBaseException()
    if ($base -is [IO.IOException]) { Write-Error -ErrorId 'ExRemote.TargetUnreachable' -Category ResourceUnavailable -Message "$($ComputerName): $($base.Message)" }
    if ($base -isnot [UnauthorizedAccessException] -and $base -isnot [Security.SecurityException]) { throw }
    Write-Error -ErrorId 'ExRemote.KeyDenied' -Category PermissionDenied -Message "$($Key): $($base.Message)"
}
New-Object PSObject -Property $answer
