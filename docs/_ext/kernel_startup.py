"""Runs in every tutorial's kernel: a shell command that fails stops the page, as an error in Python does.

Its output is taken without a terminal, so that no progress bar is drawn into the page.
"""

import subprocess
import sys


def _system(command):
    done = subprocess.run(command, shell=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    sys.stdout.write(done.stdout)
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {command}\n{done.stdout}")


get_ipython().system = _system  # noqa: F821 - IPython puts it there
