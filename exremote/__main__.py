"""`python -m exremote`, and the command `exremote`. It does nothing but open the door."""

import sys


def main() -> None:
    """Run the command line. A Ctrl-C while it is being loaded is one, too."""
    try:
        from exremote.cli import main as door

        door()
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted.\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
