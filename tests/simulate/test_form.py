"""The form of a trace in a file."""

import numpy as np
import pytest
from tests.simulate.traces import EXAMPLES, head, lines, opened, submit

from queuebit.core.events import JobSubmitted, WorkloadOpened
from queuebit.core.model import Backend, Mode, Stage
from queuebit.errors import QueuebitError
from queuebit.simulate.load import Load, generate
from queuebit.simulate.reading import parse, read
from queuebit.simulate.trace import Entry, Machine, Work
from queuebit.simulate.writing import dump, write


def mistake(*text):
    """How a trace of these lines is refused."""
    with pytest.raises(QueuebitError) as refusal:
        parse(text, "t.jsonl")
    return str(refusal.value)


def test_a_job():
    trace = parse(['{"at": 1.5, "submit": {"job": "a", "quantum_s": 2.25}}'])

    assert trace.entries == (
        Entry(
            event=JobSubmitted(job_id="a", instance="local", backend="qpu"),
            delay_ms=1_500,
            work=Work(quantum_ms=2_250, usage_ms=2_250),
        ),
    )
    assert trace.machines == (Machine(backend=Backend(name="qpu")),)


def test_all_of_a_job():
    line = submit(
        "b", after=["a"], delay_s=3, usage_s=7, limit_s=9, fails_in="finish", service_fault=True
    )

    trace = parse(lines(submit("a"), line))

    event = JobSubmitted(job_id="b", instance="local", backend="qpu", limit_ms=9_000)
    work = Work(
        prepare_ms=1_000,
        quantum_ms=1_000,
        finish_ms=1_000,
        usage_ms=7_000,
        fails_in=Stage.FINISH,
        service_fault=True,
    )
    assert trace.entries[1] == Entry(event=event, delay_ms=3_000, after=("a",), work=work)


def test_a_job_has_instance_and_backend_of_its_workload():
    session = opened("s", "session", instance="lab", backend="q", max_ttl_s=100)

    trace = parse(lines(session, submit("a", workload="s")))

    assert [entry.event for entry in trace.entries] == [
        WorkloadOpened(
            workload_id="s",
            instance="lab",
            backend="q",
            mode=Mode.SESSION,
            max_ttl_ms=100_000,
            interactive_ttl_ms=60_000,
            active_ttl_ms=100_000,
            unused_ttl_ms=1_800_000,
        ),
        JobSubmitted(job_id="a", instance="lab", backend="q", workload_id="s"),
    ]


def everything():
    return lines(
        head(
            backends=[
                {"name": "q", "lanes": 2, "copies": 2},
                {"name": "r", "calibrations": [{"every_s": 3_600, "lasts_s": 60}]},
            ],
            instances=[
                {"name": "lab", "allocation_s": 600, "limit_s": 900, "since_s": 4, "pending_max": 3}
            ],
        ),
        opened("b", backend="q", active_ttl_s=5, interactive_ttl_s=0.5),
        submit("a", workload="b"),
        submit("c", after="a", backend="r", fails_in="quantum", limit_s=4),
        submit("d", after=["a", "c"], delay_s=0.001, backend="r"),
        {"at": 4, "cancel": {"job": "d"}},
        {"at": 5, "status": {"backend": "r", "status": "paused", "reason": "cooling"}},
        {"after": "a", "cancel": {"workload": "b"}},
        {"at": 9, "close": {"workload": "b"}},
    )


def test_what_is_written_is_read_again(tmp_path):
    file = tmp_path / "t.jsonl"
    for trace in (parse(everything()), generate(Load(hours=1), np.random.default_rng(3))):
        write(trace, file)

        assert read(file) == trace
        assert list(dump(read(file))) == file.read_text().splitlines()


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.jsonl")), ids=lambda file: file.name)
def test_the_examples_can_be_read(example):
    assert read(example).entries


def test_blank_lines_count_but_say_nothing():
    assert mistake("", *lines(submit("a")), "  \n", *lines(submit("a"))) == (
        "t.jsonl line 4: submit.job: there is a job 'a' already"
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "is not JSON: EOF while parsing an object at line 1 column 1"),
        ("[]", "is not a JSON object"),
        ('{"at": 0, "submit": {"job": "b"}}', "submit.quantum_s: is missing"),
        (
            '{"at": 0, "submit": {"job": "b", "quantum_s": "2"}}',
            "submit.quantum_s: input should be a valid number, not '2'",
        ),
        (
            '{"at": 0, "submit": {"job": "b", "quantum_s": -2}}',
            "submit.quantum_s: input should be greater than or equal to 0, not -2",
        ),
        (
            '{"at": 0, "submit": {"job": "b", "quantum_s": NaN}}',
            "submit.quantum_s: input should be a finite number, not nan",
        ),
        (
            '{"at": 0, "submit": {"job": "b", "quantum_s": 1, "prio": 2}}',
            "submit.prio: there is no such field",
        ),
        ('{"at": 0, "sbumit": {}}', "sbumit: there is no such field"),
        ('{"at": 0}', "the object has one of submit, open, close, cancel, status"),
        ('{"submit": {"job": "b", "quantum_s": 1}}', "the object has either at or after"),
        (
            '{"at": 0, "delay_s": 1, "submit": {"job": "b", "quantum_s": 1}}',
            "the object delay_s goes with after",
        ),
        ('{"at": 0, "cancel": {}}', "cancel names a job or a workload"),
        (
            '{"at": 0, "open": {"workload": "w", "mode": "dedicated"}}',
            "open.mode: input should be 'batch' or 'session', not 'dedicated'",
        ),
        (
            '{"at": 0, "submit": {"job": "b", "workload": "w", "quantum_s": 1}}',
            "submit.workload: there is no workload 'w' in the lines above",
        ),
        (
            '{"after": "b", "submit": {"job": "b", "quantum_s": 1}}',
            "after: there is no job 'b' in the lines above",
        ),
        ('{"at": 0, "cancel": {"job": "b"}}', "cancel.job: there is no job 'b' in the lines above"),
        (
            '{"at": 0, "close": {"workload": "w"}}',
            "close.workload: there is no workload 'w' in the lines above",
        ),
        ('{"trace": {}}', "trace: there is no such field"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_field(line, told):
    assert mistake(*lines(submit("a")), line) == f"t.jsonl line 2: {told}"


@pytest.mark.parametrize(
    ("first", "told"),
    [
        ({"version": 2}, "trace.version: input should be 1, not 2"),
        (
            {"backends": [{"name": "q", "lanes": 0}]},
            "trace.backends.0.lanes: input should be greater than or equal to 1, not 0",
        ),
        (
            {"backends": [{"name": "q", "copies": 2}, {"name": "q-2"}]},
            "trace.backends: a name is given twice",
        ),
        ({"instances": [{"name": "i"}] * 2}, "trace.instances: a name is given twice"),
    ],
)
def test_a_mistake_in_the_first_line(first, told):
    assert mistake(*lines({"trace": first}, submit("a"))) == f"t.jsonl line 1: {told}"


def test_a_backend_that_the_first_line_does_not_have():
    first = head(backends=[{"name": "q"}])

    assert mistake(*lines(first, submit("a", backend="p"))) == (
        "t.jsonl line 2: submit.backend: there is no backend 'p' in the first line"
    )


def test_nothing_to_simulate():
    assert mistake(*lines(head())) == "t.jsonl holds nothing to simulate"


def test_no_such_file(tmp_path):
    with pytest.raises(QueuebitError, match=r"trace .*none cannot be read: No such file"):
        read(tmp_path / "none")


def test_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(QueuebitError, match=r"trace .* cannot be written: Is a directory"):
        write(parse(everything()), tmp_path)
