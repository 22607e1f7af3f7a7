"""What of a prediction leaves the client: labels, rounded values or, as a deliberate act, all.

In CKKS the low bits of a decrypted value carry the noise of encryption. Who knows them beside the
ciphertexts, as the server does, can work out the secret key (IND-CPA-D; Li and Micciancio,
ia.cr/2020/1533). Labels carry next to nothing of it. Rounded values carry little: only a value
that noise pushed over the edge between two roundings tells something, so fewer digits and fewer
answers are safer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from .errors import UsageError
from .fields import Json

ReleasePolicy = Literal["labels", "rounded", "raw"]

POLICIES: tuple[ReleasePolicy, ...] = ("labels", "rounded", "raw")

DIGITS = 2
"""Decimal places of rounded values, where no others are asked for."""

MAX_DIGITS = 3
"""More would be raw values under another name: noise often shows from the fourth place on."""

Arrays = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Release:
    """What may leave the client under `policy`, by the names of the outputs.

    `content` maps "labels", "classes", "probabilities" or "outputs" to arrays by name; what the
    policy withholds is not in it.
    """

    policy: ReleasePolicy
    windows: int
    content: Mapping[str, Arrays] = field(repr=False)

    def to_json(self) -> Json:
        """The same as plain lists, for whoever is to have it."""
        lists = {
            kind: {name: np.asarray(v).tolist() for name, v in arrays.items()}
            for kind, arrays in self.content.items()
        }
        return {"release": self.policy, "windows": self.windows, **lists}


def check_policy(policy: str) -> ReleasePolicy:
    """A policy by its name. Raises UsageError."""
    for known in POLICIES:
        if policy == known:
            return known
    raise UsageError(f"release is {policy!r}", hint=f"use {', '.join(POLICIES[:-1])} or raw")


def rounded(values: Any, digits: int) -> Any:
    """`values` with so many decimal places, and no negative zeros."""
    return np.round(np.asarray(values, np.float64), digits) + 0.0
