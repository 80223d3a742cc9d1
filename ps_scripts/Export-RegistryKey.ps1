<#
.SYNOPSIS
    Exports one registry key as reg.exe writes it.
.DESCRIPTION
    Runs reg.exe export into a new temporary file, sends the file's bytes in blocks of at most 256 KiB, a first byte 0
    before plain bytes, 1 before deflated ones, and removes the file in every outcome.
.PARAMETER Key
    The key, for example HKLM\SYSTEM\CurrentControlSet\Services\LME-NOTES.
.EXAMPLE
    .\Export-RegistryKey.ps1 -Key 'HKLM\SOFTWARE\Lotus\Notes' -WhatIf
.OUTPUTS
    byte[] blocks of the .reg file, then
    PSObject: Key [string], Exists [bool], Bytes [long], Sha256 [string]
.NOTES
    Effect: Converge
    Rights: read access to the key, write access to the temporary folder
    Errors: ExRemote.BadArgument, ExRemote.KeyUnreadable, ExRemote.ExportFailed
#>
#requires -Version 2.0
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Low')]
param(
    [Parameter(Mandatory = $true)]
    [ValidateNotNullOrEmpty()]
    [string]$Key
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$hives = @{
    HKLM = [Microsoft.Win32.Registry]::LocalMachine
    HKCU = [Microsoft.Win32.Registry]::CurrentUser
    HKU  = [Microsoft.Win32.Registry]::Users
    HKCR = [Microsoft.Win32.Registry]::ClassesRoot
}

$strict = New-Object Text.UnicodeEncoding($false, $false, $true)

function Get-Block([byte[]]$Plain, [int]$Count) {
    # Text travels as deflated UTF-8 (2), half the size of deflated UTF-16; what is no text, as it is (1, or 0 plain).
    $kind, $bytes = 1, $Plain
    try { $kind, $bytes = 2, [Text.Encoding]::UTF8.GetBytes($strict.GetString($Plain, 0, $Count)) } catch { $kind = 1 }
    $length = if ($kind -eq 2) { $bytes.Length } else { $Count }
    $memory = New-Object IO.MemoryStream
    $memory.WriteByte($kind)
    $deflate = New-Object IO.Compression.DeflateStream($memory, [IO.Compression.CompressionMode]::Compress, $true)
    $deflate.Write($bytes, 0, $length)
    $deflate.Close()
    $sealed = $memory.ToArray()
    if ($sealed.Length - 1 -gt 0.9 * $Count) {
        $sealed = New-Object byte[] ($Count + 1)
        [Buffer]::BlockCopy($Plain, 0, $sealed, 1, $Count)
    }
    , $sealed
}

$answer = @{ Key = $Key; Exists = $false; Bytes = [long]0; Sha256 = '' }
$hive, $below = $Key.TrimEnd('\').Split('\')
if (-not $hives.ContainsKey($hive) -or $null -eq $below -or $Key.Contains('"')) {
    Write-Error -ErrorId 'ExRemote.BadArgument' -Category InvalidArgument -Message "'$Key' is not HIVE\KEY."
}
$open, $why = $null, ''
try { $open = $hives[$hive].OpenSubKey([String]::Join('\', @($below))) } catch { $why = $_.Exception.GetBaseException().Message }
if ($why -ne '') { Write-Error -ErrorId 'ExRemote.KeyUnreadable' -Category PermissionDenied -Message "$($Key): $why" }
if ($null -ne $open) {
    $open.Close()
    $answer.Exists = $true
}

if ($answer.Exists -and $PSCmdlet.ShouldProcess($Key, 'Export to a temporary file')) {
    # A name that nobody has: reg.exe of Windows 2003 knows no /y and would wait for an answer.
    $file = [IO.Path]::Combine([IO.Path]::GetTempPath(), 'exremote-' + [Guid]::NewGuid().ToString('N') + '.reg')
    try {
        $ErrorActionPreference = 'Continue'     # what a program writes to standard error is no error of ours
        $said = @(& "$env:SystemRoot\System32\reg.exe" export $Key.TrimEnd('\') $file 2>&1)
        $code = $LASTEXITCODE
        $ErrorActionPreference = 'Stop'
        if ($code -ne 0 -or -not [IO.File]::Exists($file)) {
            Write-Error -ErrorId 'ExRemote.ExportFailed' -Message "reg.exe ended with $code. $said"
        }
        $sha = New-Object Security.Cryptography.SHA256Managed
        $buffer = New-Object byte[] 262144
        # Blocks are held until there is enough for an answer: each record that comes alone costs a round trip.
        $held, $size = (New-Object Collections.ArrayList), 0
        $stream = [IO.File]::OpenRead($file)
        try {
            while (($count = $stream.Read($buffer, 0, $buffer.Length)) -gt 0) {
                [void]$sha.TransformBlock($buffer, 0, $count, $buffer, 0)
                $answer.Bytes += $count
                $size += $held[$held.Add((Get-Block $buffer $count))].Length
                if ($size -gt 262144) { $held; $held.Clear(); $size = 0 }
            }
        } finally { $stream.Close() }
        $held
        [void]$sha.TransformFinalBlock($buffer, 0, 0)
        $answer.Sha256 = [BitConverter]::ToString($sha.Hash).Replace('-', '').ToLowerInvariant()
    } finally { [IO.File]::Delete($file) }
}
New-Object PSObject -Property $answer
