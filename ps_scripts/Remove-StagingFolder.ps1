<#
.SYNOPSIS
    Removes a folder that exremote made, with all below it.
.DESCRIPTION
    Only a folder whose own name begins with exremote-. Links below it go, what they lead to stays. A folder that is not
    there is an answer, not an error.
.PARAMETER Path
    The folder, a full path.
.EXAMPLE
    .\Remove-StagingFolder.ps1 -Path 'C:\Exchsrvr\exremote-1'
.OUTPUTS
    [long] files removed so far, now and then
    PSObject: Path [string], Removed [bool], Files [long]
.NOTES
    Effect: Converge
    Rights: the right to delete the folder
    Errors: ExRemote.BadArgument, ExRemote.Link, ExRemote.Locked, ExRemote.AccessDenied, ExRemote.RemoveFailed
#>
#requires -Version 2.0
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Low')]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Path
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$said, $clock = @{ At = 0 }, [Diagnostics.Stopwatch]::StartNew()
# Protected in .NET 2.0; Marshal.GetHRForException would leave its text behind for the next COM error of the thread.
$hresult = [Exception].GetProperty('HResult', [Reflection.BindingFlags]'Instance, Public, NonPublic')

function Send-Reason([string]$Place, [Exception]$Exception) {
    $base = $Exception.GetBaseException(); $code = $hresult.GetValue($base, $null) -band 65535
    if ($base -is [UnauthorizedAccessException]) { Write-Error -ErrorId 'ExRemote.AccessDenied' -Message "$($Place): $($base.Message)" }
    elseif ($code -eq 32 -or $code -eq 33) { Write-Error -ErrorId 'ExRemote.Locked' -Message "$($Place): $($base.Message)" }
    else { Write-Error -ErrorId 'ExRemote.RemoveFailed' -Message "$($Place): $($base.Message)" }
}

$full = $Path.TrimEnd('\')
if ($full -notmatch '^([A-Za-z]:|\\\\[^\\]+\\[^\\]+)(\\[^\\]+)+$' -or $full.Split('\/'.ToCharArray()) -contains '..' -or -not [IO.Path]::GetFileName([IO.Path]::GetFullPath($full)).StartsWith('exremote-', 'OrdinalIgnoreCase')) {
    Write-Error -ErrorId 'ExRemote.BadArgument' -Message "'$Path' is no folder whose name begins with exremote-."
}
$answer = @{ Path = $Path; Removed = $false; Files = [long]0 }
if ([IO.Directory]::Exists($full) -and $PSCmdlet.ShouldProcess($full, 'Remove with all below')) {
    if (([int][IO.File]::GetAttributes($full) -band 1024) -ne 0) { Write-Error -ErrorId 'ExRemote.Link' -Message "$Path is a link." }
    # Each folder twice: first what is in it, then, when all below is gone, it.
    $todo = New-Object Collections.Stack
    $todo.Push(@($full, $false))
    while ($todo.Count -gt 0) {
        $place, $empty = $todo.Pop()
        try {
            if (([int][IO.File]::GetAttributes($place) -band 1) -ne 0) { [IO.File]::SetAttributes($place, 'Normal') }
            if ($empty) { [IO.Directory]::Delete($place); continue }
            $todo.Push(@($place, $true))
            foreach ($entry in @([IO.Directory]::GetFileSystemEntries($place))) {
                $place, $bits = $entry, [int][IO.File]::GetAttributes($entry)
                if (($bits -band 16) -eq 0) {
                    if (($bits -band 1) -ne 0) { [IO.File]::SetAttributes($entry, 'Normal') }
                    [IO.File]::Delete($entry)
                    $answer.Files++
                } elseif (($bits -band 1024) -ne 0) { [IO.Directory]::Delete($entry) }
                else { $todo.Push(@($entry, $false)) }
            }
        } catch { Send-Reason $place $_.Exception }
        if ($clock.ElapsedMilliseconds - $said.At -gt 5000) { $said.At = $clock.ElapsedMilliseconds; $answer.Files }
    }
    $answer.Removed = $true
}
New-Object PSObject -Property $answer
