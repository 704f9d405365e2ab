"""The form that a completion must have: a grammar, compiled beside the steps, and a place in it.

Source: the matcher is llguidance's, https://github.com/guidance-ai/llguidance.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import llguidance.hf
import numpy as np
import numpy.typing as npt
from llguidance import LLMatcher, LLTokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from weft.server.errors import FieldViolation, RequestInvalid

from .loader import stay_single

BITS = 32  # tokens of a word
Words = npt.NDArray[np.uint32]


class Constraint:
    """A completion's place in its grammar."""

    def __init__(self, matcher: LLMatcher, *, vocab_size: int, end_token: int) -> None:
        self._matcher = matcher
        self._num_words = -(-vocab_size // BITS)
        self._end_token = end_token

    def allowed(self, ends: frozenset[int]) -> Words:
        """A bit for every token that may come next, none if nothing may.

        Those of `ends`, which end the completion, may come only where the form is whole.
        """
        words = np.zeros(self._num_words, np.uint32)
        self._matcher.unsafe_compute_mask_ptr(words.ctypes.data, words.nbytes)
        may_end = self._matcher.is_accepting()
        for token in {self._end_token, *ends}:
            bit = np.uint32(1 << token % BITS)
            words[token // BITS] &= ~bit
            if may_end and token in ends:
                words[token // BITS] |= bit
        return words

    def take(self, token: int) -> bool:
        """Go on with an allowed token; True if nothing can follow it."""
        taken = self._matcher.consume_token(token)
        assert taken, self._matcher.get_error()
        return self._matcher.is_stopped()


class Grammars:
    """Compiles grammars in a thread beside the steps."""

    def __init__(self, folder: Path | None, *, vocab_size: int) -> None:
        """Prepare; the tokenizer in `folder` is read when a grammar first needs it, None = none."""
        self._folder = folder
        self._vocab_size = vocab_size
        self._thread = ThreadPoolExecutor(1, "grammars", initializer=stay_single)
        self._tokenizer: LLTokenizer | None = None

    def compile(self, grammar: str) -> Future[Constraint]:
        """Compile a grammar; RequestInvalid is set for one that is none, or is too large."""
        return self._thread.submit(self._compile, grammar)

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)

    def _compile(self, grammar: str) -> Constraint:
        if self._tokenizer is None:
            self._tokenizer = _read_tokenizer(self._folder, self._vocab_size)
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise _refusal(matcher.get_error())
        return Constraint(matcher, vocab_size=self._vocab_size, end_token=self._tokenizer.eos_token)


def _refusal(found: str) -> RequestInvalid:
    return RequestInvalid((FieldViolation("constraint", found),), field="constraint")


def _read_tokenizer(folder: Path | None, vocab_size: int) -> LLTokenizer:
    if folder is None:
        raise _refusal("this engine was started without a tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    end = tokenizer.eos_token_id
    if not isinstance(end, int):
        raise _refusal("the base's tokenizer has no end token")
    return llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocab_size, eos_token=end)
