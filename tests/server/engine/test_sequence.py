"""What a sequence counts about itself."""

from weft.server.channel import Sampling, Submit
from weft.server.engine.sequence import Sequence, State, alone


def sequence(*, max_tokens: int = 3, stop_tokens: frozenset[int] = frozenset()) -> Sequence:
    request = Submit(
        stream=5,
        digest="sha256:a",
        tokens=[1, 2],
        sampling=Sampling(),
        max_tokens=max_tokens,
        stop_tokens=stop_tokens,
        salt="",
    )
    return Sequence(b"front", request, arrival=0, root=b"", submitted_at=10.0, tier="store")


def test_drawn_tokens_do_not_touch_the_request() -> None:
    drawn = sequence()
    assert drawn.append(9, 11.0) is None
    assert (drawn.tokens, drawn.request.tokens) == ([1, 2, 9], [1, 2])
    assert drawn.num_generated == 1


def test_ends_with_a_stop_token_or_at_its_length() -> None:
    stopping = sequence(stop_tokens=frozenset([7]))
    assert [stopping.append(token, 11.0) for token in (8, 7)] == [None, "stop"]
    counting = sequence(max_tokens=2)
    assert [counting.append(token, 11.0) for token in (8, 8)] == [None, "length"]
    both = sequence(max_tokens=1, stop_tokens=frozenset([7]))
    assert both.append(7, 11.0) == "stop"


def test_times_are_told_apart_and_add_up() -> None:
    timed = sequence(max_tokens=2)
    timed.wait_for_adapter(11.0)
    timed.wait_for_adapter(12.0)
    timed.stop_waiting(14.0)
    timed.admitted_at = 15.0
    timed.append(8, 18.0)
    timed.append(8, 22.0)
    finished = timed.finished("length", 22.0)
    assert (finished.queue_s, finished.load_s) == (2.0, 3.0)
    assert (finished.prefill_s, finished.decode_s) == (3.0, 4.0)
    assert (finished.stream, finished.tier, finished.generated_tokens) == (5, "store", 2)


def test_preempted_sequence_is_not_loading_again() -> None:
    preempted = sequence()
    preempted.state = State.PREEMPTED
    preempted.wait_for_adapter(11.0)
    assert preempted.state is State.PREEMPTED
    preempted.stop_waiting(19.0)
    assert preempted.load_s == 0


def test_sequence_of_nobody_has_blocks_of_its_own() -> None:
    assert alone([4, 5, 6], num_blocks=2, slot=3).blocks == [0, 1]
