<#
.SYNOPSIS
    Says how a job of ntbackup stands, what it has written, and what ntbackup is on this host.
.DESCRIPTION
    State: None, no job is in the folder; Waiting, its task has not begun it; Running, its command file runs; Ended, it left an
    exit code; Lost, none of these. Its .bkf is where its command line says, on a share or in the folder. Its
    log is the one that was written last since the job began, in the profile of whichever account ran it.
.PARAMETER Folder
    The job's folder, a full path.
.EXAMPLE
    .\Get-NtBackupJob.ps1 -Folder 'D:\exremote\systemstate'
.OUTPUTS
    PSObject: Folder [string], State [string], Name [string], ExitCode [int], Bytes [long], StartedUtc [datetime], ProcessId [int], Others [int], Log [string], Program [string], Versions [string[]]
.NOTES
    Effect: Read
    Rights: read access to the folder and to the profiles of accounts
    Errors: ExRemote.BadArgument, ExRemote.AccessDenied
#>
#requires -Version 2.0
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Folder
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
if ($Folder -notmatch '^[A-Za-z]:\\') { Write-Error -ErrorId 'ExRemote.BadArgument' -Category InvalidArgument -Message "'$Folder' is not a full path." }
$answer = @{
    Folder = $Folder; State = 'None'; Name = ''; ExitCode = 0; Bytes = [long]-1; StartedUtc = [DateTime]::UtcNow; ProcessId = 0
    Others = @([Diagnostics.Process]::GetProcessesByName('ntbackup')).Length; Log = ''; Program = ''; Versions = [string[]]@()
}
$native = @(@("$env:SystemRoot\Sysnative", "$env:SystemRoot\System32") | Where-Object { [IO.Directory]::Exists($_) })
$answer.Versions = [string[]]@(foreach ($name in @('ntbackup.exe', 'ntdsbcli.dll', 'esebcli2.dll')) {
        $path = @($native | ForEach-Object { "$_\$name" } | Where-Object { [IO.File]::Exists($_) })
        if ($path.Length -eq 0) { continue }
        if ($name -eq 'ntbackup.exe') { $answer.Program = $path[0] }
        $version = [Diagnostics.FileVersionInfo]::GetVersionInfo($path[0])
        '{0}|{1}.{2}.{3}.{4}' -f $name, $version.FileMajorPart, $version.FileMinorPart, $version.FileBuildPart, $version.FilePrivatePart
    })

function Get-Job {
    $info = [IO.DirectoryInfo]$Folder
    $orders = @(if ($info.Exists) { $info.GetFiles('*.cmd') })
    if ($orders.Length -eq 0) { return }
    $answer.Name = [IO.Path]::GetFileNameWithoutExtension($orders[0].Name)
    $answer.StartedUtc = $orders[0].LastWriteTimeUtc
    $base, $answer.State = "$Folder\$($answer.Name)", 'Lost'
    $place = [Text.RegularExpressions.Regex]::Match([IO.File]::ReadAllText("$base.cmd"), ' /F "([^"]+)"').Groups[1].Value
    $tape = [IO.FileInfo]$(if ($place) { $place } else { "$base.bkf" })
    if ($tape.Exists) {
        $answer.Bytes = $tape.Length
        # The folder's own word about a file that is written to is old.
        try { $stream = [IO.File]::Open($tape.FullName, 'Open', 'Read', 'ReadWrite, Delete'); $answer.Bytes = $stream.Length; $stream.Close() }
        catch { Write-Verbose "The .bkf is closed to others: $($_.Exception.GetBaseException().Message)" }
    }
    if ([IO.File]::Exists("$base.pid")) { $answer.ProcessId = [int][IO.File]::ReadAllText("$base.pid") }
    # The process is looked at first: between two looks it can end, and leave its exit code.
    $running = $false
    try {
        $process = [Diagnostics.Process]::GetProcessById($answer.ProcessId)
        $running = $answer.ProcessId -gt 0 -and $process.ProcessName -eq 'cmd' -and -not $process.HasExited
    } catch { Write-Verbose "Process $($answer.ProcessId) is gone." }
    # Whose task it is, nobody can tell from here; but it holds this file open to its end.
    if ([IO.File]::Exists("$base.run")) { try { [IO.File]::Open("$base.run", 'Open', 'Read', 'None').Close() } catch [IO.IOException] { $running = $true } }
    if ([IO.File]::Exists("$base.rc")) { $answer.State, $answer.ExitCode = 'Ended', [int][IO.File]::ReadAllText("$base.rc").Trim() }
    elseif ($running) { $answer.State = 'Running' }
    elseif ([IO.File]::Exists("$base.go")) { $answer.State = 'Waiting' }
    if ('Ended', 'Lost' -contains $answer.State) { $answer.Log = "$(Get-Log $answer.StartedUtc)" }
}
function Get-Log([DateTime]$Since) {
    $below = 'Microsoft\Windows NT\NTBackup\data'
    $list = 'HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList'
    $key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey('SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList')
    $sids = @(if ($null -ne $key) { $key.GetSubKeyNames() })
    $homes = @(
        $env:USERPROFILE; "$env:SystemRoot\System32\config\systemprofile"
        [Microsoft.Win32.Registry]::GetValue($list, 'DefaultUserProfile', $null)
        foreach ($sid in @($sids)) { [Microsoft.Win32.Registry]::GetValue("$list\$sid", 'ProfileImagePath', $null) }
    ) | Where-Object { $_ } | ForEach-Object { [Environment]::ExpandEnvironmentVariables($_) + '\Local Settings\Application Data' }
    # Where Windows speaks another language the folders are called otherwise; the hives of accounts that are logged on know.
    $said = @(foreach ($hive in @([Microsoft.Win32.Registry]::Users.GetSubKeyNames())) {
            try { [Microsoft.Win32.Registry]::GetValue("HKEY_USERS\$hive\Software\Microsoft\Windows\CurrentVersion\Explorer\Shell Folders", 'Local AppData', $null) }
            catch { Write-Verbose "$hive is closed." }
        }) | Where-Object { $_ }
    $newest = $null
    foreach ($root in @($homes; $said)) {
        try {
            $folder = [IO.DirectoryInfo]"$root\$below"
            foreach ($file in @(if ($folder.Exists) { $folder.GetFiles('*.log') })) {
                if ($file.LastWriteTimeUtc -ge $Since.AddSeconds(-2) -and ($null -eq $newest -or $file.LastWriteTimeUtc -gt $newest.LastWriteTimeUtc)) { $newest = $file }
            }
        } catch { Write-Verbose "$root is closed." }
    }
    if ($null -ne $newest) { $newest.FullName }
}
try { Get-Job }
catch [UnauthorizedAccessException] { Write-Error -ErrorId 'ExRemote.AccessDenied' -Category PermissionDenied -Message $_.Exception.Message }
New-Object PSObject -Property $answer
