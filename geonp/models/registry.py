"""The registry of architectures: networks by name, made, sized, taken apart and put together."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from geonp.errors import ModelError, UsageError
from geonp.models.acnp import AttentiveCNP, AttentivePointConfig
from geonp.models.anp import ANP, AttentiveLatentConfig
from geonp.models.base import Model
from geonp.models.cnp import CNP, PointConfig
from geonp.models.convcnp import ConvCNP, ConvConfig
from geonp.models.convnp import ConvLatentConfig, ConvNP
from geonp.models.ifanp import IFANP, IFANPConfig
from geonp.models.ifnp import IFNP
from geonp.models.kriged import KrigedConfig, KrigedIFANP
from geonp.models.latent import LatentConfig
from geonp.models.lnp import NP, LatentPointConfig
from geonp.models.vae import VAE, VAEConfig


class Architecture(NamedTuple):
    """A network and the frozen dataclass that sizes it."""

    model: type[Any]
    config: type[Any]


ARCHITECTURES: Mapping[str, Architecture] = types.MappingProxyType(
    {
        "ifnp": Architecture(IFNP, LatentConfig),
        "ifanp": Architecture(IFANP, IFANPConfig),
        "cnp": Architecture(CNP, PointConfig),
        "np": Architecture(NP, LatentPointConfig),
        "acnp": Architecture(AttentiveCNP, AttentivePointConfig),
        "anp": Architecture(ANP, AttentiveLatentConfig),
        "convcnp": Architecture(ConvCNP, ConvConfig),
        "convnp": Architecture(ConvNP, ConvLatentConfig),
        "vae": Architecture(VAE, VAEConfig),
        "kriged-ifanp": Architecture(KrigedIFANP, KrigedConfig),
    }
)


def create(name: str, config: object | None = None, seed: int = 0) -> Model:
    """Return a new network, its weights drawn from `seed`.

    Parameters
    ----------
    name : a key of `ARCHITECTURES`.
    config : an instance of the architecture's config class; its defaults where None.

    Raises
    ------
    UsageError
        If no architecture has that name.
    """
    found = _architecture(name)
    config = found.config() if config is None else config
    if not isinstance(config, found.config):
        raise UsageError(f"{name} takes a {found.config.__name__}, got a {type(config).__name__}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Model = found.model(config)
    return model


def config_from(name: str, values: Mapping[str, object]) -> Any:
    """Return the config of architecture `name` with `values`, checked name by name and type by type.

    Raises
    ------
    ModelError
        If a name is unknown or missing, or a value has the wrong type or is out of range.
    """
    kind = _architecture(name).config
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ModelError(f"{name} has no setting {unknown[0]!r}; it has {', '.join(hints)}")
    for field in fields(kind):
        if field.name not in values and field.default is MISSING:
            raise ModelError(f"the setting {field.name!r} of {name} is missing")
    for key, value in values.items():
        allowed = typing.get_args(hints[key]) or (hints[key],)
        if type(value) not in allowed and not (type(value) is int and float in allowed):
            wanted = " or ".join(t.__name__ for t in allowed)
            raise ModelError(f"the setting {key!r} of {name} is {value!r}; it must be {wanted}")
    return kind(**values)


def restore(name: str, config: Mapping[str, object], tensors: Mapping[str, NDArray[np.float32]]) -> Model:
    """Return the network of a checkpoint, ready to predict.

    Its shape is built without memory and compared with the tensors first, so that a settings block that does
    not belong to them allocates nothing.

    Raises
    ------
    ModelError
        If the architecture is unknown, or settings or tensors do not fit it.
    """
    if name not in ARCHITECTURES:
        raise ModelError(
            f"the file holds a network of kind {name!r}; this version knows {', '.join(ARCHITECTURES)}"
        )
    settings = config_from(name, config)
    with torch.device("meta"):
        model: Model = ARCHITECTURES[name].model(settings)
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    odd = sorted(expected.keys() ^ tensors.keys())
    if odd:
        raise ModelError(f"tensor {odd[0]!r} is {'missing' if odd[0] in expected else 'not part of ' + name}")
    for key, shape in expected.items():
        if tensors[key].shape != shape:
            raise ModelError(f"tensor {key!r} has shape {tensors[key].shape}; these settings need {shape}")
    state = {key: torch.from_numpy(np.array(value, np.float32)) for key, value in tensors.items()}
    model.load_state_dict(state, assign=True)
    return model.eval()


def weights(model: Model) -> dict[str, NDArray[np.float32]]:
    """Return a copy of the network's tensors by name, float32."""
    state = model.state_dict()
    return {
        key: np.array(value.detach().cpu().numpy(), np.float32, order="C") for key, value in state.items()
    }


def _architecture(name: str) -> Architecture:
    if name not in ARCHITECTURES:
        raise UsageError(f"there is no architecture {name!r}; choose one of {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]
