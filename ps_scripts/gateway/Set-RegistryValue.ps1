<#
.SYNOPSIS
    Sets or removes registry values of another computer that come through the pipeline, and reads each back.
.DESCRIPTION
    The records and the lines are those of Set-RegistryValue for the computer itself.
.PARAMETER ComputerName
    The computer; its service Remote Registry answers.
.PARAMETER Block
    The records, block after block.
.EXAMPLE
    , $block | .\Set-RegistryValue.ps1 -ComputerName 'EXMSMAIL01'
.OUTPUTS
    byte[] blocks of the lines, then
    PSObject: Values [int], Failed [int]
.NOTES
    Effect: Converge
    Rights: write access to the keys
    Errors: ExRemote.BadArgument, ExRemote.TargetDenied, ExRemote.TargetUnreachable
#>
#requires -Version 2.0
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Low')]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$ComputerName,
    [Parameter(ValueFromPipeline = $true)] [byte[]]$Block = @()
)
begin {
    Set-StrictMode -Version 2.0
    $ErrorActionPreference = 'Stop'
    $whole, $inflated, $said = (New-Object IO.MemoryStream), (New-Object byte[] 65536), (New-Object Text.StringBuilder)
    $answer, $open, $joined = @{ Values = 0; Failed = 0 }, @{ Path = ''; Key = $null }, (New-Object Text.StringBuilder)
    $types = @{ 0 = [byte[]]; 1 = [string]; 2 = [string]; 3 = [byte[]]; 4 = [int]; 7 = [string[]]; 11 = [long] }
    $kinds = @{ 1 = 'String'; 2 = 'ExpandString'; 3 = 'Binary'; 4 = 'DWord'; 7 = 'MultiString'; 11 = 'QWord' }
    if ([Enum]::IsDefined([Microsoft.Win32.RegistryValueKind], 'None')) { $kinds[0] = 'None' }    # since .NET 4

    try { $machine = [Microsoft.Win32.RegistryKey]::OpenRemoteBaseKey('LocalMachine', $ComputerName) } catch {
        $why = "$($ComputerName): $($_.Exception.GetBaseException().Message)"
        if ($_.Exception.GetBaseException() -isnot [IO.IOException]) { Write-Error -ErrorId 'ExRemote.TargetDenied' -Category PermissionDenied -Message $why }
        Write-Error -ErrorId 'ExRemote.TargetUnreachable' -Category ResourceUnavailable -Message $why
    }
    function Test-Line { if ($null -eq $machine.OpenSubKey('SOFTWARE')) { throw (New-Object IO.IOException 'Its registry answers no more.') } }    # to .NET a broken line is a missing key
    function Send-Block {
        if ($said.Length -eq 0) { return }
        $plain, $memory, $said.Length = [Text.Encoding]::UTF8.GetBytes($said.ToString()), (New-Object IO.MemoryStream), 0
        $memory.WriteByte(1)
        $deflate = New-Object IO.Compression.DeflateStream($memory, [IO.Compression.CompressionMode]::Compress, $true)
        $deflate.Write($plain, 0, $plain.Length); $deflate.Close(); $sealed = $memory.ToArray()
        if ($sealed.Length - 1 -gt 0.9 * $plain.Length) { $sealed = New-Object byte[] ($plain.Length + 1); [Buffer]::BlockCopy($plain, 0, $sealed, 1, $plain.Length) }
        , $sealed
    }
    function ConvertTo-Text([byte[]]$Bytes) {
        $chars = New-Object char[] ([int][Math]::Floor($Bytes.Length / 2))
        [Buffer]::BlockCopy($Bytes, 0, $chars, 0, 2 * $chars.Length); $joined.Length = 0; $joined.Append($chars).ToString()
    }
    function ConvertTo-Byte([string]$Text) {
        $bytes = New-Object byte[] (2 * $Text.Length); [Buffer]::BlockCopy($Text.ToCharArray(), 0, $bytes, 0, $bytes.Length); , $bytes
    }
    function ConvertTo-Value([int]$Kind, [byte[]]$Bytes) {
        if (-not $kinds.ContainsKey($Kind)) { return }
        if ($Kind -eq 0 -or $Kind -eq 3) { return , $Bytes }
        if ($Kind -eq 4) { if ($Bytes.Length -eq 4) { [BitConverter]::ToInt32($Bytes, 0) }; return } elseif ($Kind -eq 11) { if ($Bytes.Length -eq 8) { [BitConverter]::ToInt64($Bytes, 0) }; return }
        $text, $last = (ConvertTo-Text $Bytes), ($Bytes.Length / 2 - 1)
        if ($Bytes.Length % 2 -ne 0 -or $last -lt 0 -or $text[$last] -ne [char]0) { return }
        if ($Kind -ne 7) { if ($text.IndexOf([char]0) -eq $last) { $text.Substring(0, $last) }; return }
        if ($last -eq 0) { return , [string[]]@() }
        if ($text[$last - 1] -eq [char]0) { , $text.Substring(0, $last - 1).Split([char]0) }
    }
    function Get-Now([string]$Name) {    # kind and base64 of what is there; '' if nothing is
        if ($null -eq $open.Key) { Test-Line; return '' }
        try { $kind = [string]$open.Key.GetValueKind($Name) } catch { if ($_.Exception.GetBaseException() -is [IO.IOException]) { Test-Line; return '' }; throw }
        $value = $open.Key.GetValue($Name, $null, 'DoNotExpandEnvironmentNames')
        if ($value -is [int] -or $value -is [long]) { $value = [BitConverter]::GetBytes($value) }
        elseif ($value -is [string]) { $value = ConvertTo-Byte "$value`0" }
        elseif ($value -is [string[]]) { $value = ConvertTo-Byte (-join @(@($value | ForEach-Object { "$_`0" }) + "`0")) }
        if ($value -is [byte[]]) { "$kind $([Convert]::ToBase64String($value))" } else { $kind }
    }
    function Set-One([string]$Path, [string]$Name, [int]$Kind, $Bytes) {
        $hive, $below = $Path.Split('\', 2)
        if (('HKLM', 'HKEY_LOCAL_MACHINE') -notcontains $hive -or -not $below -or $below -match '^\\|\\\\|\\$') { return 'failed', 'ExRemote.BadKey', 'It is no key below HKLM.' }
        if ($null -eq $open.Key -or $open.Path -ne $Path) {
            if ($null -ne $open.Key) { $open.Key.Close(); $open.Key = $null }
            $open.Path, $open.Key = $Path, $machine.OpenSubKey($below, $true)
        }
        $now, $wanted = (Get-Now $Name), ''
        if ($null -ne $Bytes) {
            $typed = ConvertTo-Value $Kind $Bytes
            if ($null -eq $typed) { return 'failed', 'ExRemote.KindUnsupported', "What runs the script writes no value of kind $Kind with such data." }
            $wanted = "$($kinds[$Kind]) $([Convert]::ToBase64String($Bytes))"
        }
        if ([String]::CompareOrdinal($now, $wanted) -eq 0) { return 'same', '', '' } elseif (-not $PSCmdlet.ShouldProcess("$Path|$Name", 'Set or remove')) { return 'kept', '', '' }
        if ($wanted -eq '') { $open.Key.DeleteValue($Name, $false) } else {
            if ($null -eq $open.Key) { $open.Key = $machine.CreateSubKey($below) }
            $open.Key.SetValue($Name, ($typed -as $types[$Kind]), $kinds[$Kind])
        }
        if ([String]::CompareOrdinal((Get-Now $Name), $wanted) -ne 0) { return 'failed', 'ExRemote.NotAsWritten', 'Read back, it is another value.' }
        return $(if ($wanted -eq '') { 'removed' } else { 'set' }), '', ''
    }
}
process {
    if ($Block.Length -eq 0 -or $Block[0] -eq 0) { if ($Block.Length -gt 0) { $whole.Write($Block, 1, $Block.Length - 1) }; return }
    $deflate = New-Object IO.Compression.DeflateStream((New-Object IO.MemoryStream($Block, 1, ($Block.Length - 1))), [IO.Compression.CompressionMode]::Decompress)
    while (($count = $deflate.Read($inflated, 0, $inflated.Length)) -gt 0) { $whole.Write($inflated, 0, $count) }
}
end {
    $reader, $whole.Position = (New-Object IO.BinaryReader $whole), 0
    if ($whole.Length -lt 4 -or $reader.ReadInt32() -ne $whole.Length - 4) { Write-Error -ErrorId 'ExRemote.BadArgument' -Message 'The records did not come whole.' }
    while ($whole.Position -lt $whole.Length) {
        $path, $name = @(1..2 | ForEach-Object { ConvertTo-Text ($reader.ReadBytes($reader.ReadInt32())) })
        $kind, $length = $reader.ReadInt32(), $reader.ReadInt32(); $bytes = if ($length -ge 0) { , $reader.ReadBytes($length) }
        try { $state, $id, $why = Set-One $path $name $kind $bytes } catch {
            $base = $_.Exception.GetBaseException()
            $denied = $base -is [UnauthorizedAccessException] -or $base -is [Security.SecurityException]
            $state, $id, $why = 'failed', $(if ($denied) { 'ExRemote.KeyDenied' } else { 'ExRemote.WriteFailed' }), $(if ($denied) { $base.Message } else { $base.GetType().Name })
        }
        $answer.Values++; if ($state -eq 'failed') { $answer.Failed++ }
        [void]$said.Append("$state`t$id`t$($why -replace '\s+', ' ')`n"); if ($said.Length -gt 40000) { Send-Block }
    }
    Send-Block
    New-Object PSObject -Property $answer
}
