"""Whether int8 convolutions pay in the bundled network: time and CRPS beside single precision and bfloat16.

Run `OMP_NUM_THREADS=1 python docs/scripts/int8.py`; it takes a minute. The survey is the DEM that matplotlib ships,
12.5 % of it observed. Weights and activations are quantised statically (torch's x86 engine: oneDNN with VNNI), their
ranges taken from a pass in single precision on the same survey, which is kinder than any other would be; the first
and the last convolution stay as they are. Quantising and telling apart are timed too, and the convolutions alone.
Seconds are the processor's, the least of `--rounds`.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
import xarray as xr
from matplotlib.cbook import get_sample_data
from torch import Tensor, nn

from geonp import predict
from geonp.kriging.holdout import crps
from geonp.methods.correction import Correction
from geonp.methods.flagship import Flagship

KEPT = ("stem", "head")


class Int8(nn.Module):
    """A convolution in int8; ranges of what comes in and goes out were seen before."""

    def __init__(self, own: nn.Conv2d, inside: tuple[float, float], outside: tuple[float, float]) -> None:
        super().__init__()
        weight = own.weight.detach().float()
        scales = weight.abs().amax((1, 2, 3)).clamp_min(1e-8) / 127
        zeros = torch.zeros(len(scales), dtype=torch.long)
        packed = torch.quantize_per_channel(weight.contiguous(), scales, zeros, 0, torch.qint8)
        bias = None if own.bias is None else own.bias.detach().float()
        self.packed = torch.ops.quantized.conv2d_prepack(
            packed, bias, own.stride, own.padding, own.dilation, own.groups
        )
        self.inside, self.outside = steps(*inside), steps(*outside)
        self.seconds = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """Return what the convolution makes of an image; the convolution alone is timed."""
        coded = torch.quantize_per_tensor(x.float(), *self.inside, torch.quint8)
        start = time.process_time()
        done = torch.ops.quantized.conv2d(coded, self.packed, *self.outside)
        self.seconds += time.process_time() - start
        return done.dequantize()


class Timed(nn.Module):
    """A convolution that is timed, and at first remembers what came in and went out."""

    def __init__(self, own: nn.Conv2d) -> None:
        super().__init__()
        self.own, self.seconds, self.looks = own, 0.0, True
        self.inside = self.outside = (0.0, 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the convolution makes of an image."""
        start = time.process_time()
        done = self.own(x)
        self.seconds += time.process_time() - start
        if self.looks:
            self.inside, self.outside = wider(self.inside, x), wider(self.outside, done)
        return done


def wider(known: tuple[float, float], values: Tensor) -> tuple[float, float]:
    """Return a range that holds what is known and the values."""
    return min(known[0], float(values.min())), max(known[1], float(values.max()))


def steps(low: float, high: float) -> tuple[float, int]:
    """Return scale and zero point of quint8 for a range."""
    scale = max(high - low, 1e-8) / 255
    return scale, round(-low / scale)


def exchange(
    net: nn.Module, make: Callable[[nn.Module], nn.Module], kind: type[nn.Module]
) -> list[nn.Module]:
    """Put `make` of every convolution of a kind in its place; return what was put."""
    made = []
    for name, module in list(net.named_modules()):
        if isinstance(module, kind) and not name.startswith(KEPT) and not name.endswith(".own"):
            parent = net.get_submodule(name.rpartition(".")[0])
            made.append(make(module))
            setattr(parent, name.rpartition(".")[2], made[-1])
    return made


def main() -> None:
    """Print one line a precision."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with get_sample_data("jacksboro_fault_dem.npz") as kept:
        truth = kept["elevation"].astype(np.float64)
    seen = np.random.default_rng(0).random(truth.shape) < 0.125
    survey = xr.DataArray(np.where(seen, truth, np.nan).astype(np.float32), dims=("y", "x"))
    ready = predict.begin(predict.as_field(survey), Flagship(insist=True))
    method = ready.method
    assert isinstance(method, Flagship)
    assert method.correction is not None
    net = method.correction.model.net
    whole = [0.0]
    forward = net.forward

    def timed(x: Tensor, observed: Tensor) -> Tensor:
        start = time.process_time()
        out = forward(x, observed)
        whole[0] += time.process_time() - start
        return out

    net.forward = timed
    print("| the network's convolutions | network, CPU s | convolutions alone | CRPS, m | RMSE, m |")
    print("|---|---|---|---|---|")

    def told(what: str, layers: list[nn.Module], halved: bool) -> None:
        Correction.halved = halved
        spent = []
        for _ in range(rounds):
            whole[0] = 0.0
            for layer in layers:
                layer.seconds = 0.0
            done = predict.collect(ready, ready, status=False)
            spent.append((whole[0], sum(float(layer.seconds) for layer in layers)))
        error = done["mean"].to_numpy()[0][~seen] - truth[~seen]
        score = crps(error, np.sqrt(done["variance"].to_numpy()[0][~seen].astype(np.float64)))
        total, alone = np.min(spent, 0)
        rmse = np.sqrt(np.mean(error**2))
        print(f"| {what} | {total:.2f} | {alone:.2f} | {score.mean():.4f} | {rmse:.4f} |", flush=True)

    layers = exchange(net, Timed, nn.Conv2d)
    Correction.halved = False
    predict.collect(ready, ready, status=False)
    ranges = [(layer.inside, layer.outside) for layer in layers]
    for layer in layers:
        layer.looks = False
    told("single precision", layers, False)
    told("bfloat16", layers, True)
    known = iter(ranges)
    coded = exchange(net, lambda layer: Int8(layer.own, *next(known)), Timed)
    told("int8, the rest single precision", coded, False)
    told("int8, the rest bfloat16", coded, True)


if __name__ == "__main__":
    main()
