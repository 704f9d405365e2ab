"""The least time a step or an op can take: its bytes and products over what the machine can do.

Of a step, every weight, adapter and cached key is read once; activations are not counted. Of an op,
inputs are read once and outputs written once; what passes between two kernels is not counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from weft.kernels import Site


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What the machine was measured to do; a copy counts the bytes read and those written.

    Attributes:
        read_bytes_s: Reading alone, where it was measured; the floors of steps then use it, since
            weights are only read.
        host_copy_bytes_s: From pinned memory to the device.
        launches_us: What a graph of one empty kernel takes, of two, and so on.
    """

    copy_bytes_s: float
    matmul_flops_s: float
    read_bytes_s: float | None = None
    host_copy_bytes_s: float | None = None
    launches_us: Sequence[float] = ()

    def best_of(self, other: "Ceilings") -> "Ceilings":
        """The better of two measurements, each for itself."""
        return replace(
            self,
            copy_bytes_s=max(self.copy_bytes_s, other.copy_bytes_s),
            matmul_flops_s=max(self.matmul_flops_s, other.matmul_flops_s),
            read_bytes_s=max(filter(None, (self.read_bytes_s, other.read_bytes_s)), default=None),
        )

    def flags(self) -> list[str]:
        """What is more than 5 % off the H200 that the published floors are of."""
        found = {
            "copy {:.2f} TB/s": (self.copy_bytes_s, H200.copy_bytes_s, 1e12),
            "product {:.0f} TFLOP/s": (self.matmul_flops_s, H200.matmul_flops_s, 1e12),
        }
        return [
            f"{text.format(value / scale)} is {value / usual - 1:+.0%} of {usual / scale:g}"
            for text, (value, usual, scale) in found.items()
            if abs(value / usual - 1) > 0.05
        ]


H200 = Ceilings(copy_bytes_s=4.3e12, matmul_flops_s=780e12)


@dataclass(frozen=True, slots=True)
class Work:
    """What cannot be avoided."""

    num_bytes: float
    flops: float

    def floor_s(self, ceilings: Ceilings) -> float:
        """The larger of the time for the bytes and the time for the products."""
        bytes_s = ceilings.read_bytes_s or ceilings.copy_bytes_s
        return max(self.num_bytes / bytes_s, self.flops / ceilings.matmul_flops_s)


@dataclass(frozen=True, slots=True)
class BaseCost:
    """What the base model costs.

    Attributes:
        weight_bytes: Read by every step: all but an embedding that is only looked up.
        linear_weights: Elements of the Linears, the output embeddings left out.
        head_weights: Elements of the output embeddings.
        kv_token_bytes: Keys and values of one token in all layers.
        attention_flops: For one query and one key in all layers.
    """

    weight_bytes: int
    linear_weights: int
    head_weights: int
    kv_token_bytes: int
    attention_flops: int


@dataclass(frozen=True, slots=True)
class BatchCost:
    """A batch of equal sequences, greedy, of which each may have its adapter.

    Attributes:
        distinct_elements: Elements of every distinct adapter.
        row_elements: Elements of each adapted sequence's adapter.
        element_bytes: Of the serving dtype.
    """

    base: BaseCost
    batch: int
    prompt_tokens: int
    new_tokens: int
    distinct_elements: Sequence[int]
    row_elements: Sequence[int]
    element_bytes: int

    @property
    def adapter_bytes(self) -> int:
        return self.element_bytes * sum(self.distinct_elements)

    def prefill(self) -> Work:
        """All prompts at once; one token of each is drawn."""
        base, num_tokens = self.base, self.batch * self.prompt_tokens
        pairs = self.batch * self.prompt_tokens**2 / 2
        return Work(
            num_bytes=base.weight_bytes + self.adapter_bytes + num_tokens * base.kv_token_bytes,
            flops=2 * num_tokens * base.linear_weights
            + 2 * self.batch * base.head_weights
            + pairs * base.attention_flops
            + 2 * self.prompt_tokens * sum(self.row_elements),
        )

    def decode_step(self, context: int) -> Work:
        """One more token of each sequence, all with `context` tokens so far."""
        base, num_keys = self.base, self.batch * context
        return Work(
            num_bytes=base.weight_bytes + self.adapter_bytes + num_keys * base.kv_token_bytes,
            flops=2 * self.batch * (base.linear_weights + base.head_weights)
            + num_keys * base.attention_flops
            + 2 * sum(self.row_elements),
        )

    def middle_step_s(self, ceilings: Ceilings) -> float:
        """Floor of the decode step half way."""
        return self.decode_step(self.prompt_tokens + self.new_tokens // 2).floor_s(ceilings)

    def decode_s(self, ceilings: Ceilings) -> float:
        """Floor of all decode steps; the prefill draws the first token."""
        contexts = range(self.prompt_tokens + 1, self.prompt_tokens + self.new_tokens)
        return sum(self.decode_step(context).floor_s(ceilings) for context in contexts)


def lora_work(
    site: Site, ranks_C: Sequence[int], *, ranks_T: Sequence[int], element_bytes: int
) -> Work:
    """shrink and expand at one site: adapters, x and y of the adapted rows; y is read and written.

    Args:
        ranks_C: Of every adapter in the step, in each slice.
        ranks_T: Of every adapted row's adapter.
    """
    width = sum(site.in_features + n for n in site.out_features)
    activations = len(ranks_T) * (site.in_features + 2 * sum(site.out_features))
    return Work(
        num_bytes=element_bytes * (sum(ranks_C) * width + activations),
        flops=2 * sum(ranks_T) * width,
    )


def linear_work(site: Site, num_rows: int, *, element_bytes: int) -> Work:
    """The base Linear of a site: its weights, x and y."""
    num_outputs = sum(site.out_features)
    elements = site.in_features * num_outputs + num_rows * (site.in_features + num_outputs)
    return Work(
        num_bytes=element_bytes * elements,
        flops=2 * num_rows * site.in_features * num_outputs,
    )
