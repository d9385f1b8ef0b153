"""What a job would take, before it is submitted: a resource beside IBM's."""

import asyncio

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from queuebit.api.job_bodies import received
from queuebit.api.jobs import MAX_COST_S, PARAMS
from queuebit.api.parts import AnyCall, Call, answer
from queuebit.api.problems import OVER_BUDGET, RAN_TOO_LONG, SESSION_CLOSED, USAGE_LIMIT
from queuebit.api.submit import (
    JOB_BODY,
    JobRequest,
    check_wish,
    limit_ms,
    new_job_id,
    read_wish,
    validate,
    watched,
)
from queuebit.api.usage import counts_since, rules_of
from queuebit.core import policy
from queuebit.core.budgets import needed_ms
from queuebit.core.model import Instance, Mode, OnLimit, Workload
from queuebit.engines.task import Outcome

router = APIRouter(tags=["Queuebit"])


class Limit(BaseModel):
    """A rule for which the job would be refused or stopped, or could not run in time."""

    code: int
    message: str
    solution: str


class Estimate(BaseModel):
    """Answer of POST /queuebit/estimates."""

    estimated_running_time_seconds: float = Field(description="QPU time, overhead included")
    overhead_seconds: float = Field(description="What the job costs beside its circuits")
    executions: int = Field(description="Circuits times shots")
    circuits: int = Field(description="After broadcasting")
    qubits: int = Field(description="That the widest circuit uses")
    depth: int = Field(description="Of the deepest circuit")
    limits: list[Limit]
    warnings: list[str]


@router.post("/queuebit/estimates", response_model=Estimate, openapi_extra=JOB_BODY)
async def estimate_job(call: AnyCall, request: Request) -> Response:
    """Tell what a job would take of the QPU, and what is in its way; nothing is submitted.

    The body is that of POST /jobs. What could never run is refused as it is there; limits that the
    job is over are told.
    """
    job_id = new_job_id()
    async with received(request, call.parts.payloads, job_id) as body, watched(request) as left:
        wish, params = await read_wish(call, body, left)
        await check_wish(call, wish)
        body.is_taken = True
        # As for a job: cut off, it would kill the worker.
        outcome = await call.parts.undertakings.see_through(
            _estimate(call, wish, job_id, params, left)
        )
    workload = await _workload(call, wish)
    assert outcome.estimated_ms is not None
    told = outcome.metrics
    return answer(
        Estimate(
            estimated_running_time_seconds=outcome.estimated_ms / 1000,
            overhead_seconds=told["overhead_ms"] / 1000,
            executions=told["executions"],
            circuits=told["circuits"],
            qubits=told["qubits"],
            depth=told["depth"],
            limits=[
                *(Limit.model_validate(limit) for limit in told["limits"]),
                *_time_limits(call, wish, outcome.estimated_ms, workload),
                *await _usage_limits(call, outcome.estimated_ms, _needed_ms(wish, outcome)),
            ],
            warnings=_warnings(call, outcome.estimated_ms, told["overhead_ms"], workload),
        )
    )


async def _estimate(
    call: Call, wish: JobRequest, job_id: str, params: bytes | None, left: asyncio.Event
) -> Outcome:
    """Have a worker estimate; what it reads is deleted, or swept at the next start."""
    payloads = call.parts.payloads
    try:
        if params is not None:
            await asyncio.to_thread(payloads.write, job_id, PARAMS, params, durable=False)
        return await validate(call, wish, job_id, left, only_estimate=True)
    finally:
        await asyncio.shield(asyncio.to_thread(payloads.delete, job_id))


async def _workload(call: Call, wish: JobRequest) -> Workload | None:
    if wish.session_id is None:
        return None
    stored = await call.parts.database.workload(wish.session_id)
    return None if stored is None else stored.record


def _time_limits(
    call: Call, wish: JobRequest, estimated_ms: int, workload: Workload | None
) -> list[Limit]:
    """Limits of QPU time (decisions 9) and of the workload's life (semantics 3.1)."""
    found = []
    seconds = f"{estimated_ms / 1000:g} s of QPU time"
    allowed_s = MAX_COST_S if wish.cost is None else min(wish.cost, MAX_COST_S)
    if estimated_ms > allowed_s * 1000:
        found.append(
            Limit(
                code=RAN_TOO_LONG,
                message=f"{seconds} are over the job's maximum execution time of {allowed_s} s.",
                solution="Split the job."
                if allowed_s == MAX_COST_S
                else f"Split the job, or allow it more, up to {MAX_COST_S} s.",
            )
        )
    if workload is not None:
        ends_at = policy.max_ttl_at(workload, has_queued=True)
        left_ms = workload.max_ttl_ms if ends_at is None else ends_at - call.parts.clock.now()
        if estimated_ms > left_ms:
            found.append(
                Limit(
                    code=SESSION_CLOSED,
                    message=f"{seconds} are more than what is left of the maximum time to live of "
                    f"{workload.mode} {workload.id}, {max(0, left_ms) / 1000:g} s.",
                    solution="Open a new one with a larger max_time.",
                )
            )
    return found


def _needed_ms(wish: JobRequest, outcome: Outcome) -> int:
    """What a hard budget would reserve for it."""
    return needed_ms(outcome.estimated_ms, limit_ms(wish))


async def _usage_limits(call: Call, estimated_ms: int, need_ms: int) -> list[Limit]:
    """What is left of what the instance and the user may use (semantics 5.5)."""
    rules = rules_of(call)
    if rules.is_hard:
        budget = call.parts.driver.budget(call.instance.id, call.user.id)
        refusal = None if budget is None else budget.refusal(need_ms)
        if refusal is None:
            return []
        return [Limit(code=USAGE_LIMIT, message=refusal.message, solution=OVER_BUDGET)]
    if rules.limit_ms is None:
        return []
    now = call.parts.clock.now()
    used_ms = await call.parts.database.usage_ms(call.instance.id, counts_since(rules, now), now)
    left_ms = max(0, rules.limit_ms - used_ms)
    if estimated_ms <= left_ms:
        return []
    return [
        Limit(
            code=USAGE_LIMIT,
            message=f"{estimated_ms / 1000:g} s of QPU time are more than what is left of the "
            f"instance's limit of {rules.limit_ms / 1000:g} s, {left_ms / 1000:g} s.",
            solution=_at_soft_limit(rules, is_reached=not left_ms),
        )
    ]


def _at_soft_limit(rules: Instance, *, is_reached: bool) -> str:
    """What becomes of a job that is more than what is left."""
    if rules.on_limit is OnLimit.STOP:
        if is_reached:
            return "It would be refused: have the instance's limit raised."
        return "It would be stopped if others reach the limit while it runs."
    if not is_reached:
        return "It would run to its end: jobs wait only once the limit is reached."
    if rules.window_ms is None:
        return "It would wait until the limit is raised."
    return "It would wait until enough of what was used has left the window."


def _warnings(
    call: Call, estimated_ms: int, overhead_ms: int, workload: Workload | None
) -> list[str]:
    """What breaks no rule, and may still surprise."""
    told = []
    if 2 * overhead_ms > estimated_ms:  # semantics 5.3: "merge them"
        told.append(
            f"{overhead_ms / 1000:g} s of {estimated_ms / 1000:g} s are the overhead of every job: "
            "several PUBs in one job take less than several jobs."
        )
    if workload is None and estimated_ms > call.plan.max_ttl_s * 1000:
        told.append(
            f"No batch or session of the {call.plan.name} plan lives longer than "
            f"{call.plan.max_ttl_s} s; this job takes more."
        )
    if workload is not None and workload.mode is Mode.SESSION:  # semantics 5.1
        told.append("A session is charged for all the time it is active, whatever its jobs take.")
    return told
