<#
.SYNOPSIS
    Runs one bundled script at the far end of a raw stream and sends its records home as plain bytes.
.DESCRIPTION
    Not a question to a host. It is started and called as Receive-Call is, but with -OutputFormat Text, and what it
    answers goes to standard output as it is, without CLIXML or base64:
        EXREMOTE RAW 1 CR LF, then frames of kind (1 byte), length (uint32, little-endian), payload
        B  a byte[] record, as it came
        O  an object: UTF-8 lines NAME:KIND:DATA; kinds as for -Parameter, and t ticks of a date in UTC, n nothing
        V  any other record: KIND:DATA
        E  an error: lines for ErrorId, Message, Terminating, in the same form
        Z  the end, without a payload: an answer without it was cut
    What stands before the first line, or behind the end, does not count.
.PARAMETER Script
    The text of the script to run, B64 (see Receive-Call).
.PARAMETER Parameter
    Its named parameters, one NAME:KIND:DATA each.
.EXAMPLE
    & .\Receive-RawCall.ps1 -Script 'JzEn' -Parameter 'Path:s:QzpcVGVtcA=='
.OUTPUTS
    Nothing in the pipeline; frames on standard output. Lines of an error:
    ErrorId [string], Message [string], Terminating [bool]
.NOTES
    Effect: Once
    Rights: those of the script that it runs
    Errors: none of its own
#>
#requires -Version 2.0
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Low')]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Script,
    [string[]]$Parameter = @()
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'

function ConvertFrom-WireText([string]$Text) { [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($Text)) }
function ConvertTo-WireText([string]$Text) { [Convert]::ToBase64String([Text.Encoding]::UTF8.GetBytes($Text)) }

function ConvertFrom-WireValue([string]$Kind, [string]$Data) {
    switch -CaseSensitive ($Kind) {
        's' { ConvertFrom-WireText $Data }
        'i' { [int](ConvertFrom-WireText $Data) }
        'l' { [long](ConvertFrom-WireText $Data) }
        'b' { (ConvertFrom-WireText $Data) -eq 'true' }
        'y' { , [Convert]::FromBase64String($Data) }
        'a' {
            $item = $Data.Split('.')
            , [string[]]@(for ($i = 1; $i -lt $item.Length; $i++) { ConvertFrom-WireText $item[$i] })
        }
        default { throw "Receive-RawCall knows no kind '$Kind'." }
    }
}

function ConvertTo-WireValue($Value) {
    if ($null -eq $Value) { 'n:' }
    elseif ($Value -is [bool]) { 'b:' + (ConvertTo-WireText "$Value".ToLowerInvariant()) }
    elseif ($Value -is [int]) { 'i:' + (ConvertTo-WireText $Value) }
    elseif ($Value -is [long]) { 'l:' + (ConvertTo-WireText $Value) }
    elseif ($Value -is [DateTime]) { 't:' + (ConvertTo-WireText $Value.ToUniversalTime().Ticks) }
    elseif ($Value -is [byte[]]) { 'y:' + [Convert]::ToBase64String($Value) }
    elseif ($Value -is [string[]]) { 'a:' + [String]::Join('', @($Value | ForEach-Object { '.' + (ConvertTo-WireText $_) })) }
    else { 's:' + (ConvertTo-WireText $Value) }
}

# One write a frame, header and all, the first line with the first of them: what comes alone through a pipe may travel alone.
$out, $frame = [Console]::OpenStandardOutput(), (New-Object byte[] 262166)
$ahead = @{ Line = [Text.Encoding]::ASCII.GetBytes("EXREMOTE RAW 1`r`n") }
function Send-Frame([byte]$Kind, [byte[]]$Bytes) {
    $whole, $at = $frame, $ahead.Line.Length
    $size = $at + 5 + $Bytes.Length
    if ($size -gt $whole.Length) { $whole = New-Object byte[] $size }
    [Buffer]::BlockCopy($ahead.Line, 0, $whole, 0, $at)
    $whole[$at] = $Kind
    [Buffer]::BlockCopy([BitConverter]::GetBytes([uint32]$Bytes.Length), 0, $whole, $at + 1, 4)
    [Buffer]::BlockCopy($Bytes, 0, $whole, $at + 5, $Bytes.Length)
    $out.Write($whole, 0, $size)
    $ahead.Line = New-Object byte[] 0
}
function Send-Object([byte]$Kind, [Collections.IDictionary]$Bag) {
    $lines = @($Bag.Keys | ForEach-Object { "$($_):" + (ConvertTo-WireValue $Bag[$_]) })
    Send-Frame $Kind ([Text.Encoding]::UTF8.GetBytes([String]::Join("`n", $lines)))
}
function Send-Error($ErrorRecord, [bool]$Terminating) {
    $id, $said = $ErrorRecord.FullyQualifiedErrorId, $ErrorRecord.Exception.Message
    Send-Object 69 @{ ErrorId = $id; Message = $said; Terminating = $Terminating }
}

# In the pipeline and not in a function of its own: a block of bytes must go out the moment it came.
$pass = {
    if ($_ -is [byte[]]) { Send-Frame 66 $_ }
    elseif ($_ -is [Management.Automation.ErrorRecord]) { Send-Error $_ $false }
    elseif ($null -eq $_ -or $_ -is [string] -or $_ -is [ValueType]) { Send-Frame 86 ([Text.Encoding]::ASCII.GetBytes((ConvertTo-WireValue $_))) }
    else {
        $bag = @{}
        foreach ($property in @($_.PSObject.Properties)) { $bag[$property.Name] = $property.Value }
        Send-Object 79 $bag
    }
}

try {
    $named = @{}
    foreach ($one in @($Parameter)) {
        $name, $kind, $data = $one.Split(':')
        $named[$name] = ConvertFrom-WireValue $kind $data
    }
    $block = $ExecutionContext.InvokeCommand.NewScriptBlock((ConvertFrom-WireText $Script))
    & $block @named 2>&1 | ForEach-Object $pass
} catch {
    Send-Error $_ $true
}
Send-Frame 90 (New-Object byte[] 0)
$out.Flush()
