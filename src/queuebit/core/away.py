"""What becomes of active sessions while there is no service (decisions 23)."""

from collections.abc import Iterator

from queuebit.core import policy
from queuebit.core.index import Index
from queuebit.core.model import JobStatus, Workload


def interruptions(
    index: Index, last_at: int, now: int
) -> Iterator[tuple[Workload, int, int | None]]:
    """Each session whose window ends with the service: when it ends, and when it begins anew.

    The service was last there at `last_at`, and is back `now`. A session's timers went on
    meanwhile: where one ends it, there is nothing to come back to (None).
    """
    at_work = {job.workload_id for job in index.jobs.values() if job.status is JobStatus.RUNNING}
    active = [queues.session for queues in index.backends.values() if queues.session]
    for session in sorted((index.workloads[id_] for id_ in active), key=lambda one: one.seq):
        assert session.activated_at is not None
        left_at = max(session.activated_at, last_at)
        over_at = policy.over_away_at(session, has_queued=index.has_queued(session.id))
        if left_at >= now:
            continue
        if session.id in at_work or over_at is None or over_at > now:
            yield session, left_at, now
        elif over_at > left_at:  # else it was over before, and ends at that instant
            yield session, left_at, None
