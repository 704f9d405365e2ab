"""What can go wrong in the running processes.

ServerError
├── StartFailed             the server cannot start as configured
│   └── ModelRefused        a base model that a gate refuses; the message names gate and value
├── RequestInvalid          one or more field violations
│   └── PromptTooLong       prompt and max_tokens exceed the context
├── CredentialsMissing
├── CredentialsInvalid
├── RoleRequired
├── QueueFull
├── RateLimited
├── EngineUnavailable       the engine process does not answer
├── ShuttingDown
├── AdapterLoadFailed       the bytes could not be fetched or read this time
├── StepFailed              an engine step failed for its batch
├── DeadlineExceeded
├── MessageTooLarge         a message above its cap
└── Cancelled
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request: its path and what is wrong, with the value and the limit."""

    field: str
    description: str


class ServerError(Exception):
    """Root of the package's errors; `metadata` is machine-readable and safe to show."""

    def __init__(self, message: str, **metadata: str | int) -> None:
        super().__init__(message)
        self.metadata = {key: str(value) for key, value in metadata.items()}


class StartFailed(ServerError):
    pass


class ModelRefused(StartFailed):
    pass


class RequestInvalid(ServerError):
    """Every violation at once."""

    def __init__(self, violations: tuple[FieldViolation, ...], **metadata: str | int) -> None:
        assert violations
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations), **metadata)
        self.violations = violations


class PromptTooLong(RequestInvalid):
    pass


class CredentialsMissing(ServerError):
    pass


class CredentialsInvalid(ServerError):
    pass


class RoleRequired(ServerError):
    pass


class QueueFull(ServerError):
    pass


class RateLimited(ServerError):
    pass


class EngineUnavailable(ServerError):
    pass


class ShuttingDown(ServerError):
    pass


class AdapterLoadFailed(ServerError):
    pass


class StepFailed(ServerError):
    pass


class DeadlineExceeded(ServerError):
    pass


class MessageTooLarge(ServerError):
    pass


class Cancelled(ServerError):
    pass
