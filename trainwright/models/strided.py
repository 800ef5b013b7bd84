"""A convolution of single pixels that passes some over, kept from a fault of torch on some processors."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

LEAST = 8  # maps; fewer do not fill a register of AVX2


class Conv2d(nn.Conv2d):
    """As torch's, with a kernel of one pixel and no border; the pixels are picked first, which is the same sum.

    On a CPU with AVX2 and without AVX-512, oneDNN of torch 2.13 writes beyond its memory where it computes the gradient
    of such weights from fewer than 8 maps that lie with the channels last: the process then dies, sooner or later.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K, H / stride, W / stride)."""
        down, right = self.stride
        return F.conv2d(input[:, :, ::down, ::right], self.weight, self.bias)


def at_risk(module: nn.Module) -> bool:
    """Whether it is a convolution that torch may compute so."""
    return (
        isinstance(module, nn.Conv2d)
        and not isinstance(module, Conv2d)
        and module.kernel_size == (1, 1)
        and module.padding == (0, 0)
        and module.groups == 1
        and max(module.stride) > 1
        and module.in_channels < LEAST
    )
