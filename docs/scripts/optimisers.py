"""What Muon brings to a kriged IFANP: the same training with AdamW for all weights, and with Muon for hidden kernels.

Run `python docs/scripts/optimisers.py`; the pictures are those of `geonp datasets path faces` (GEONP_DATA). It prints
the error on the validation pictures, as a share of kriging's, and seconds of one processor core, for docs/training.md.
"""

from __future__ import annotations

import argparse
import time
from unittest.mock import patch

import numpy as np
import torch
import xarray as xr
from geonp.datasets.images import load_images

from geonp.fitting import Fitting, Recipe
from geonp.models.kriged import KrigedIFANP
from geonp.training import Options

SETTINGS = {"width": 64, "attention_window": 5, "upright": True}
RATES = (1e-3, 3e-3)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3, help="of 100 steps")
    epochs = parser.parse_args().epochs
    torch.set_num_threads(1)
    pictures = load_images("faces").train.astype(np.float32) / 255
    fields = [xr.DataArray(picture, dims=("band", "y", "x")) for picture in pictures]
    heads = " | ".join(str(100 * (epoch + 1)) for epoch in range(epochs))
    print(f"| hidden kernels | learning rate | {heads} | seconds |\n" + "|---" * (epochs + 3) + "|")
    for name, hidden in {"AdamW": lambda _: [], "Muon": KrigedIFANP.hidden}.items():
        for rate in RATES:
            recipe = Recipe("kriged-ifanp", SETTINGS, "0.15:0.65", tile=pictures.shape[2], batch=48)
            options = Options(epochs=epochs, learning_rate=rate, precision="bf16-mixed")
            with patch.object(KrigedIFANP, "hidden", hidden):
                fitting = Fitting(fields, recipe, options)
                start = time.process_time()
                told = [record.rmse for record in fitting.run() if record.rmse is not None]
            errors = " | ".join(f"{error:.3f}" for error in told)
            print(f"| {name} | {rate:g} | {errors} | {time.process_time() - start:.0f} |", flush=True)


if __name__ == "__main__":
    main()
