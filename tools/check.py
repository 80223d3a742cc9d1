"""The one check command: format, lint, types, contracts, docstrings, spelling, tests. It mends nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CODE = ["exremote", "tests", "benchmarks", "tools"]
CHECKS: list[tuple[str, list[str]]] = [
    ("format", ["ruff", "format", "--check", *CODE]),
    ("lint", ["ruff", "check", *CODE]),
    ("types", ["mypy"]),
    ("import contracts", ["importlinter.cli"]),
    ("docstrings", ["interrogate", "-q", "exremote"]),
    (
        "spelling",
        ["codespell_lib", "exremote", "ps_scripts", "docs", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"],
    ),
    ("tests", ["pytest", "-q", "-n", "2", "--dist", "worksteal"]),  # as in README.md
]


def main(arguments: list[str]) -> int:
    """Given `--no-tests` or nothing, run the checks in order and stop at none; return 0 if all passed."""
    failed = []
    for name, command in CHECKS:
        if name == "tests" and "--no-tests" in arguments:
            continue
        started = time.monotonic()
        print(f"== {name}", flush=True)
        prefix = (
            [str(Path(sys.executable).parent / "lint-imports")] if command[0] == "importlinter.cli" else None
        )
        call = prefix or [sys.executable, "-m", *command]
        code = subprocess.run(call, cwd=ROOT, check=False).returncode
        print(
            f"== {name}: {'ok' if code == 0 else f'FAILED ({code})'} in {time.monotonic() - started:.1f} s",
            flush=True,
        )
        if code != 0:
            failed.append(name)
    print("all checks passed" if not failed else f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
