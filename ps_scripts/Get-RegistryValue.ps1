<#
.SYNOPSIS
    Reads named registry values.
.DESCRIPTION
    Answers every request with one object, whether or not the key and the value are there. A key that is there and
    may not be read is an error of its own, and the other requests are still answered.
    Text is the value as text: expanded, numbers in decimal and unsigned, the strings of a list joined by line feeds,
    bytes as lower hex, empty if there is none.
.PARAMETER Value
    Requests of the form KEY|NAME, for example HKLM\SOFTWARE\Microsoft\Exchange\Setup|Services; an empty NAME is the
    key's default value.
.EXAMPLE
    .\Get-RegistryValue.ps1 -Value 'HKLM\SOFTWARE\Lotus\Notes|Path', 'HKLM\SOFTWARE\Lotus\Notes|DataPath'
.OUTPUTS
    PSObject: Key [string], Name [string], KeyExists [bool], Exists [bool], Kind [string], Text [string]
.NOTES
    Effect: Read
    Rights: read access to the keys
    Errors: ExRemote.BadArgument, ExRemote.KeyUnreadable
#>
#requires -Version 2.0
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)]
    [ValidateNotNullOrEmpty()]
    [string[]]$Value
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$hives = @{
    HKLM = [Microsoft.Win32.Registry]::LocalMachine
    HKCU = [Microsoft.Win32.Registry]::CurrentUser
    HKU  = [Microsoft.Win32.Registry]::Users
    HKCR = [Microsoft.Win32.Registry]::ClassesRoot
}

function ConvertTo-Text($Data) {
    if ($Data -is [byte[]]) { [BitConverter]::ToString($Data).Replace('-', '').ToLowerInvariant() }
    elseif ($Data -is [string[]]) { [String]::Join("`n", $Data) }
    elseif ($Data -is [int]) { ([long]$Data -band 4294967295).ToString() }
    else { [string]$Data }
}

foreach ($request in @($Value)) {
    $bar = $request.IndexOf('|')
    $slash = $request.IndexOf('\')
    if ($bar -lt 0 -or $slash -lt 0 -or $slash -gt $bar -or -not $hives.ContainsKey($request.Substring(0, $slash))) {
        Write-Error -ErrorId 'ExRemote.BadArgument' -Category InvalidArgument -Message "'$request' is not HIVE\KEY|NAME."
    }
    $answer = @{ Key = $request.Substring(0, $bar); Name = $request.Substring($bar + 1); KeyExists = $false; Exists = $false; Kind = ''; Text = '' }
    try {
        $key = $hives[$request.Substring(0, $slash)].OpenSubKey($answer.Key.Substring($slash + 1))
        if ($null -ne $key) {
            $answer.KeyExists = $true
            if (@($key.GetValueNames()) -contains $answer.Name) {
                $answer.Exists = $true
                $answer.Kind = [string]$key.GetValueKind($answer.Name)
                $answer.Text = ConvertTo-Text $key.GetValue($answer.Name)
            }
            $key.Close()
        }
        New-Object PSObject -Property $answer
    } catch {
        $why = $_.Exception.GetBaseException().Message
        Write-Error -ErrorId 'ExRemote.KeyUnreadable' -Category PermissionDenied -ErrorAction Continue -Message "$($answer.Key): $why"
    }
}
