"""What can go wrong with adapters, their bytes, their names and their jobs.

AdapterError
├── Refused                 an adapter that does not fit its base
├── DatasetInvalid          a data set with errors; the report says which
├── RequestConflict         another content under a request id already used
├── AlreadyExists           the name is taken
├── NotFound
│   ├── ModelNotFound       no such reference
│   ├── AdapterNotFound
│   ├── VersionNotFound
│   ├── AliasNotFound
│   ├── BlobNotFound
│   ├── UploadNotFound
│   ├── DatasetNotFound
│   └── JobNotFound
├── Conflict                a compare-and-set that failed
│   ├── UploadTaken
│   ├── AliasConflict
│   ├── EtagMismatch
│   └── FenceLost
├── WrongState              the state of the thing forbids the call
│   ├── VersionRetired
│   ├── VersionAliased
│   ├── VersionInUse
│   └── JobStateConflict
├── BaseNotServed
├── UploadOffset            the offset is not the committed size
├── UploadDigest            the stored bytes have another sha256
├── QuotaExceeded
├── StoreFull
├── RegistryUnavailable     Redis does not answer
├── StoreUnavailable        the bytes cannot be reached now
├── ContentCorrupt          stored bytes do not match their digest
├── TemplateFailed          the chat template cannot render the messages
├── OptionsInvalid          options of a job that are unknown or out of bounds
├── LossNotFinite           training diverged; the rows of that batch are named
├── TrainingStopped         training was asked to stop between two micro-steps
└── Unsupported             a feature that this server does not have
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One reason for a refusal: a code, where, what was found, what was expected."""

    code: str
    path: str
    found: str
    expected: str

    def __str__(self) -> str:
        return (
            f"{self.code} at {self.path or 'the adapter'}: {self.found}; expected {self.expected}"
        )


class AdapterError(Exception):
    """Root of the package's errors; `metadata` is machine-readable and safe to show."""

    def __init__(self, message: str, **metadata: str | int) -> None:
        super().__init__(message)
        self.metadata = {key: str(value) for key, value in metadata.items()}


class Refused(AdapterError):
    """Every reason at once: `violations` is never empty."""

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        assert violations
        super().__init__(
            "; ".join(map(str, violations)), codes=",".join(v.code for v in violations)
        )
        self.violations = violations


class DatasetInvalid(AdapterError):
    pass


class RequestConflict(AdapterError):
    pass


class AlreadyExists(AdapterError):
    pass


class NotFound(AdapterError):
    pass


class ModelNotFound(NotFound):
    pass


class AdapterNotFound(NotFound):
    pass


class VersionNotFound(NotFound):
    pass


class AliasNotFound(NotFound):
    pass


class BlobNotFound(NotFound):
    pass


class UploadNotFound(NotFound):
    pass


class DatasetNotFound(NotFound):
    pass


class JobNotFound(NotFound):
    pass


class Conflict(AdapterError):
    pass


class UploadTaken(Conflict):
    pass


class AliasConflict(Conflict):
    pass


class EtagMismatch(Conflict):
    pass


class FenceLost(Conflict):
    pass


class WrongState(AdapterError):
    pass


class VersionRetired(WrongState):
    pass


class VersionAliased(WrongState):
    pass


class VersionInUse(WrongState):
    pass


class JobStateConflict(WrongState):
    pass


class BaseNotServed(AdapterError):
    pass


class UploadOffset(AdapterError):
    pass


class UploadDigest(AdapterError):
    pass


class QuotaExceeded(AdapterError):
    pass


class StoreFull(AdapterError):
    pass


class RegistryUnavailable(AdapterError):
    pass


class StoreUnavailable(AdapterError):
    pass


class ContentCorrupt(AdapterError):
    pass


class TemplateFailed(AdapterError):
    pass


class OptionsInvalid(AdapterError):
    """Every option at once: `violations` is never empty."""

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        assert violations
        super().__init__("; ".join(map(str, violations)))
        self.violations = violations


class LossNotFinite(AdapterError):
    pass


class TrainingStopped(AdapterError):
    pass


class Unsupported(AdapterError):
    pass
