<#
.SYNOPSIS
    Counts the recent events of named sources in the Application log.
.DESCRIPTION
    Reads the log from its newest entry back to the time that is asked for, and answers with one object for each
    source and event id, with the beginning of the newest message. It goes on past older entries, for a wrong clock may
    have dated them, until 1,000 of them came in a row.
.PARAMETER Source
    Names of event sources.
.PARAMETER SinceHours
    How far back to look.
.EXAMPLE
    .\Get-EventSummary.ps1 -Source 'MSExchangeGWISE', 'MSExchangeGWRtr' -SinceHours 24
.OUTPUTS
    PSObject: Source [string], EventId [int], Level [string], Count [long], LastUtc [datetime], Message [string]
.NOTES
    Effect: Read
    Rights: read access to the Application log
    Errors: ExRemote.EventLogUnavailable
#>
#requires -Version 2.0
[CmdletBinding()]
param(
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
    $log = New-Object Diagnostics.EventLog 'Application'
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
            # The message is looked up in the source's own library, which is slow: once, for the newest.
            $message = [string]$entry.Message
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
if ($why -ne '') { Write-Error -ErrorId 'ExRemote.EventLogUnavailable' -Category ResourceUnavailable -Message $why }
foreach ($name in @($order.ToArray())) { New-Object PSObject -Property $seen[$name] }
