"""Why the scheduler itself ends a job; codes and words are IBM's where it has them."""

from queuebit.core.model import Mode, Reason, Workload

RAN_TOO_LONG = Reason(
    code=1305,  # what the client knows as RuntimeJobMaxTimeoutError (semantics 3.5)
    message="Ran too long.",
    solution="Raise max_execution_time, or give the job less to do.",
)
STOPPED_AT_LIMIT = Reason(
    code=1305,  # "status Canceled, reason Ran too long" (semantics 5.5, decisions 3)
    message="Ran too long: the usage limit of the instance was reached.",
    solution="Raise the limit of the instance.",
)

NEVER_RAN = Reason(
    code=4317,  # the client takes 1305 for a job that ran (semantics 5.5)
    message="The usage limit of the instance was reached before the job ran.",
    solution="Raise the limit of the instance.",
)


def ttl_reached(which: str, workload: Workload) -> Reason:
    """A job was still queued when its workload's maximum or active TTL ended (decisions 1, 19)."""
    ttl = "maximum" if which == "max" else which
    mode = "batch" if workload.mode is Mode.BATCH else "session"
    return Reason(
        code=4001,  # "Job is part of a session that's been closed" (semantics 6.4)
        message=f"The {ttl} time to live of the {mode} {workload.id} was reached "
        "while the job was queued.",
        solution="Open a new one with a larger max_time, or submit fewer jobs to it.",
    )
