"""What a run erased and an undo of it cannot bring back, for nobody saves it. It reads journals."""

from __future__ import annotations

from exremote.changes import ChangePlan, EraseWorkFiles
from exremote.journal import RunRecord
from exremote.wording import count_text

_SOME = 5
"""How many names a sentence lists."""


def erased_note(record: RunRecord, host: str, plan: ChangePlan) -> str:
    """Given a run, a host and the plan that was carried out there, return what is said of the work files that
    it erased; empty if it erased none.
    """
    names = [
        str(event.fields.get("path", ""))
        for event in record.events
        if event.kind == "erased" and event.fields.get("host") == host
    ]
    if not names:
        return ""
    roots = ", ".join(dict.fromkeys(step.root for step in plan if isinstance(step, EraseWorkFiles)))
    more = f" and {len(names) - _SOME} more; `exremote runs {record.run_id}` has them all"
    return (
        f"{count_text(len(names), 'work file')} that {record.run_id} erased in {roots} will not be brought "
        f"back, for no snapshot holds work files: {', '.join(names[:_SOME])}"
        f"{more if len(names) > _SOME else ''}"
    )
