"""Simulated Exchange hosts behind a WinRM endpoint on loopback.

Production code never imports this package.
"""
