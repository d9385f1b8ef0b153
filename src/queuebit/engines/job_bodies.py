"""Taking apart the body of a submission that is too large for the service to look at."""

from queuebit.engines.task import Outcome
from queuebit.errors import InvalidInput
from queuebit.programs.wire import json_members
from queuebit.store.payloads import BODY, INPUTS, Payloads

MEMBERS_MAX = 65_536  # bytes of a body but its params


def split_body(payloads: Payloads, job_id: str) -> Outcome:
    """Leave the params of a stored body in its place; the other members are in the metrics.

    They are as they came, undecoded. Raises InvalidInput if it is no JSON object, or if they are
    too large.
    """
    members = json_members.split(payloads.read(job_id, BODY))
    params = members.pop(INPUTS, b"{}")
    if sum(map(len, members.values())) > MEMBERS_MAX:
        raise InvalidInput(
            f"All but params of the request body is over the limit of {MEMBERS_MAX} bytes.",
            json_members.CODE,
        )
    if not params.startswith(b"{"):
        raise InvalidInput("params is not a JSON object.", json_members.CODE)
    params = json_members.compact(params)
    payloads.write(job_id, INPUTS, params, durable=True)
    payloads.discard(job_id, [BODY])
    return Outcome(metrics={"members": members, "params_bytes": len(params)})
