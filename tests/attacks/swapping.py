"""Exchanges two names on the disk as fast as it can, until its standard input ends."""

import ctypes
import os
import select
import sys

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # renameat2(2): in one step, so that there is always one of the two
_TURNS = 100


def main(one: str, other: str) -> None:
    rename = ctypes.CDLL(None, use_errno=True).renameat2
    arguments = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while not select.select([sys.stdin], [], [], 0)[0]:
        for _ in range(_TURNS):
            rename(*arguments)  # fails while a request has moved one of them, as it may


if __name__ == "__main__":
    main(*sys.argv[1:])
