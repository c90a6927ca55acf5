"""Whether an exported runtime pays for the bundled network: a pass over one canvas, beside eager torch.

Run `OMP_NUM_THREADS=1 python docs/scripts/runtimes.py`, where `pip install onnx onnxruntime` was, too; without them
TorchScript alone is compared. Seconds are the processor's, of one thread, the least of `--rounds`; what exporting and
compiling took stands beside them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from geonp.methods.flagship import read_network


def main() -> None:
    """Print one line a runtime."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=448, help="of the canvas, a multiple of 64")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    net = read_network().net.eval()
    canvas = torch.randn(1, net.stem.in_channels // 4, given.side, given.side, generator=generator())
    seen = (torch.rand(1, 1, given.side, given.side, generator=generator()) < 0.125).float()
    inputs = (canvas, seen)
    print("| runtime | ready after, s | a pass, s | largest difference |\n|---|---|---|---|")
    with torch.inference_mode():
        wanted = net(*inputs)

    def told(what: str, ready: float, run: Callable[..., Tensor]) -> None:
        spent = []
        for _ in range(given.rounds):
            start = time.process_time()
            found = run(*inputs)
            spent.append(time.process_time() - start)
        print(
            f"| {what} | {ready:.1f} | {min(spent):.3f} | {float((found - wanted).abs().max()):.1e} |",
            flush=True,
        )

    for name, halved in (("single precision", False), ("bfloat16", True)):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=halved, cache_enabled=False):
            told(f"torch, {name}", 0.0, net)
            start = time.process_time()
            frozen = scripted(net, inputs)
            told(f"TorchScript, frozen, {name}", time.process_time() - start, frozen)
    try:
        import onnxruntime
    except ModuleNotFoundError:
        return
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    start = time.process_time()
    with exported(net, inputs) as path:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    ready = time.process_time() - start
    name = f"ONNX Runtime {onnxruntime.__version__}, single precision"

    def run(x: Tensor, observed: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"x": x.numpy(), "observed": observed.numpy()})[0])

    told(name, ready, run)


def generator() -> torch.Generator:
    """Return the same random numbers every time."""
    return torch.Generator().manual_seed(0)


def scripted(net: nn.Module, inputs: tuple[Tensor, Tensor]) -> torch.jit.ScriptModule:
    """Return the network traced and frozen, and optimised: that is done in the first two passes."""
    made = torch.jit.freeze(torch.jit.trace(net, inputs, check_trace=False))
    for _ in range(2):
        made(*inputs)
    return made


@contextmanager
def exported(net: nn.Module, inputs: tuple[Tensor, Tensor]) -> Iterator[Path]:
    """Write the network as ONNX."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.onnx")
        torch.onnx.export(net, inputs, path, dynamo=False, opset_version=17, input_names=["x", "observed"])
        yield path


if __name__ == "__main__":
    main()
