"""Runs each story in stories/: what happens above the line, what the scheduler makes of it below.

`pytest tests/core/test_stories.py --rewrite` writes what happens now into the files; read the diff.

A story begins with a comment and its backends. Events, each with the time at which it happens:

    open batch B | open session S   [on BACKEND] [max_ttl=8h interactive_ttl=1m unused_ttl=30m]
    submit a b c [to B] [on BACKEND] [by INSTANCE]
    prepared a [estimate=2.5s]      a worker ended the stage; `run=1` for news of an earlier run
    measured a usage=2.5s
    finished a
    done a usage=2.5s               all three at once
    failed a 6000 | fault a 9999    the stage failed by the user's mistake | by ours
    cancel a | close B | cancel B
    wait                            only time passes
    restart                         the service dies and comes back

Below the line: jobs and workloads that look different from before, then `->` commands to workers.
"""

import re
from pathlib import Path

import pytest

from queuebit.core import invariants
from queuebit.core.events import (
    Event,
    JobCancelRequested,
    JobSubmitted,
    Restarted,
    RunStage,
    StageEnded,
    StageFailed,
    Tick,
    WorkloadCancelRequested,
    WorkloadCloseRequested,
    WorkloadOpened,
)
from queuebit.core.model import (
    FINAL,
    Backend,
    Job,
    JobStatus,
    Mode,
    Reason,
    Record,
    Stage,
    Workload,
    WorkloadState,
)
from queuebit.core.scheduler import Scheduler

STORIES = sorted(Path(__file__).parent.glob("stories/*.txt"))
LINE = "\n----"
UNITS_MS = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
MODES = {"batch": Mode.BATCH, "session": Mode.SESSION}
TTLS = {"max_ttl": "8h", "interactive_ttl": "1m", "unused_ttl": "30m"}


def ms(text: str) -> int:
    """`1m30s` in milliseconds."""
    assert re.fullmatch(r"([\d.]+(h|ms|m|s))+", text), text
    spans = re.findall(r"([\d.]+)(h|ms|m|s)", text)
    return sum(round(float(number) * UNITS_MS[unit]) for number, unit in spans)


class Story:
    """A scheduler that is told a story line by line."""

    def __init__(self) -> None:
        self.backends: list[Backend] = []
        self.saved: dict[str, Record] = {}
        self.looks: dict[str, str] = {}
        self.scheduler = Scheduler([])

    def add_backend(self, line: str) -> None:
        name, lanes, slots = re.fullmatch(
            r"backend (\w+): (\d+) lanes?(?:, (\d+) QPU slots)?", line
        ).groups(default="1")
        self.backends.append(Backend(name=name, lanes=int(lanes), qpu_slots=int(slots)))
        self.scheduler = Scheduler(self.backends)

    def tell(self, line: str) -> list[str]:
        """What one line brings about."""
        at, verb, *words = line.split()
        options = dict(word.split("=") for word in words if "=" in word)
        words = [word for word in words if "=" not in word]
        for preposition in ("on", "to", "by"):
            if preposition in words:
                place = words.index(preposition)
                options[preposition] = words[place + 1]
                del words[place : place + 2]
        changed: dict[str, Record] = {}
        acts = []
        if verb == "restart":
            self.rebuild()
        for event in self.events(verb, words, options):
            step = self.scheduler.handle(event, ms(at))
            invariants.check(self.scheduler, ms(at))
            self.saved |= step.changed
            changed |= step.changed
            if step.refusal is not None:
                acts.append(f"refused, {step.refusal.rule}: {step.refusal.message}")
            acts += [
                f"-> {command.stage} {command.job_id}"
                if isinstance(command, RunStage)
                else f"-> stop {command.job_id}"
                for command in step.commands
            ]
        looks = {id_: look(record) for id_, record in changed.items()}
        new = [text for id_, text in looks.items() if self.looks.get(id_) != text]
        self.looks |= looks
        return new + acts

    def events(  # noqa: PLR0911 - one return for each verb
        self, verb: str, words: list[str], options: dict[str, str]
    ) -> list[Event]:
        name = words[-1] if words else ""
        match verb:
            case "open":
                return [self.opened(MODES[words[0]], name, options)]
            case "submit":
                return [self.submitted(job_id, options) for job_id in words]
            case "prepared":
                return [self.ended(name, Stage.PREPARE, options)]
            case "measured":
                return [self.ended(name, Stage.QUANTUM, options)]
            case "finished":
                return [self.ended(name, Stage.FINISH, options)]
            case "done":
                stages = (Stage.PREPARE, Stage.QUANTUM, Stage.FINISH)
                return [self.ended(job_id, stage, options) for job_id in words for stage in stages]
            case "failed" | "fault":
                return [self.failed(*words, service_fault=verb == "fault")]
            case "cancel":
                if isinstance(self.saved.get(name), Workload):
                    return [WorkloadCancelRequested(workload_id=name)]
                return [JobCancelRequested(job_id=name)]
            case "close":
                return [WorkloadCloseRequested(workload_id=name)]
            case "wait":
                return [Tick()]
            case "restart":
                return [Restarted()]
        raise AssertionError(f"no story has the verb {verb!r}")

    def opened(self, mode: Mode, name: str, options: dict[str, str]) -> Event:
        ttls = {f"{ttl}_ms": ms(options.get(ttl, default)) for ttl, default in TTLS.items()}
        return WorkloadOpened(
            workload_id=name,
            instance="i",
            backend=options.get("on", self.backends[0].name),
            mode=mode,
            active_ttl_ms=ttls["max_ttl_ms"],
            **ttls,
        )

    def submitted(self, job_id: str, options: dict[str, str]) -> Event:
        workload = self.saved.get(options.get("to", ""))
        home = self.backends[0].name if workload is None else workload.backend
        return JobSubmitted(
            job_id=job_id,
            instance=options.get("by", "i"),
            backend=options.get("on", home),
            workload_id=options.get("to"),
        )

    def ended(self, job_id: str, stage: Stage, options: dict[str, str]) -> Event:
        job = self.job(job_id)
        assert "run" in options or job.run, f"{job_id} has not been started"
        return StageEnded(
            job_id=job_id,
            run=int(options.get("run", job.run)),
            stage=stage,
            estimated_ms=ms(options["estimate"]) if "estimate" in options else None,
            usage_ms=ms(options.get("usage", "0s")) if stage is Stage.QUANTUM else 0,
        )

    def failed(self, job_id: str, code: str, *, service_fault: bool) -> Event:
        job = self.job(job_id)
        assert job.stage is not None
        return StageFailed(
            job_id=job_id,
            run=job.run,
            stage=job.stage,
            reason=Reason(code=int(code), message="told by the worker"),
            service_fault=service_fault,
        )

    def job(self, job_id: str) -> Job:
        job = self.saved[job_id]
        assert isinstance(job, Job)
        return job

    def rebuild(self) -> None:
        unfinished = [
            record
            for record in self.saved.values()
            if (
                record.status not in FINAL
                if isinstance(record, Job)
                else record.state is not WorkloadState.CLOSED
            )
        ]
        last_seq = max((record.seq for record in self.saved.values()), default=0)
        self.scheduler = Scheduler(self.backends, unfinished, last_seq)


def look(record: Record) -> str:
    """A record in one line: what a physicist asks of it."""
    if isinstance(record, Job):
        text = f"{record.id} {record.status}"
        if record.status is JobStatus.RUNNING:
            text += f": {record.stage}" + (f" (run {record.run})" if record.run > 1 else "")
        if record.reason is not None:
            text += f" {record.reason.code}"
        return text + used(record.usage_ms)
    text = f"{record.id} {record.state}"
    if record.state is WorkloadState.CLOSED:
        text += f": {record.state_reason}"
    elif not record.accepting_jobs:
        text += f", accepts no jobs: {record.state_reason}"
    if record.drain_seq is not None:
        text += ", next in line"
    return text + used(record.jobs_ms if record.mode is Mode.BATCH else record.active_ms)


def used(usage_ms: int) -> str:
    return f", {usage_ms / 1_000:g} s used" if usage_ms else ""


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path, request):
    story, told = Story(), []
    for block in path.read_text().strip().split("\n\n"):
        outcome = block
        if block.startswith("backend "):
            for backend in block.splitlines():
                story.add_backend(backend)
        elif not block.startswith("#"):
            line = block.split(LINE)[0]
            outcome = "\n".join([line + LINE, *story.tell(line)])
        told.append(outcome)
    actual = "\n\n".join(told) + "\n"
    if request.config.getoption("--rewrite"):
        path.write_text(actual)

    assert actual == path.read_text()
