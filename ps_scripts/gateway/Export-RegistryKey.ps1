<#
.SYNOPSIS
    Exports one registry key of another computer as .reg text.
.DESCRIPTION
    The text is composed from what .NET reads, for reg.exe exports nothing of another computer: a value of a kind that .NET
    does not read ends it, and what a text has behind its end mark is lost. Texts with line ends or odd signs come as bytes.
.PARAMETER ComputerName
    The computer; its service Remote Registry answers.
.PARAMETER Key
    HIVE\KEY with HKLM or HKU.
.EXAMPLE
    .\Export-RegistryKey.ps1 -ComputerName 'EXMSMAIL01' -Key 'HKLM\SOFTWARE\Lotus\Notes'
.OUTPUTS
    byte[] blocks of .reg text
    PSObject: Key [string], Exists [bool], Bytes [long], Sha256 [string]
.NOTES
    Effect: Read
    Rights: administrator of that computer
    Errors: ExRemote.BadArgument, ExRemote.ExportFailed, ExRemote.KeyUnreadable, ExRemote.TargetUnreachable
#>
#requires -Version 2.0
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$ComputerName,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Key
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$text, $held, $sha = (New-Object Text.StringBuilder), (New-Object Collections.ArrayList), (New-Object Security.Cryptography.SHA256Managed)
$answer = @{ Key = $Key; Exists = $false; Bytes = [long]0; Sha256 = '' }
$kinds = @{ None = 0; String = 1; ExpandString = 2; Binary = 3; DWord = 4; MultiString = 7; QWord = 11 }

function Send-Text([int]$Least) {
    if ($text.Length -le $Least) { return }
    $plain, $text.Length = [Text.Encoding]::Unicode.GetBytes($text.ToString()), 0
    [void]$sha.TransformBlock($plain, 0, $plain.Length, $plain, 0)
    $answer.Bytes += $plain.Length
    $kind, $bytes, $memory = 2, [Text.Encoding]::UTF8.GetBytes([Text.Encoding]::Unicode.GetString($plain)), (New-Object IO.MemoryStream)
    $memory.WriteByte($kind)
    $deflate = New-Object IO.Compression.DeflateStream($memory, [IO.Compression.CompressionMode]::Compress, $true)
    $deflate.Write($bytes, 0, $bytes.Length)
    $deflate.Close()
    $sealed = $memory.ToArray()
    if ($sealed.Length - 1 -gt 0.9 * $plain.Length) {
        $sealed = New-Object byte[] ($plain.Length + 1)
        [Buffer]::BlockCopy($plain, 0, $sealed, 1, $plain.Length)
    }
    [void]$held.Add($sealed)
}
function ConvertTo-Byte([string]$Text) {
    $bytes = New-Object byte[] (2 * $Text.Length)
    [Buffer]::BlockCopy($Text.ToCharArray(), 0, $bytes, 0, $bytes.Length)
    , $bytes
}
function Add-Value($Open, [string]$Name) {
    $kind = [string]$Open.GetValueKind($Name)
    $data = $Open.GetValue($Name, $null, 'DoNotExpandEnvironmentNames')
    if ($null -eq $data -or -not $kinds.ContainsKey($kind)) {
        Write-Error -ErrorId 'ExRemote.ExportFailed' -Message "$($Open.Name)|$($Name): .NET reads no value of that kind ($kind)."
    }
    [void]$text.Append($(if ($Name -eq '') { '@' } else { '"' + $Name.Replace('\', '\\').Replace('"', '\"') + '"' })).Append('=')
    if ($kind -eq 'DWord') { [void]$text.Append('dword:' + ([int]$data).ToString('x8')).Append("`r`n"); return }
    if ($kind -eq 'String' -and $data -notmatch '[\x00-\x1f\ud800-\udfff\ufffe\uffff]') {
        [void]$text.Append('"' + $data.Replace('\', '\\').Replace('"', '\"') + '"').Append("`r`n")
        return
    }
    if ($data -is [long]) { $data = [BitConverter]::GetBytes($data) }
    elseif ($data -is [string[]]) { $data = ConvertTo-Byte ([String]::Join('', [string[]]@(@($data | ForEach-Object { "$_`0" }) + "`0"))) }
    elseif ($data -is [string]) { $data = ConvertTo-Byte "$data`0" }
    [void]$text.Append($(if ($kind -eq 'Binary') { 'hex:' } else { 'hex({0:x}):' -f $kinds[$kind] }))
    [void]$text.Append([BitConverter]::ToString([byte[]]$data).Replace('-', ',').ToLowerInvariant()).Append("`r`n")
}
function Add-Key($Open) {
    [void]$text.Append("[$($Open.Name)]`r`n")
    foreach ($name in @($Open.GetValueNames())) { Add-Value $Open $name }
    [void]$text.Append("`r`n")
    Send-Text 65536
    foreach ($name in @($Open.GetSubKeyNames())) {
        $below = $Open.OpenSubKey($name)
        # It went while we read: what a key that is there needs most is to be whole.
        if ($null -eq $below) { Write-Error -ErrorId 'ExRemote.ExportFailed' -Message "$($Open.Name)\$name cannot be opened any more." }
        try { Add-Key $below } finally { $below.Close() }
    }
}
$hive, $rest = $Key.TrimEnd('\').Split('\')
if (('HKLM', 'HKU') -notcontains $hive -or $null -eq $rest -or $Key.Contains('"')) {
    Write-Error -ErrorId 'ExRemote.BadArgument' -Category InvalidArgument -Message "'$Key' is not HKLM\KEY or HKU\KEY."
}
$open, $id, $why = $null, '', ''
try {
    $users = $hive -eq 'HKU'
    $machine = [Microsoft.Win32.RegistryKey]::OpenRemoteBaseKey($(if ($users) { 'Users' } else { 'LocalMachine' }), $ComputerName)
    $open = $machine.OpenSubKey([String]::Join('\', @($rest)))
    # A key that is not there and a line that broke are the same to .NET: then one that every Windows has is asked for.
    if ($null -eq $open -and $null -eq $machine.OpenSubKey($(if ($users) { '.DEFAULT' } else { 'SOFTWARE' }))) { throw 'Its registry answers no more.' }
    if ($null -ne $open) {
        $answer.Exists = $true
        [void]$text.Append([char]65279).Append("Windows Registry Editor Version 5.00`r`n`r`n")
        Add-Key $open
        Send-Text 0
    }
} catch {
    if ($_.FullyQualifiedErrorId.StartsWith('ExRemote.', 'Ordinal')) { throw }
    $base = $_.Exception.GetBaseException()
    $id = if ($base -is [UnauthorizedAccessException] -or $base -is [Security.SecurityException]) { 'denied' } else { 'broken' }
    $why = "$($ComputerName): $($base.Message)"
}
if ($id -eq 'denied') { Write-Error -ErrorId 'ExRemote.KeyUnreadable' -Category PermissionDenied -Message $why }
if ($id -eq 'broken') { Write-Error -ErrorId 'ExRemote.TargetUnreachable' -Category ResourceUnavailable -Message $why }
$held
[void]$sha.TransformFinalBlock((New-Object byte[] 0), 0, 0)
if ($answer.Exists) { $answer.Sha256 = [BitConverter]::ToString($sha.Hash).Replace('-', '').ToLowerInvariant() }
New-Object PSObject -Property $answer
