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
    Errors: ExRemote.BadArgument, ExRemote.ShareRefused
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
    $network, $why = $null, ''
    $pointer = [Runtime.InteropServices.Marshal]::SecureStringToBSTR($Password)
    try {
        $network = [Activator]::CreateInstance([Type]::GetTypeFromProgID('WScript.Network'))
        $network.MapNetworkDrive('', $share, $false, $UserName, [Runtime.InteropServices.Marshal]::PtrToStringBSTR($pointer))
        $answer.Connected = $true
    } catch {
        $why = $_.Exception.GetBaseException().Message
    } finally {
        [Runtime.InteropServices.Marshal]::ZeroFreeBSTR($pointer)
        if ($null -ne $network) { [void][Runtime.InteropServices.Marshal]::ReleaseComObject($network) }
    }
    if ($why -ne '') { Write-Error -ErrorId 'ExRemote.ShareRefused' -Category PermissionDenied -Message "$($share): $why" }
}
New-Object PSObject -Property $answer
