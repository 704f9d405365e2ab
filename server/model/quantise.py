"""A base that is quantised while it serves: which sites, by which product, how far it may be off.

Adapters stay what they are: `y = Q(x) Q(W) + B(A x)`, on the input as it came. The output
embeddings, norms, routers and fused experts stay in the serving dtype.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoTokenizer

from weft.server.errors import ModelRefused

from .adapt import SwapReport
from .lora_linear import SiteLinear
from .product import Fp8, Int8, QuantisedProduct

log = logging.getLogger(__name__)

PRODUCTS: dict[str, type[QuantisedProduct]] = {"int8": Int8, "fp8": Fp8}
MULTIPLE = 16
"""Of the features of a site: the ops take no others."""
ROUTERS = frozenset({"router", "wg"})
"""In the names of Linears that choose experts, where a little error is another expert."""

FP8_CAPABILITY = (8, 9)

MAX_DIVERGENCE = 0.05
"""Nats per token that a quantised base may be from the plain one."""
PROMPT_TOKENS = 64
PROMPTS = (
    "The harbour was empty when the last ferry left. Ann counted the money twice, put 40 euros "
    "into the envelope and wrote her sister's address on it: 17 Mill Lane, Cork. It had rained "
    "since Monday, and nobody had seen the lighthouse for three days.",
    "def mean(values: list[float]) -> float:\n    if not values:\n        raise ValueError('no "
    "values')\n    return sum(values) / len(values)\n\n\nprint(mean([1.5, 2.5, 4.0]))\n",
    "Hello, my order 48213 has not arrived. Could you tell me where it is? I am sorry to hear "
    "that. It left our warehouse on 3 May and should be with you by Friday. Is there anything "
    "else that I can do for you?",
    "Water boils at 100 °C at sea level and at about 71 °C on the top of Everest, because the "
    "pressure there is a third. Die Antwort ist einfach. La réponse est simple.",
)
"""What a base is compared on: the outliers that make quantisation hard come with real words."""


def require_quantisable(quantisation: str, *, device: torch.device, dtype: torch.dtype) -> None:
    """Check that a device can run the products.

    Raises:
        ModelRefused: It cannot.
    """
    if device.type == "cpu":
        return
    if quantisation == "int8":
        raise ModelRefused(f"int8 is computed on a CPU only; the base is on {device.type}")
    if dtype != torch.bfloat16:
        raise ModelRefused(f"fp8 goes with bfloat16 on {device.type}; the base is in {dtype}")
    require_fp8(torch.cuda.get_device_capability(device))


def require_fp8(capability: tuple[int, int]) -> None:
    """Raise ModelRefused unless a GPU of this compute capability multiplies e4m3."""
    if capability < FP8_CAPABILITY:
        found, least = (".".join(map(str, pair)) for pair in (capability, FP8_CAPABILITY))
        raise ModelRefused(f"fp8 needs compute capability {least}; the GPU has {found}")


def read_prompts(folder: Path, *, max_context: int) -> list[Tensor]:
    """The prompts in the tokens of the checkpoint in `folder`, cut to a length."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    length = min(PROMPT_TOKENS, max_context)
    return [tokenizer(text, return_tensors="pt").input_ids[0, :length] for text in PROMPTS]


def quantise_base(
    sites: Sequence[SiteLinear],
    quantisation: str,
    *,
    prompts: Sequence[Tensor],
    run: Callable[[Tensor], Tensor],
) -> SwapReport:
    """Quantise every site that can be, for good.

    Args:
        run: The base's logits `[n, V]` of one prompt.

    Raises:
        ModelRefused: No site can be, or the base becomes another by more than `MAX_DIVERGENCE`.
    """
    chosen = [site for site in sites if is_quantisable(site)]
    if not chosen:
        raise ModelRefused(
            f"gate 5 (quantisation): {quantisation} suits none of {len(sites)} sites"
        )
    before = [run(tokens) for tokens in prompts]
    for site in chosen:
        site.quantise(PRODUCTS[quantisation])
    divergence = find_divergence([run(tokens) for tokens in prompts], before)
    found = f"in {quantisation} the base is {divergence:.2g} nats per token from the plain one"
    if not divergence <= MAX_DIVERGENCE:
        raise ModelRefused(f"gate 5 (quantisation): {found}; {MAX_DIVERGENCE} is the limit")
    log.info("%s; %s is the limit", found, MAX_DIVERGENCE)
    skipped = len(sites) - len(chosen)
    return SwapReport(f"{quantisation}_linear", made=len(chosen), skipped=skipped, undone=0)


def is_quantisable(site: SiteLinear) -> bool:
    """Whether the ops take a site's shape, and it chooses no experts."""
    shapes = [(linear.in_features, linear.out_features) for linear in site.linears]
    fits = all(size % MULTIPLE == 0 for shape in shapes for size in shape)
    return fits and ROUTERS.isdisjoint(site.name.split("."))


def find_divergence(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Kullback and Leibler's divergence of the next token's distribution, mean over all rows."""
    q_TV, p_TV = (torch.cat(list(logits)).log_softmax(-1) for logits in (found, expected))
    return float((p_TV.exp() * (p_TV - q_TV)).sum(-1).mean())
