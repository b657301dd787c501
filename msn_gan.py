"""Run msn-gan from a clone: `python msn_gan.py COMMAND` is the installed `msn-gan COMMAND`."""

from gan.__main__ import run

if __name__ == "__main__":
    run()
