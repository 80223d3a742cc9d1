<#
.SYNOPSIS
    Reads the directory objects of one class from the configuration partition.
.DESCRIPTION
    Searches Active Directory below the configuration naming context. Every value comes as name=value, bytes as
    name:=base64. An attribute with password, pwd or secret in its name is named in Withheld, and its values are never
    read.
.PARAMETER Class
    LDAP name of the class, for example msExchGroupWiseConnector.
.EXAMPLE
    .\Get-ConnectorObject.ps1 -Class 'msExchGroupWiseConnector'
.OUTPUTS
    PSObject: Class [string], DistinguishedName [string], Attributes [string[]], Withheld [string[]]
.NOTES
    Effect: Read
    Rights: read access to the configuration partition, as every domain account has
    Errors: ExRemote.BadArgument, ExRemote.DirectoryUnavailable
#>
#requires -Version 2.0
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)]
    [ValidateNotNullOrEmpty()]
    [string]$Class
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function ConvertTo-Line([string]$Name, $Value) {
    if ($Value -is [byte[]]) { return $Name + ':=' + [Convert]::ToBase64String($Value) }
    if ($Value -is [DateTime]) { return "$Name=" + $Value.ToUniversalTime().ToString('yyyy-MM-ddTHH:mm:ssZ', [Globalization.CultureInfo]::InvariantCulture) }
    return "$Name=$Value"
}

if (-not [Text.RegularExpressions.Regex]::IsMatch($Class, '^[A-Za-z][A-Za-z0-9-]*$')) {
    Write-Error -ErrorId 'ExRemote.BadArgument' -Category InvalidArgument -Message "'$Class' is not the name of a class."
}

$why = ''
try {
    Add-Type -AssemblyName System.DirectoryServices
    $top = New-Object DirectoryServices.DirectoryEntry 'LDAP://RootDSE'
    $configuration = [string]$top.Properties['configurationNamingContext'].Value
    if ($configuration -eq '') { throw 'The directory names no configuration partition.' }
    $searcher = New-Object DirectoryServices.DirectorySearcher (New-Object DirectoryServices.DirectoryEntry "LDAP://$configuration")
    $searcher.Filter = "(objectClass=$Class)"
    $searcher.PageSize = 500
    $found = $searcher.FindAll()
    try {
        foreach ($one in @($found)) {
            $names = @($one.Properties.PropertyNames | Where-Object { $_ -ne 'adspath' })
            [Array]::Sort($names, [StringComparer]::Ordinal)
            $open = @($names | Where-Object { $_ -notmatch 'password|pwd|secret' })
            New-Object PSObject -Property @{
                Class             = $Class
                DistinguishedName = [string]$one.Properties['distinguishedname'][0]
                Attributes        = [string[]]@($open | ForEach-Object { $name = $_; foreach ($value in @($one.Properties[$name])) { ConvertTo-Line $name $value } })
                Withheld          = [string[]]@($names | Where-Object { $_ -match 'password|pwd|secret' })
            }
        }
    } finally { $found.Dispose() }
} catch { $why = $_.Exception.GetBaseException().Message }
if ($why -ne '') { Write-Error -ErrorId 'ExRemote.DirectoryUnavailable' -Category ResourceUnavailable -Message $why }
