"""The `geonp` command: finds its subcommands, turns errors into one line and an exit code."""

from __future__ import annotations

import atexit
import gc
import importlib
import signal
import sys
from types import FrameType
from typing import Any

import click

from geonp import __version__
from geonp.errors import GeonpError, UsageError
from geonp.heap import keep_freed

COMMANDS = (
    "fit",
    "predict",
    "evaluate",
    "report",
    "simulate",
    "exceed",
    "suggest",
    "variogram",
    "datasets",
    "benchmark",
    "info",
    "demo",
)
INTERRUPTED, TERMINATED = 130, 143


class Failure(click.ClickException):
    """A user's mistake or a broken file: one line on stderr, exit code 1."""

    def show(self, file: Any = None) -> None:
        """Print the message without a traceback."""
        # A message may quote a file; nothing in it may steer the terminal.
        plain = "".join(c if c.isprintable() else " " for c in self.message)
        click.echo(f"geonp: {plain}", err=True)


class Commands(click.Group):
    """Loads a subcommand's module only when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of a first use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command `cmd_name` of the module of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f".{cmd_name}", __package__), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which names there are."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise click.UsageError(f"{error.message} There are: {', '.join(COMMANDS)}.", ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; every error of ours becomes a line and an exit code."""
        signal.signal(signal.SIGTERM, _terminate)
        keep_freed()
        atexit.register(gc.freeze)  # or Python would look through all of torch for garbage as it ends: 0.7 s
        try:
            return super().invoke(ctx)
        except UsageError as error:
            raise click.UsageError(str(error)) from error
        except GeonpError as error:
            raise Failure(str(error)) from error
        except KeyboardInterrupt:
            click.echo("geonp: interrupted; nothing unfinished was left", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            sys.stderr.close()
            ctx.exit(1)
        except MemoryError:
            raise Failure("not enough memory; use smaller windows (--tile 256) or less --memory") from None
        except OSError as error:
            raise Failure(f"{error.filename or 'input or output'}: {error.strerror or error}") from error


def _terminate(signum: int, frame: FrameType | None) -> None:
    # An exception, not the default action, so that temporary files are removed on the way out.
    raise SystemExit(TERMINATED)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="geonp")
def main() -> None:
    """Complete gridded fields: a sparse or holey raster becomes a mean and a variance raster.

    \b
    geonp demo                                       the whole story on a real DEM
    geonp predict survey.tif -o mean.tif var.tif     complete a raster
    geonp fit dem_tiles/ --context 0.125             train a network on rasters like yours
    """  # noqa: D301
