"""What an adapter must know of its base model, as plain data.

The server makes these facts from the model's config (on the meta device, without its weights), so
that an offline check, the front, the engine and a worker all judge an adapter by the same table.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

IMAGE_FORMAT = "weft-image/1"


@dataclass(frozen=True, slots=True)
class Member:
    """One Linear of a site: its module path in the base and its out-features."""

    name: str
    out_features: int


@dataclass(frozen=True, slots=True)
class Site:
    """Linears that share an input; `members` are its slices, in the order of the merged output."""

    name: str
    in_features: int
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """A base model as adapters see it.

    Attributes:
        name: The served name, by which requests ask for the base itself.
        digest: `sha256:…` of the stored checkpoint.
        sources: Names under which adapters may say that they were trained on this base.
        dtype: Serving dtype: `float32`, `float16` or `bfloat16`.
        sites: Every place that can take an adapter, in the order of the offset table's columns.
        other_modules: Path → class name of every module that exists and is no member of a site.
        max_context: Longest sequence that the model admits, in tokens.
        vocab_size: Entries of the logits.
        tokenizer_digest: `sha256:…` of the tokenizer's files, or empty without one.
        template_digest: `sha256:…` of the chat template's text, or empty without one.
        quantisation: Form of the sites' weights while serving, as `int8`; None = `dtype`.
    """

    name: str
    digest: str
    sources: frozenset[str]
    dtype: str
    sites: tuple[Site, ...]
    other_modules: Mapping[str, str]
    max_context: int
    vocab_size: int
    tokenizer_digest: str
    template_digest: str
    quantisation: str | None = None

    @property
    def precision(self) -> str:
        """What the base computes in, as `bfloat16` or `bfloat16+int8`; adapters stay in `dtype`."""
        return self.dtype if self.quantisation is None else f"{self.dtype}+{self.quantisation}"

    @property
    def num_slices(self) -> int:
        """Columns of the offset table."""
        return sum(len(site.members) for site in self.sites)

    @property
    def members(self) -> dict[str, tuple[Site, Member]]:
        """Module path → its site and itself, in the order of the offset table's columns."""
        return {member.name: (site, member) for site in self.sites for member in site.members}

    @property
    def layout_id(self) -> str:
        """Name of the serving layout: format, precision, parallel size, the site table's digest."""
        table = "\n".join(
            f"{site.name} {site.in_features} "
            + " ".join(f"{member.name}:{member.out_features}" for member in site.members)
            for site in self.sites
        )
        return f"{IMAGE_FORMAT}:{self.precision}:1:{hashlib.sha256(table.encode()).hexdigest()}"
