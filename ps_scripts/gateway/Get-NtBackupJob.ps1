<#
.SYNOPSIS
    Says how a job of ntbackup on another computer stands, what it has written, and what ntbackup is there.
.DESCRIPTION
    As on the computer itself; WMI says which processes run there.
.PARAMETER ComputerName
    The computer.
.PARAMETER Folder
    The job's folder, a full path there.
.PARAMETER UserName
    For WMI: an administrator there; without it the account that runs this.
.PARAMETER Password
    His password.
.EXAMPLE
    .\Get-NtBackupJob.ps1 -ComputerName 'EXMSMAIL01' -Folder 'D:\exremote\systemstate'
.OUTPUTS
    PSObject: Folder [string], State [string], Name [string], ExitCode [int], Bytes [long], StartedUtc [datetime], ProcessId [int], Others [int], Log [string], Program [string], Versions [string[]]
.NOTES
    Effect: Read
    Rights: administrator of that computer
    Errors: ExRemote.BadArgument, ExRemote.AccessDenied, ExRemote.TargetUnreachable, ExRemote.WmiUnavailable
#>
#requires -Version 2.0
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$ComputerName,
    [Parameter(Mandatory = $true)] [ValidateNotNullOrEmpty()] [string]$Folder,
    [string]$UserName,
    [Security.SecureString]$Password
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
if ($Folder -notmatch '^[A-Za-z]:\\') { Write-Error -ErrorId 'ExRemote.BadArgument' -Category InvalidArgument -Message "'$Folder' is not a full path." }
function Get-There([string]$Path) { $Path -replace '^([A-Za-z]):\\', "\\$ComputerName\`$1`$`$\" }
$why = ''
try {
    $machine = [Microsoft.Win32.RegistryKey]::OpenRemoteBaseKey('LocalMachine', $ComputerName)
    $users = [Microsoft.Win32.RegistryKey]::OpenRemoteBaseKey('Users', $ComputerName)
    $root = [string]$machine.OpenSubKey('SOFTWARE\Microsoft\Windows NT\CurrentVersion').GetValue('SystemRoot')
    # Whether a file exists is answered with no and no reason where the share is gone.
    [void][IO.Directory]::GetDirectories((Get-There $Folder.Substring(0, 3)), 'exremote-none')
} catch { $why = $_.Exception.GetBaseException().Message }
if ($why -ne '') { Write-Error -ErrorId 'ExRemote.TargetUnreachable' -Category ResourceUnavailable -Message "$($ComputerName): $why" }
$names = New-Object Collections.Hashtable ([StringComparer]::OrdinalIgnoreCase)
try {
    $how = New-Object Management.ConnectionOptions
    if ($UserName -ne '') { $how.Username, $how.SecurePassword = $UserName, $Password }
    $how.Timeout = [TimeSpan]::FromSeconds(60)
    $scope = New-Object Management.ManagementScope("\\$ComputerName\root\cimv2", $how)
    $scope.Connect()
    $search = New-Object Management.ManagementObjectSearcher($scope, (New-Object Management.ObjectQuery "SELECT ProcessId, Name FROM Win32_Process WHERE Name = 'ntbackup.exe' OR Name = 'cmd.exe'"))
    foreach ($process in @($search.Get())) { $names[[int]$process['ProcessId']] = [string]$process['Name'] }
} catch { $why = $_.Exception.GetBaseException().Message }
if ($why -ne '') { Write-Error -ErrorId 'ExRemote.WmiUnavailable' -Category ResourceUnavailable -Message "$($ComputerName): $why" }
$answer = @{
    Folder = $Folder; State = 'None'; Name = ''; ExitCode = 0; Bytes = [long]-1; StartedUtc = [DateTime]::UtcNow; ProcessId = 0
    Others = @($names.Values | Where-Object { $_ -eq 'ntbackup.exe' }).Length; Log = ''; Program = ''; Versions = [string[]]@()
}
$answer.Versions = [string[]]@(foreach ($name in @('ntbackup.exe', 'ntdsbcli.dll', 'esebcli2.dll')) {
        $path = "$root\System32\$name"
        if (-not [IO.File]::Exists((Get-There $path))) { continue }
        if ($name -eq 'ntbackup.exe') { $answer.Program = $path }
        $version = [Diagnostics.FileVersionInfo]::GetVersionInfo((Get-There $path))
        '{0}|{1}.{2}.{3}.{4}' -f $name, $version.FileMajorPart, $version.FileMinorPart, $version.FileBuildPart, $version.FilePrivatePart
    })
function Get-Log([DateTime]$Since) {
    $list = 'SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList'
    $key, $newest = $machine.OpenSubKey($list), $null
    $homes = @(
        "$root\System32\config\systemprofile"
        if ($null -ne $key) { [string]$key.GetValue('DefaultUserProfile', '', 'DoNotExpandEnvironmentNames') }
        foreach ($sid in @(if ($null -ne $key) { $key.GetSubKeyNames() })) { [string]$machine.OpenSubKey("$list\$sid").GetValue('ProfileImagePath', '', 'DoNotExpandEnvironmentNames') }
    ) | Where-Object { $_ } | ForEach-Object { ($_ -replace '%SystemRoot%', $root.Replace('$', '$$') -replace '%SystemDrive%', $root.Substring(0, 2)) + '\Local Settings\Application Data' }
    # Where Windows speaks another language the folders are called otherwise; the hives of accounts that are logged on know.
    $said = @(foreach ($hive in @($users.GetSubKeyNames())) {
            try { [string]$users.OpenSubKey("$hive\Software\Microsoft\Windows\CurrentVersion\Explorer\Shell Folders").GetValue('Local AppData', '') }
            catch { Write-Verbose "$hive is closed." }
        }) | Where-Object { $_ }
    foreach ($place in @(@($homes; $said) | Where-Object { $_ -match '^[A-Za-z]:\\' } | ForEach-Object { "$_\Microsoft\Windows NT\NTBackup\data" })) {
        try {
            $info = [IO.DirectoryInfo](Get-There $place)
            foreach ($file in @(if ($info.Exists) { $info.GetFiles('*.log') })) {
                if ($file.LastWriteTimeUtc -ge $Since.AddSeconds(-2) -and ($null -eq $newest -or $file.LastWriteTimeUtc -gt $newest.When)) { $newest = @{ When = $file.LastWriteTimeUtc; Path = "$place\$($file.Name)" } }
            }
        } catch { Write-Verbose "$place is closed." }
    }
    if ($null -ne $newest) { $newest.Path }
}
try {
    $info = [IO.DirectoryInfo](Get-There $Folder)
    $orders = @(if ($info.Exists) { $info.GetFiles('*.cmd') })
    if ($orders.Length -gt 0) {
        $answer.Name = [IO.Path]::GetFileNameWithoutExtension($orders[0].Name)
        $answer.StartedUtc, $answer.State, $base = $orders[0].LastWriteTimeUtc, 'Lost', "$($info.FullName)\$($answer.Name)"
        if ([IO.File]::Exists("$base.bkf")) { $answer.Bytes = ([IO.FileInfo]"$base.bkf").Length }
        if ([IO.File]::Exists("$base.pid")) { $answer.ProcessId = [int][IO.File]::ReadAllText("$base.pid") }
        # The processes were looked at first: between two looks it can end, and leave its exit code.
        if ([IO.File]::Exists("$base.rc")) { $answer.State, $answer.ExitCode = 'Ended', [int][IO.File]::ReadAllText("$base.rc").Trim() }
        elseif ($answer.ProcessId -gt 0 -and $names[$answer.ProcessId] -eq 'cmd.exe') { $answer.State = 'Running' }
        if ($answer.State -ne 'Running') { $answer.Log = [string](Get-Log $answer.StartedUtc) }
    }
} catch [UnauthorizedAccessException] { Write-Error -ErrorId 'ExRemote.AccessDenied' -Category PermissionDenied -Message $_.Exception.Message }
# WMI takes its time: what was not there may have been a share that had gone meanwhile.
try { [void][IO.Directory]::GetDirectories((Get-There $Folder.Substring(0, 3)), 'exremote-none') } catch { $why = $_.Exception.GetBaseException().Message }
if ($why -ne '') { Write-Error -ErrorId 'ExRemote.TargetUnreachable' -Category ResourceUnavailable -Message "$($ComputerName): $why" }
New-Object PSObject -Property $answer
