"""A light convolutional pyramid (U-Net) that works at half resolution and below.

Pixels are regrouped first (2 x 2 pixels become channels), so that no convolution runs at full resolution: a
quarter of the work, and nothing lost. There is no normalisation over the canvas, which would make a pixel's
value depend on the canvas it is computed in; residual blocks that start as the identity need none (Zhang et
al. 2019, "Fixup initialization").
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate, pad, pixel_shuffle, pixel_unshuffle, relu

from geonp.nn.attention import window_weights


def _silence(layer: nn.Conv2d) -> None:
    """Set a layer's weights to zero, so that it starts without effect."""
    for weights in layer.parameters():
        nn.init.zeros_(weights)


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(relu(x)))), 3 x 3 pixels; the last convolution starts at zero.

    Parameters
    ----------
    channels : of the features.
    following : blocks of the same kind that come after it.
    """

    def __init__(self, channels: int, following: int = 0) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        _silence(self.second)
        self.following = nn.Sequential(*(ResidualBlock(channels) for _ in range(following)))

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the same shape, (B, C, H, W)."""
        change: Tensor = self.second(relu(self.first(relu(x))))
        after: Tensor = self.following(x + change)
        return after


class RegionalCode(nn.Module):
    """The latent path: local pooling aggregation of what the context says, undiluted by what is unknown.

    Features are weighted by the share of observed pixels, pooled over a window with weights that fall with
    distance (LPA, eq. 7-8 of the image-faced attentive neural process), and divided by the equally pooled
    share. The code starts without effect.

    Parameters
    ----------
    channels : of the features.
    window : side of the aggregation window, odd.
    """

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.encode = nn.Conv2d(channels, channels, 1)
        self.decode = nn.Conv2d(channels, channels, 1)
        _silence(self.decode)

    def forward(self, x: Tensor, share: Tensor) -> Tensor:
        """Return features (B, C, h, w) with the code added; `share` (B, 1, h, w) is the observed share."""
        values = relu(self.encode(x)) * share
        weights = window_weights(self.window).to(x)[None, None]
        reach = self.window // 2
        total = conv2d(values, weights.expand(x.shape[1], -1, -1, -1), padding=reach, groups=x.shape[1])
        there = conv2d(share, weights, padding=reach)
        code: Tensor = self.decode(total / (there + 1e-3))
        return x + code


class WindowedCrossAttention(nn.Module):
    """The deterministic path: every place asks the observed places around it, by content and relative
    position.

    Global cross attention (eq. 9-10 of the image-faced attentive neural process) over a window, with a learnt
    score for every relative position in place of absolute coordinates, so that it holds on any canvas. Places
    without observations are never attended to. It starts without effect.

    Parameters
    ----------
    channels : of queries and values; a multiple of `heads`.
    window : side of the window, odd.
    heads : attentions in parallel.
    """

    def __init__(self, channels: int, window: int, heads: int = 4) -> None:
        super().__init__()
        self.window, self.heads = window, heads
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.merge = nn.Conv2d(channels, channels, 1)
        self.position = nn.Parameter(torch.zeros(window * window, heads, 1, 1))
        _silence(self.merge)

    def forward(self, x: Tensor, context: Tensor, share: Tensor) -> Tensor:
        """Return x (B, C, h, w) with what it found in `context` (B, C, h, w) added.

        `share` (B, 1, h, w) is the share of observed pixels.
        """
        _, c, h, w = x.shape
        reach, depth = self.window // 2, c // self.heads
        # Channels last, single precision: half precision takes the CPU twice as long here.
        query = _channels_last(self.query(x), 0, self.heads) * depth**-0.5
        key = _channels_last(self.key(context), reach, self.heads)
        value = _channels_last(self.value(context), reach, self.heads)
        seen = _channels_last(share, reach, 1)[..., 0] > 0
        cells = [
            (slice(None), slice(i, i + h), slice(j, j + w))
            for i in range(self.window)
            for j in range(self.window)
        ]
        there = torch.stack([seen[cell] for cell in cells])
        score = torch.stack([(query * key[cell]).sum(-1) for cell in cells])
        score = (score + self.position.view(-1, 1, 1, 1, self.heads)).masked_fill(~there, -1e4)
        # Where nothing in the window is observed all scores are equal, and the answer is switched off.
        weight = (torch.softmax(score, 0) * there.any(0))[..., None]
        found = torch.zeros_like(query)
        for part, cell in zip(weight, cells, strict=True):
            found = found + part * value[cell]
        answer: Tensor = self.merge(found.flatten(3).permute(0, 3, 1, 2))
        return x + answer


def _channels_last(x: Tensor, frame: int, heads: int) -> Tensor:
    """Return features (B, C, h, w) as (B, h, w, heads, C / heads) in single precision, framed by zeros."""
    framed = pad(x, (frame,) * 4).permute(0, 2, 3, 1).float().contiguous()
    return framed.view(*framed.shape[:3], heads, -1)


class UNet(nn.Module):
    """Channels of a canvas -> channels of the same canvas, with zero output before training.

    Parameters
    ----------
    inputs, outputs : channels.
    width : channels at half resolution; level i has width (1 + i / 2).
    levels : resolutions, 1/2, 1/4, ...; at least 2.
    code_window : window of the regional code at the lowest resolution, odd.
    attention_window : window of the cross attention at the last resolution but one, odd; 0 leaves it out.
    depth : residual blocks in a row, at all resolutions but the first, which has one: most of the work is there.

    Notes
    -----
    The canvas's sides must be multiples of `stride`. The map is equivariant to shifts by multiples of it.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int,
        levels: int,
        code_window: int,
        attention_window: int,
        depth: int = 1,
    ) -> None:
        super().__init__()
        widths = [width + width * i // 2 for i in range(levels)]
        following = [0] + [depth - 1] * (levels - 1)
        blocks = list(zip(widths, following, strict=True))
        pairs = list(itertools.pairwise(widths))
        self.stride = 1 << levels
        self.stem = nn.Conv2d(4 * inputs, width, 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairs)
        self.encode = nn.ModuleList(ResidualBlock(*block) for block in blocks)
        self.code = RegionalCode(widths[-1], code_window)
        self.middle = ResidualBlock(*blocks[-1])
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairs)
        self.decode = nn.ModuleList(ResidualBlock(*block) for block in blocks[:-1])
        self.attention = WindowedCrossAttention(widths[-2], attention_window) if attention_window else None
        self.head = nn.Conv2d(width, 4 * outputs, 3, padding=1)
        _silence(self.head)
        self.reach = self._reach(levels, code_window, attention_window, depth)

    @staticmethod
    def _reach(levels: int, code_window: int, attention_window: int, depth: int) -> int:
        """Pixels beside a pixel that its output may depend on, an upper bound."""
        sides = [1 << (i + 1) for i in range(levels)]
        blocks = 2 * sides[0] + depth * (2 * sum(sides[1:]) + sides[-1])  # of two convolutions
        convolutions = 2 * sides[0] + 2 * blocks
        windows = code_window // 2 * sides[-1] + attention_window // 2 * sides[-2]
        # Regrouping and pooling move a pixel by less than one coarse pixel.
        return convolutions + windows + sides[-1]

    def forward(self, x: Tensor, observed: Tensor) -> Tensor:
        """Return (B, outputs, H, W) from x (B, inputs, H, W) and the observed mask (B, 1, H, W)."""
        if torch.is_autocast_enabled(x.device.type):  # rounded before it is moved about, not after
            x = x.to(torch.get_autocast_dtype(x.device.type))
        x = self.stem(pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last))
        shares = [avg_pool2d(observed, 2)]
        skips: list[Tensor] = []
        for i, block in enumerate(self.encode):
            x = block(x)
            if i < len(self.down):
                skips.append(x)
                x = self.down[i](x)
                shares.append(avg_pool2d(shares[-1], 2))
        x = self.middle(self.code(x, shares[-1]))
        for i in reversed(range(len(self.down))):
            x = interpolate(self.up[i](x), scale_factor=2.0, mode="nearest") + skips[i]
            if self.attention is not None and i == len(self.down) - 1:
                x = self.attention(x, skips[i], shares[i])
            x = self.decode[i](x)
        return pixel_shuffle(self.head(relu(x)), 2)
