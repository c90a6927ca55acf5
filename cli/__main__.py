"""`python -m geonp.cli`: the command for launchers that start modules, such as torchrun."""

from . import main

main(prog_name="geonp")
