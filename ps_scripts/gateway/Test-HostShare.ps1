<#
.SYNOPSIS
    Says whether administrative shares of another computer answer.
.DESCRIPTION
    To Windows a file on a share that went away is a file that is not there: who was told that one is missing asks this.
    Unknown: the computer says that it has no share of that name, as where it has no such drive.
.PARAMETER ComputerName
    The computer.
.PARAMETER Share
    Names of shares, such as C$.
.EXAMPLE
    .\Test-HostShare.ps1 -ComputerName 'EXMSMAIL01' -Share 'C$'
.OUTPUTS
    PSObject: Share [string], Answers [bool], Unknown [bool], Error [string]
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

# Protected in .NET 2.0; Marshal.GetHRForException would leave its text behind for the next COM error of the thread.
$hresult = [Exception].GetProperty('HResult', [Reflection.BindingFlags]'Instance, Public, NonPublic')
foreach ($one in @($Share)) {
    $answer = @{ Share = $one; Answers = $false; Unknown = $false; Error = '' }
    # Its root is listed: whether a folder exists is answered with no and no reason.
    try { [void][IO.Directory]::GetDirectories("\\$ComputerName\$one\", 'exremote-none'); $answer.Answers = $true }
    catch {
        $base = $_.Exception.GetBaseException()
        # ERROR_BAD_NET_NAME; ERROR_PATH_NOT_FOUND where a redirector words it so.
        $answer.Unknown = (67, 3) -contains ($hresult.GetValue($base, $null) -band 65535)
        $answer.Error = $base.Message
    }
    New-Object PSObject -Property $answer
}
