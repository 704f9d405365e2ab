"""What a sequence takes of the device, in microseconds, by a price list: plain data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prices:
    """Device microseconds, measured at the start; the ratios are what counts.

    Attributes:
        prefill_us: A prompt's token.
        decode_us: A token of a sequence that decodes beside others.
        cached_us: A prompt's token found in the prefix cache.
        kv_us: A token whose keys and values are read in a step.
        element_us: An element of an adapter's image read in a step, so rank counts.
        load_us: An element of an image brought to the arena on demand.
    """

    prefill_us: float
    decode_us: float
    cached_us: float
    kv_us: float
    element_us: float
    load_us: float

    def service_us(self, prefilled: int, decoded: int, *, context: int, elements: float) -> float:
        """Price of one chunk of a prompt, if it has tokens, and of steps that decoded a token each.

        Args:
            context: Tokens that the last of them sees.
            elements: Of the adapter's image, as far as the sequence has it to itself.
        """
        steps = decoded + (prefilled > 0)
        read_us = context * self.kv_us + elements * self.element_us
        return prefilled * self.prefill_us + decoded * self.decode_us + steps * read_us
