<#
.SYNOPSIS
    Counts the recent events of named sources in another computer's Application log.
.DESCRIPTION
    As on the computer itself, but for the texts: they are looked up in libraries that may be there alone, and come empty
    where the asking computer does not know them.
.PARAMETER ComputerName
    The computer.
.PARAMETER Source
    Names of event sources.
.PARAMETER SinceHours
    How far back to look.
.EXAMPLE
    .\Get-EventSummary.ps1 -ComputerName 'EXMSMAIL01' -Source 'MSExchangeMSMI' -SinceHours 24
.OUTPUTS
    PSObject: Source [string], EventId [int], Level [string], Count [long], LastUtc [datetime], Message [string]
.NOTES
    Effect: Read
    Rights: administrator of that computer
    Errors: ExRemote.EventLogUnavailable
#>
#requires -Version 2.0
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)]
    [ValidateNotNullOrEmpty()]
    [string]$ComputerName,

    [Parameter(Mandatory = $true)]
    [ValidateNotNullOrEmpty()]
    [string[]]$Source,

    [Parameter(Mandatory = $true)]
    [ValidateRange(1, 8760)]
    [int]$SinceHours
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$seen = New-Object Collections.Hashtable ([StringComparer]::OrdinalIgnoreCase)
$order = New-Object Collections.ArrayList
$since = [DateTime]::UtcNow.AddHours(-$SinceHours)
$why, $older = '', 0
try {
    $log = New-Object Diagnostics.EventLog('Application', $ComputerName)
    $entries = $log.Entries
    # By method: since version 3 a property that cannot be read is nothing, and a log that is closed would be empty.
    for ($i = $entries.get_Count() - 1; $i -ge 0 -and $older -lt 1000; $i--) {
        $entry = $entries.Item($i)
        $when = $entry.TimeGenerated.ToUniversalTime()
        if ($when -lt $since) { $older++; continue }
        $older = 0
        if ($Source -notcontains $entry.Source) { continue }
        # The low 16 bits are the number that the event viewer shows and the knowledge base speaks of.
        $id = [int]($entry.InstanceId -band 65535)
        $name = "$($entry.Source)|$id"
        if (-not $seen.ContainsKey($name)) {
            $message = ''
            try { $message = [string]$entry.Message } catch { Write-Verbose "The text of $name is not known here." }
            if ($message.Length -gt 300) { $message = $message.Substring(0, 300) }
            $level = [string]$entry.EntryType
            if ($level -eq '0') { $level = 'Information' }
            $seen[$name] = @{ Source = $entry.Source; EventId = $id; Level = $level; Count = [long]0; LastUtc = $when; Message = $message }
            [void]$order.Add($name)
        }
        $seen[$name].Count++
    }
    $log.Close()
} catch { $why = $_.Exception.GetBaseException().Message }
if ($why -ne '') { Write-Error -ErrorId 'ExRemote.EventLogUnavailable' -Category ResourceUnavailable -Message "$($ComputerName): $why" }
foreach ($name in @($order.ToArray())) { New-Object PSObject -Property $seen[$name] }
