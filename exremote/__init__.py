"""Backup, restore, recovery and health of Exchange's foreign-mail connectors.

`cli` opens an inventory, a repository and a journal. A verb turns facts into a plan.
The runner carries plans out, host by host, through a session. The report says what happened.
"""

__version__ = "0.1.0"
