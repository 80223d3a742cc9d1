<#
.SYNOPSIS
    Connects to a file share as another account, for this session only.
.DESCRIPTION
    Asks the WScript.Network component, so that the password is on no command line. The share (\\SERVER\SHARE) is
    connected without a drive letter; a longer path is accepted and its share is used.
.PARAMETER Path
    A UNC path.
.PARAMETER UserName
    The account, as the file server wants it.
.PARAMETER Password
    Its password.
.EXAMPLE
    .\Connect-Share.ps1 -Path '\\NW01\SYS' -UserName 'EXGATE' -Password $secure -WhatIf
.OUTPUTS
    PSObject: Path [string], Connected [bool]
.NOTES
    Effect: Converge
    Rights: those of the account that is named
    Errors: ExRemote.BadArgument, ExRemote.ShareRefused, ExRemote.ShareUnreachable
#>
#requires -Version 2.0
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Low')]
param(
    [Parameter(Mandatory = $true)]
    [ValidateNotNullOrEmpty()]
    [string]$Path,

    [Parameter(Mandatory = $true)]
    [ValidateNotNullOrEmpty()]
    [string]$UserName,

    [Parameter(Mandatory = $true)]
    [Security.SecureString]$Password
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$share = [Text.RegularExpressions.Regex]::Match($Path, '^\\\\[^\\]+\\[^\\]+').Value
if ($share -eq '') { Write-Error -ErrorId 'ExRemote.BadArgument' -Category InvalidArgument -Message "'$Path' is not a UNC path." }

$answer = @{ Path = $Path; Connected = $false }
if ($PSCmdlet.ShouldProcess($share, "Connect as $UserName")) {
    $network, $why, $code = $null, '', 0
    # Protected in .NET 2.0; Marshal.GetHRForException would leave its text behind for the next COM error of the thread.
    $hresult = [Exception].GetProperty('HResult', [Reflection.BindingFlags]'Instance, Public, NonPublic')
    $pointer = [Runtime.InteropServices.Marshal]::SecureStringToBSTR($Password)
    try {
        $network = [Activator]::CreateInstance([Type]::GetTypeFromProgID('WScript.Network'))
        $network.MapNetworkDrive('', $share, $false, $UserName, [Runtime.InteropServices.Marshal]::PtrToStringBSTR($pointer))
        $answer.Connected = $true
    } catch {
        $why = $_.Exception.GetBaseException().Message
        $code = $hresult.GetValue($_.Exception.GetBaseException(), $null) -band 65535
    } finally {
        [Runtime.InteropServices.Marshal]::ZeroFreeBSTR($pointer)
        if ($null -ne $network) { [void][Runtime.InteropServices.Marshal]::ReleaseComObject($network) }
    }
    # Nobody was asked for a password: bad net path, busy, gone, no such name, no SMB 1 here, timeout, unreachable.
    if ($why -ne '' -and (51, 53, 54, 55, 59, 64, 67, 121, 384, 1231, 1232, 1234) -contains $code) {
        Write-Error -ErrorId 'ExRemote.ShareUnreachable' -Category ResourceUnavailable -Message "$($share): $why"
    }
    if ($why -ne '') { Write-Error -ErrorId 'ExRemote.ShareRefused' -Category PermissionDenied -Message "$($share): $why" }
}
New-Object PSObject -Property $answer
