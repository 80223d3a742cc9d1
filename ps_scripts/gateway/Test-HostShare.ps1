<#
.SYNOPSIS
    Says whether administrative shares of another computer answer.
.DESCRIPTION
    To Windows a file on a share that went away is a file that is not there: who was told that one is missing asks this.
.PARAMETER ComputerName
    The computer.
.PARAMETER Share
    Names of shares, such as C$.
.EXAMPLE
    .\Test-HostShare.ps1 -ComputerName 'EXMSMAIL01' -Share 'C$'
.OUTPUTS
    PSObject: Share [string], Answers [bool], Error [string]
.NOTES
    Effect: Read
    Rights: administrator of that computer
    Errors: none
#>
#requires -Version 2.0
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)]
    [ValidateNotNullOrEmpty()]
    [string]$ComputerName,

    [Parameter(Mandatory = $true)]
    [ValidateNotNullOrEmpty()]
    [string[]]$Share
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

foreach ($one in @($Share)) {
    $answer = @{ Share = $one; Answers = $false; Error = '' }
    # Its root is listed: whether a folder exists is answered with no and no reason.
    try { [void][IO.Directory]::GetDirectories("\\$ComputerName\$one\", 'exremote-none'); $answer.Answers = $true }
    catch { $answer.Error = $_.Exception.GetBaseException().Message }
    New-Object PSObject -Property $answer
}
