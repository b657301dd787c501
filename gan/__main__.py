"""Entry point of `python -m gan`, the installed `msn-gan`, and `msn_gan.py`."""

import sys


def run() -> None:
    """Import and run the command line; Ctrl-C during the import exits with 130 as later."""
    try:
        from gan.cli import main
    except KeyboardInterrupt:
        print("msn-gan: interrupted", file=sys.stderr)
        sys.exit(130)
    main()


if __name__ == "__main__":
    run()
