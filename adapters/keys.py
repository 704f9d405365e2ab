"""Every Redis key.

All metadata carries one hash tag, `{m}`, so that a script may touch all of it and stay in one
cluster slot; the chunks of a blob spread by their storage id. Digests appear in their text form,
`sha256:…`.
"""

ROOT = "weft:1:"
META = ROOT + "{m}:"

SCHEMA = META + "schema"  # string: number of the key layout
EPOCH = META + "epoch"  # string: random; a change makes every follower take a new snapshot
TENANTS = META + "tenants"  # hash: tenant → JSON quotas
NAMESPACES = META + "namespaces"  # set: tenants that have adapters
EVENTS = META + "events"  # stream: every visible change, all tenants
UPLOADS = META + "uploads"  # zset: sid whose bytes no record holds → when they may be discarded
HOLDERS = META + "holders"  # set: who holds leases
BLOBS = META + "blobs"  # zset: digest of every recorded blob → when somebody last asked for it

MANIFESTS = META + "manifests"  # zset: adapter digest that has a manifest → when it was recorded

LEASE_PREFIX = META + "lease:"
OWN_PREFIX = META + "own:"
USED_PREFIX = META + "used:"


def used(tenant: str) -> str:
    """Hash: bytes, adapters, versions, jobs queued and running."""
    return USED_PREFIX + tenant


def own(tenant: str) -> str:
    """Set: digests of the blobs that this tenant uploaded itself."""
    return OWN_PREFIX + tenant


def open_uploads(tenant: str) -> str:
    """Hash: digest → id of the upload that is open for it."""
    return f"{META}open:{tenant}"


def adapters(tenant: str) -> str:
    """Zset, all scores 0: adapter names, paged in their order."""
    return f"{META}adapters:{tenant}"


def adapter(tenant: str, name: str) -> str:
    """Hash: next_version, etag, labels, created_ms."""
    return f"{META}a:{tenant}/{name}"


def versions(tenant: str, name: str) -> str:
    """Hash: number → JSON of the version."""
    return f"{META}v:{tenant}/{name}"


def aliases(tenant: str, name: str) -> str:
    """Hash: alias → JSON version, generation, previous."""
    return f"{META}al:{tenant}/{name}"


def audit(tenant: str, name: str) -> str:
    """Stream: who moved what, from, to, when and why."""
    return f"{META}log:{tenant}/{name}"


def manifest(digest: str) -> str:
    """String: JSON of an adapter's module table."""
    return f"{META}man:{digest}"


def images(digest: str) -> str:
    """Hash: layout id → digest of the image's blob."""
    return f"{META}img:{digest}"


def named_by(digest: str) -> str:
    """Set: `tenant/adapter@n` of every version that is this adapter digest."""
    return f"{META}names:{digest}"


def blob(digest: str) -> str:
    """Hash: backend, sid, size, chunk_bytes, created_ms."""
    return f"{META}blob:{digest}"


def refs(digest: str) -> str:
    """Set: what needs the blob: `v:…`, `img:…`, `job:…`, `ds:…`."""
    return f"{META}refs:{digest}"


def owners(digest: str) -> str:
    """Set: tenants whose `own` holds the blob."""
    return f"{META}owners:{digest}"


def upload(sid: str) -> str:
    """Hash: tenant, digest, size, offset, writer."""
    return f"{META}up:{sid}"


def chunk(sid: str, index: int) -> str:
    """String: one chunk of bytes that are being written."""
    return f"{ROOT}c:{{{sid}}}:{index}"


def sealed_chunk(sid: str, index: int) -> str:
    """String: one chunk of bytes that no writer reaches any more."""
    return f"{ROOT}c:{{{sid}}}:s:{index}"


def datasets(tenant: str) -> str:
    """Hash: data set id → JSON."""
    return f"{META}ds:{tenant}"


def lease(holder: str) -> str:
    """Hash: digest → reason; lives while its holder renews it."""
    return LEASE_PREFIX + holder


def request(tenant: str, request_id: str) -> str:
    """String: fingerprint and answer of a mutating call, for 24 h."""
    return f"{META}req:{tenant}:{request_id}"


def server(server_id: str) -> str:
    """Hash: address, base, cursor, capabilities."""
    return f"{META}server:{server_id}"


def residency(server_id: str) -> str:
    """Hash: digest → tier, bytes, pinned, last use."""
    return f"{META}res:{server_id}"


JOB_WAKE = META + "jobwake"  # stream: one entry per released job; workers block on it
JOB_NEWS = META + "jobnews"  # stream: one entry per event of any job; fronts block on it
DEAD_JOBS = META + "dead"  # stream: jobs given up, with reason and attempts


def job(job_id: str) -> str:
    """Hash: spec, state, phase, generation, fence, attempt, holder, progress, result."""
    return f"{META}job:{job_id}"


def jobs(tenant: str) -> str:
    """Zset: job ids by time of creation."""
    return f"{META}jobs:{tenant}"


def waiting_jobs(tenant: str) -> str:
    """Zset: jobs over the tenant's running quota, by class and time."""
    return f"{META}wait:{tenant}"


def queue(base_digest: str, queue_class: str) -> str:
    """Stream with group `workers`: runnable jobs of one base and class."""
    return f"{META}q:{base_digest.removeprefix('sha256:')[:12]}:{queue_class}"


def job_lease(job_id: str) -> str:
    """String: fence of the holder, for 60 s."""
    return f"{META}joblease:{job_id}"


def job_events(job_id: str) -> str:
    """Stream: what happened to the job."""
    return f"{META}jobev:{job_id}"
