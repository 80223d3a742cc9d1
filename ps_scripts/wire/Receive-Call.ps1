<#
.SYNOPSIS
    Runs one bundled script at the far end of the WinRS wire and sends its records home as ASCII.
.DESCRIPTION
    Not a question to a host. Over WinRS, powershell.exe is started as
        powershell.exe -NoProfile -NonInteractive -OutputFormat XML -EncodedCommand BOOTSTRAP
    where BOOTSTRAP is the base64 of the UTF-16LE of this one line:
        &([scriptblock]::Create([Text.Encoding]::UTF8.GetString([Convert]::FromBase64String((@($input)-join'')))))
    Standard input is base64 (ASCII, lines of any length) of the UTF-8 of the payload, and then its end:
        & {
        TEXT OF THIS FILE
        } -Script 'B64' -Parameter 'NAME:KIND:DATA','NAME:KIND:DATA' -Source 'KIND:DATA','KIND:DATA'
    -Parameter and -Source are left out where there is none. B64 is base64 of UTF-8. KIND and DATA:
        s  string       B64
        i  int, l long  B64 of the decimal digits
        b  bool, switch B64 of true or false
        p  secret       B64; arrives as a SecureString
        a  string[]     .B64 for each item, put together ('' = no item, '.' = one empty string)
        y  byte[]       base64 of the bytes
    Each record of the script is passed on at once. In strings, in the properties of objects and in their string
    arrays each character outside 0x20-0x7E, and each underscore before x or X, becomes _xHHHH_ (UTF-16 code unit,
    upper case hex), below whatever escaping CLIXML adds. byte[], dates, numbers and booleans stay as they are.
    An error becomes a marked object, and the last record is ExremoteEnd: an answer without it was cut.
.PARAMETER Script
    The text of the script to run, B64.
.PARAMETER Parameter
    Its named parameters, one NAME:KIND:DATA each.
.PARAMETER Source
    Objects for its pipeline, one KIND:DATA each.
.EXAMPLE
    & .\Receive-Call.ps1 -Script 'JzEn' -Parameter 'Path:s:QzpcVGVtcA=='
.OUTPUTS
    The records of the script, then
    PSObject: ExremoteError [bool], ErrorId [string], Message [string], Terminating [bool], Category [string]
    PSObject: ExremoteEnd [bool]
.NOTES
    Effect: Once
    Rights: those of the script that it runs
    Errors: none of its own
#>
#requires -Version 2.0
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Low')]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Script,
    [string[]]$Parameter = @(),
    [string[]]$Source = @()
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'

function ConvertFrom-WireText([string]$Text) { [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($Text)) }

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
        'p' {
            $secret = New-Object Security.SecureString
            foreach ($char in @((ConvertFrom-WireText $Data).ToCharArray())) { $secret.AppendChar($char) }
            $secret
        }
        default { throw "Receive-Call knows no kind '$Kind'." }
    }
}

$escape = { param($match) '_x{0:X4}_' -f [int][char]$match.Value }
function ConvertTo-WireText([string]$Text) {
    [Text.RegularExpressions.Regex]::Replace($Text, '[^\x20-\x7E]|_(?=[xX])', $escape)
}

function ConvertTo-WireError($ErrorRecord, [bool]$Terminating) {
    New-Object PSObject -Property @{
        ExremoteError = $true
        ErrorId       = ConvertTo-WireText $ErrorRecord.FullyQualifiedErrorId
        Message       = ConvertTo-WireText $ErrorRecord.Exception.Message
        Terminating   = $Terminating
        Category      = [string]$ErrorRecord.CategoryInfo.Category
    }
}

# In the pipeline and not in a function of its own: a block of bytes must go out as it came, the moment it came.
$pass = {
    if ($_ -is [Management.Automation.ErrorRecord]) { ConvertTo-WireError $_ $false }
    elseif ($_ -is [string]) { ConvertTo-WireText $_ }
    elseif ($null -eq $_ -or $_ -is [byte[]] -or $_ -is [ValueType]) { , $_ }
    else {
        $bag = @{}
        foreach ($property in @($_.PSObject.Properties)) {
            $value = $property.Value
            if ($value -is [string]) { $value = ConvertTo-WireText $value }
            elseif ($value -is [string[]]) { $value = [string[]]@($value | ForEach-Object { ConvertTo-WireText $_ }) }
            $bag[$property.Name] = $value
        }
        New-Object PSObject -Property $bag
    }
}

try {
    $named = @{}
    foreach ($one in @($Parameter)) {
        $name, $kind, $data = $one.Split(':')
        $named[$name] = ConvertFrom-WireValue $kind $data
    }
    $block = $ExecutionContext.InvokeCommand.NewScriptBlock((ConvertFrom-WireText $Script))
    $objects = { $kind, $data = $_.Split(':'); , (ConvertFrom-WireValue $kind $data) }
    if ($Source.Length -eq 0) { & $block @named 2>&1 | ForEach-Object $pass }
    else { $Source | ForEach-Object $objects | & $block @named 2>&1 | ForEach-Object $pass }
} catch {
    ConvertTo-WireError $_ $true
}
New-Object PSObject -Property @{ ExremoteEnd = $true }
