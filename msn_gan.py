"""Run msn-gan from a clone: `python msn_gan.py COMMAND` is the installed `msn-gan COMMAND`."""

from gan.cli import main

if __name__ == "__main__":
    main()
