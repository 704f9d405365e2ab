"""Noise of which every number is a function of (seed, output position, token id), nothing else.

So what a request draws does not depend on the batch, on preemption or on the process.

Source: Philox4x32-10, Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

import torch
from torch import Tensor

TOKENS_PER_COUNTER = 4
_ROUNDS = 10
_FACTORS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = 0xFFFFFFFF


def philox(counter: tuple[Tensor, ...], key: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Run the ten rounds on 32-bit words in int64 tensors; four words in, four words out.

    A product of two words may overflow int64: its bits are right all the same.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for i in range(_ROUNDS):
        if i:
            k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
        p0, p1 = c0 * _FACTORS[0], c2 * _FACTORS[1]
        c0, c2 = (p1 >> 32) & _LOW ^ c1 ^ k0, (p0 >> 32) & _LOW ^ c3 ^ k1
        c1, c3 = p1 & _LOW, p0 & _LOW
    return c0, c1, c2, c3


def gumbel(seed: Tensor, position: Tensor, group: Tensor) -> Tensor:
    """Draw Gumbel noise for tokens `4·group … 4·group + 3` of each row.

    Args:
        seed: int64, `[n]`; all 64 bits count.
        position: int64, `[n]`, output positions.
        group: int64, `[n]`.

    Returns:
        float32, `[n, 4]`, between -3.2 and 22.9.
    """
    zero = torch.zeros_like(group)
    words = philox((group, position, zero, zero), (seed & _LOW, (seed >> 32) & _LOW))
    uniform = (torch.stack(words, dim=-1).double() + 0.5) * 2.0**-32
    return (-(-uniform.log()).log()).float()


def gumbel_max(scores_BV: Tensor, seed_B: Tensor, position_B: Tensor) -> Tensor:
    """What `kernels.gumbel_max.gumbel_max` computes."""
    num_rows, vocab_size = scores_BV.shape
    group = torch.arange(-(-vocab_size // TOKENS_PER_COUNTER), device=scores_BV.device)
    each = len(group)
    noise = gumbel(
        seed_B.repeat_interleave(each, output_size=num_rows * each),
        position_B.repeat_interleave(each, output_size=num_rows * each),
        group.repeat(num_rows),
    )
    return (scores_BV + noise.view(num_rows, -1)[:, :vocab_size]).argmax(dim=-1)
