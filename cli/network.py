"""How the bundled network is put to work, as options that are given to a method."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, cast

import click

from geonp.errors import UsageError

from .duration import Duration

if TYPE_CHECKING:
    from geonp.methods.base import Method

OPTIONS = (
    click.option(
        "--adapt",
        type=Duration(),
        metavar="TIME",
        help="Network: learn from the survey's own observations this long first (60s, 5m); kept if it helps.",
    ),
    click.option(
        "--no-calibrate",
        "uncalibrated",
        is_flag=True,
        help="Network: leave its deviations as they are, whatever hidden observations show.",
    ),
)


@dataclass(frozen=True)
class Network:
    """How the network is to be used; None (or False) where the method's own choice stands."""

    adapt: float | None
    uncalibrated: bool

    def apply(self, method: Method) -> Method:
        """Return `method` with these parameters.

        Raises
        ------
        UsageError
            If the method has no such parameter.
        """
        given = {"adapt": self.adapt, "calibrate": False if self.uncalibrated else None}
        changes = {name: value for name, value in given.items() if value is not None}
        known = {f.name for f in fields(cast(Any, method))}
        for name in changes:
            if name not in known:
                option = "--no-calibrate" if name == "calibrate" else "--adapt"
                raise UsageError(
                    f"method '{method.name}' takes no {option}; leave it out, or use --method neural"
                )
        return cast("Method", replace(cast(Any, method), **changes))
