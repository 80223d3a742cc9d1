<#
.SYNOPSIS
    Ends the connection to a file share that Connect-Share made.
.DESCRIPTION
    Asks the WScript.Network component. A share that is not connected is what is wanted, and no error.
.PARAMETER Path
    A UNC path; of a longer path the share is used.
.EXAMPLE
    .\Disconnect-Share.ps1 -Path '\\NW01\SYS' -WhatIf
.OUTPUTS
    PSObject: Path [string], Connected [bool]
.NOTES
    Effect: Converge
    Rights: those of the session that connected it
    Errors: ExRemote.BadArgument, ExRemote.ShareRefused
#>
#requires -Version 2.0
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Low')]
param(
    [Parameter(Mandatory = $true)]
    [ValidateNotNullOrEmpty()]
    [string]$Path
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$share = [Text.RegularExpressions.Regex]::Match($Path, '^\\\\[^\\]+\\[^\\]+').Value
if ($share -eq '') { Write-Error -ErrorId 'ExRemote.BadArgument' -Category InvalidArgument -Message "'$Path' is not a UNC path." }

# Protected in .NET 2.0; Marshal.GetHRForException would leave its text behind for the next COM error of the thread.
$hresult = [Exception].GetProperty('HResult', [Reflection.BindingFlags]'Instance, Public, NonPublic')
$answer = @{ Path = $Path; Connected = $true }
if ($PSCmdlet.ShouldProcess($share, 'Disconnect')) {
    $network, $why = $null, ''
    try {
        $network = [Activator]::CreateInstance([Type]::GetTypeFromProgID('WScript.Network'))
        $network.RemoveNetworkDrive($share, $true, $false)
    } catch {
        $base = $_.Exception.GetBaseException()
        $code = $hresult.GetValue($base, $null) -band 65535
        if ($code -ne 2250) { $why = $base.Message }    # ERROR_NOT_CONNECTED
    } finally {
        if ($null -ne $network) { [void][Runtime.InteropServices.Marshal]::ReleaseComObject($network) }
    }
    if ($why -ne '') { Write-Error -ErrorId 'ExRemote.ShareRefused' -Category InvalidOperation -Message "$($share): $why" }
    $answer.Connected = $false
}
New-Object PSObject -Property $answer
