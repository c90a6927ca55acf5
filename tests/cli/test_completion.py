"""Shell completion, as the shells ask for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


def ask(words: str, number: int | None = None) -> list[str]:
    """Return what bash is offered for the last word."""
    environment = {
        **os.environ,
        "_GEONP_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1 if number is None else number),
    }
    done = subprocess.run([BIN / "geonp"], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_commands_options_and_values_are_completed() -> None:
    assert ask("geonp pre") == ["predict"]
    assert ask("geonp predict --sty") == ["--style"]
    assert ask("geonp evaluate --holdout ") == ["random", "blocks", "swaths", "gaps", "leave-one-out"]
    assert ask("geonp evaluate --methods cu") == ["cubic"]
    assert ask("geonp evaluate --methods kriging,near") == ["kriging,nearest"]
    assert ask("geonp evaluate --scores rmse,ss") == ["rmse,ssim"]


@pytest.mark.parametrize(
    ("shell", "check"),
    [
        ("bash", 'eval "$(_GEONP_COMPLETE=bash_source geonp)"; complete -p geonp'),
        (
            "zsh",
            'autoload -Uz compinit; compinit -u; eval "$(_GEONP_COMPLETE=zsh_source geonp)"; echo $_comps[geonp]',
        ),
        ("fish", "_GEONP_COMPLETE=fish_source geonp | source; complete -c geonp"),
    ],
)
def test_the_documented_line_works(shell: str, check: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}
    done = subprocess.run([shell, "-c", check], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "geonp" in done.stdout


def test_every_shell_gets_a_script() -> None:
    for shell in ("bash", "zsh", "fish"):
        environment = {**os.environ, "_GEONP_COMPLETE": f"{shell}_source"}
        done = subprocess.run([BIN / "geonp"], env=environment, capture_output=True, text=True, check=True)
        assert "_GEONP_COMPLETE" in done.stdout
