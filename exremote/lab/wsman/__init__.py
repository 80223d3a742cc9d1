"""A WinRM endpoint on loopback: WS-Management and PowerShell remoting over HTTP, sealed or with TLS.

It has never heard of Exchange. It is given functions that play PowerShell and cmd.exe, or the command line of
a real PowerShell, and carries what clients ask to them. It listens on 127.0.0.1 and nowhere else.
"""
