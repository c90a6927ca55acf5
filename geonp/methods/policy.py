"""What is done with covariates that are given: used where they help, whatever comes out, or not at all."""

from __future__ import annotations

from typing import Literal, get_args

from geonp.errors import UsageError

Policy = Literal["auto", "always", "never"]

POLICIES: tuple[Policy, ...] = get_args(Policy)


def check_policy(policy: str) -> Policy:
    """Return `policy` if there is such a one, else raise UsageError."""
    if policy not in POLICIES:
        raise UsageError(f"there is no covariate policy {policy!r}; use one of {', '.join(POLICIES)}")
    return policy
