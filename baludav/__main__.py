"""`python -m baludav` is the command `baludav`."""

from baludav.cli import main

main()
