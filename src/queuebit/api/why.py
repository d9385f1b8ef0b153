"""Why a job or workload waits, and for how long: a resource beside IBM's."""

from dataclasses import replace

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from queuebit.api.jobs import owned_job
from queuebit.api.parts import AnyCall, Call, answer
from queuebit.api.sessions import unknown_session
from queuebit.api.times import wire_time_or_none
from queuebit.core.explain import Explanation, Hold
from queuebit.core.forward import Unknown
from queuebit.core.model import FINAL, JobStatus, WorkloadState
from queuebit.foresight import Foreseen

router = APIRouter(tags=["Queuebit"])


class AheadAnswer(BaseModel):
    """Jobs that go first, as things stand."""

    session: int = Field(description="Queued, of the session that is active or next in line")
    batches: int = Field(description="Queued, of active batches")
    queue: int = Field(description="In the normal queue, with what follows them at once")
    ready: int = Field(description="Ready for the QPU before it")
    jobs: list[str] = Field(description="Ids of the first few of the caller's own instance")


class Waiting(BaseModel):
    """The rule that holds a job back."""

    rule: Hold
    reason: str
    source: str | None = Field(description="Where the rule stands in docs/")
    position: int | None = Field(description="1: next")
    ahead: AheadAnswer
    until: str | None = Field(description="When time alone ends it at the latest")


class Why(BaseModel):
    """Why something waits and when it will go on; null is what does not apply."""

    id: str
    status: JobStatus | WorkloadState
    rule: Hold | None = None
    reason: str
    source: str | None = None
    position: int | None = None
    ahead: AheadAnswer | None = None
    until: str | None = None
    estimated_start: str | None = None
    estimated_completion: str | None = None
    no_estimate: Unknown | None = Field(default=None, description="Why there is none")


@router.get("/queuebit/jobs/{job_id}/why", response_model=Why)
async def explain_job(call: AnyCall, job_id: str) -> Response:
    """Tell why a job waits, what goes first, and when it should start and end.

    Once it has started or ended, those are the instants at which it did.
    """
    stored = await owned_job(call, job_id)
    why = await _why(call, job_id, stored.record.status)
    if why is None:  # final, or about to be stored as that
        stored = await owned_job(call, job_id)
        record = stored.record
        has_ended = record.status in FINAL
        why = Why(
            id=job_id,
            status=record.status,
            reason=f"It has ended: {record.status}." if has_ended else "It is ending.",
            estimated_start=wire_time_or_none(record.started_at),
            estimated_completion=wire_time_or_none(record.ended_at),
        )
    return answer(why, unset=True)


@router.get("/queuebit/sessions/{session_id}/why", response_model=Why)
async def explain_session(call: AnyCall, session_id: str) -> Response:
    """Tell why the next job of a batch or session waits, and when it and the last one are due."""
    stored = await call.parts.database.workload(session_id)
    if stored is None or stored.record.instance != call.instance.id:
        raise unknown_session(session_id)
    why = await _why(call, session_id, stored.record.state)
    if why is None:
        why = Why(id=session_id, status=WorkloadState.CLOSED, reason="It is closed.")
    return answer(why, unset=True)


def waiting(told: Explanation) -> Waiting:
    """Tell the rule that holds a job back."""
    assert told.hold is not None
    return Waiting(
        rule=told.hold,
        reason=told.reason,
        source=told.source,
        position=told.position,
        ahead=_ahead(told),
        until=wire_time_or_none(told.until),
    )


def foreseen_times(foreseen: Foreseen | None) -> tuple[str | None, str | None]:
    """Start and end as the wire has them; None where there is no estimate."""
    if foreseen is None:
        return None, None
    start, end = foreseen.start, foreseen.end
    return (
        None if isinstance(start, Unknown) else wire_time_or_none(start),
        None if isinstance(end, Unknown) else wire_time_or_none(end),
    )


async def _why(call: Call, record_id: str, status: JobStatus | WorkloadState) -> Why | None:
    """What the scheduler has to say; None if it knows no such thing any more."""
    driver = call.parts.driver
    told = driver.explain(record_id)
    if told is None:
        return None
    foreseen = await driver.foresee(record_id)
    start, end = foreseen_times(foreseen)
    instants = () if foreseen is None else (foreseen.start, foreseen.end)
    unknown = next((at for at in instants if isinstance(at, Unknown)), None)
    if foreseen is not None and foreseen.waits_for_limit and told.hold is not Hold.USAGE_LIMIT:
        told = replace(
            told,
            hold=Hold.USAGE_LIMIT,
            reason=f"{told.reason} Before its turn comes, the usage limit of your instance will be "
            "reached; then it waits for that.",
        )
    return Why(
        id=record_id,
        status=status,
        rule=told.hold,
        reason=told.reason,
        source=told.source,
        position=told.position,
        ahead=None if told.hold is None else _ahead(told),
        until=wire_time_or_none(told.until),
        estimated_start=start,
        estimated_completion=end,
        no_estimate=unknown,
    )


def _ahead(told: Explanation) -> AheadAnswer:
    ahead = told.ahead
    return AheadAnswer(
        session=ahead.session,
        batches=ahead.batches,
        queue=ahead.queue,
        ready=ahead.ready,
        jobs=list(ahead.named),
    )
