"""The beam search that a request asks for."""

from weft.adapters.errors import Unsupported
from weft.protos.v1 import inference_pb2
from weft.server.channel import Beams, EarlyStopping

from .fields import Findings

MAX_BEAMS = 8
MAX_LENGTH_PENALTY = 10
EARLY_STOPPING = {
    inference_pb2.EARLY_STOPPING_UNSPECIFIED: EarlyStopping.HEURISTIC,
    inference_pb2.EARLY_STOPPING_HEURISTIC: EarlyStopping.HEURISTIC,
    inference_pb2.EARLY_STOPPING_FIRST: EarlyStopping.FIRST,
    inference_pb2.EARLY_STOPPING_NEVER: EarlyStopping.NEVER,
}


def read_beams(
    request: inference_pb2.GenerateRequest, findings: Findings, *, n: int
) -> Beams | None:
    """Check what a request says of beams; None where it asks for none.

    Raises:
        Unsupported: Naming a field that is served without beams only.
    """
    num = request.num_beams if request.HasField("num_beams") else 1
    findings.check(1 <= num <= MAX_BEAMS, "num_beams", num, f"1 to {MAX_BEAMS}")
    penalty, early = request.length_penalty, request.early_stopping
    if num <= 1:
        has_penalty = request.HasField("length_penalty")
        findings.check(not has_penalty, "length_penalty", penalty, "given without beams")
        findings.check(not early, "early_stopping", early, "given without beams")
        return None
    _refuse_unserved(request)
    penalty = penalty if request.HasField("length_penalty") else 1.0
    in_range = abs(penalty) <= MAX_LENGTH_PENALTY
    limit = f"in [-{MAX_LENGTH_PENALTY}, {MAX_LENGTH_PENALTY}]"
    findings.check(in_range, "length_penalty", penalty, limit)
    findings.check(early in EARLY_STOPPING, "early_stopping", early, "HEURISTIC, FIRST or NEVER")
    findings.check(n <= num, "n", n, f"at most num_beams, {num}")
    temperature = request.sampling.temperature
    findings.check(not temperature, "sampling.temperature", temperature, "0: beams draw nothing")
    return Beams(num, n, penalty, EARLY_STOPPING.get(early, EarlyStopping.HEURISTIC))


def _refuse_unserved(request: inference_pb2.GenerateRequest) -> None:
    asked = {
        "constraint": request.HasField("constraint"),
        "logprobs": request.HasField("logprobs"),
        "stopping.stop": bool(request.stopping.stop),
    }
    for name, is_asked in asked.items():
        if is_asked:
            raise Unsupported(f"{name} is not served together with num_beams", field=name)
