"""Run the command line: `python -m gan`, the installed `msn-gan`, and `msn_gan.py` begin here."""

from __future__ import annotations

import sys


def run() -> None:
    """Load the program and run it; Ctrl-C while it loads, which takes seconds, ends it as it does later."""
    try:
        from gan.cli import main
    except KeyboardInterrupt:
        print("msn-gan: interrupted", file=sys.stderr)
        sys.exit(130)
    main()


if __name__ == "__main__":
    run()
