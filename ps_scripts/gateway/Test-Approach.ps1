<#
.SYNOPSIS
    Says what lies between this computer and another one that has no WinRM: its name, ports, and how Windows here speaks SMB.
.DESCRIPTION
    Logs on nowhere. Windows 2000 and 2003 speak SMB 1 alone, which newer Windows may lack or have switched off; they sign
    nothing unless told to, and may know NTLM version 1 only. Ports: number, and open, refused, silent or unknown.
.PARAMETER ComputerName
    The other computer.
.EXAMPLE
    .\Test-Approach.ps1 -ComputerName 'EXMSMAIL01'
.OUTPUTS
    PSObject: ComputerName [string], Asker [string], Addresses [string[]], Ports [string[]], Smb1 [string], SigningRequired [bool], LmCompatibility [int]
.NOTES
    Effect: Read
    Rights: any account that may log on
    Errors: none
#>
#requires -Version 2.0
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)]
    [ValidateNotNullOrEmpty()]
    [string]$ComputerName
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$services = 'HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services'
$addresses = @()
try { $addresses = @([Net.Dns]::GetHostAddresses($ComputerName) | ForEach-Object { $_.ToString() }) }
catch { Write-Verbose "$ComputerName has no address: $($_.Exception.GetBaseException().Message)" }

$ports = @(foreach ($port in @(445, 139, 135)) {
        $client, $how = (New-Object Net.Sockets.TcpClient), 'unknown'
        try {
            $waiting = $client.BeginConnect($ComputerName, $port, $null, $null)
            if (-not $waiting.AsyncWaitHandle.WaitOne(3000, $false)) { $how = 'silent' }
            else { $client.EndConnect($waiting); $how = 'open' }
        } catch {
            $base = $_.Exception.GetBaseException()
            if ($base -is [Net.Sockets.SocketException]) { $how = if ($base.ErrorCode -eq 10061) { 'refused' } elseif ($base.ErrorCode -eq 10060) { 'silent' } else { 'unknown' } }
        } finally { $client.Close() }
        "$port $how"
    })

# Before Windows Vista one driver spoke all that there was; since then SMB 1 is a driver of its own.
$smb = 'installed'
if ([Environment]::OSVersion.Version.Major -ge 6) {
    $start = [Microsoft.Win32.Registry]::GetValue("$services\mrxsmb10", 'Start', $null)
    if ($null -eq $start) { $smb = 'missing' } elseif ([int]$start -eq 4) { $smb = 'disabled' }
}
$level = [Microsoft.Win32.Registry]::GetValue('HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Lsa', 'LmCompatibilityLevel', $null)

New-Object PSObject -Property @{
    ComputerName    = $ComputerName
    Asker           = [Environment]::MachineName
    Addresses       = [string[]]$addresses
    Ports           = [string[]]$ports
    Smb1            = $smb
    SigningRequired = [bool][Microsoft.Win32.Registry]::GetValue("$services\LanmanWorkstation\Parameters", 'RequireSecuritySignature', 0)
    LmCompatibility = $(if ($null -eq $level) { -1 } else { [int]$level })
}
