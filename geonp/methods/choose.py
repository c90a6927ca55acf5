"""Which method completes a field when a user names one, a model file, or nothing."""

from __future__ import annotations

from dataclasses import fields
from os import PathLike
from pathlib import Path

from geonp.errors import UsageError
from geonp.methods import method_class
from geonp.methods.base import Method

AUTO, NEURAL, BUNDLED = "auto", "neural", "bundled"


def choose(
    method: str | Method = AUTO,
    model: str | PathLike[str] | None = None,
    *,
    device: str = "auto",
    seed: int = 0,
) -> Method:
    """Return the method meant by a name and a model file.

    Parameters
    ----------
    method : a name of `geonp.methods.METHODS`, or `auto`: the model where one is given, else the bundled one,
        which hands over to kriging where that does better. `neural` insists on the network. A Method is
        returned as it is.
    model : file written by `geonp fit`; for `auto` and `neural` only.
    device : `auto` (a GPU where there is one), `cpu` or `cuda`; for methods that have a choice.
    seed : of whatever the method draws while it is prepared.

    Raises
    ------
    UsageError
        If there is no such method, a model is given to a method that takes none, or missing where one is
        needed.
    ModelError
        If the model file is not one of ours or is damaged.
    """
    if isinstance(method, Method):
        if model is not None:
            raise UsageError(
                f"a model file goes with a method's name, not with a {type(method).__name__} object"
            )
        return method
    if model is not None:
        if method not in (AUTO, NEURAL):
            raise UsageError(f"method '{method}' takes no model file; leave it out, or use --method {NEURAL}")
        return load(model, device=device)
    found = method_class(BUNDLED if method in (AUTO, NEURAL) else method)
    given = {"device": device, "seed": seed, "insist": method == NEURAL}
    return found(**{f.name: given[f.name] for f in fields(found) if f.name in given})  # type: ignore[arg-type]


def load(path: str | PathLike[str], *, device: str = "auto") -> Method:
    """Return the method that completes fields with a trained model.

    Parameters
    ----------
    path : file written by `geonp fit`.
    device : `auto`, `cpu` or `cuda`.

    Raises
    ------
    ModelError
        If the file is not one of ours or is damaged.
    """
    from geonp.io.checkpoint import read_checkpoint
    from geonp.methods.flagship import Flagship
    from geonp.methods.neural import Neural
    from geonp.models.kriged import KrigedIFANP

    if read_checkpoint(Path(path)).architecture == KrigedIFANP.name:
        return Flagship(model=str(path), insist=True, device=device)
    return Neural.load(path, device=device)
