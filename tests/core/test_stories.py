"""Runs each story in stories/: what happens above the line, what the scheduler makes of it below.

`pytest tests/core/test_stories.py --rewrite` writes what happens now into the files; read the diff.

A story begins with a comment, its backends and what they calibrate, and its instances:

    backend q: 5 lanes, 2 QPU slots
    calibration monitor on q: every=1h lasts=2m
    instance i: allocation=1h limit=2h window=24h on_limit=wait since=10h pending=3

Events, each with the time at which it happens:

    open batch B | open session S   [on BACKEND] [by INSTANCE]
                                    [max_ttl=8h active_ttl=8h interactive_ttl=1m unused_ttl=30m]
                                    [ends_idle=yes]
    submit a b c [to B] [on BACKEND] [by INSTANCE] [limit=10s] [estimate=20s]
    prepared a [estimate=2.5s]      a worker ended the stage; `run=1` for news of an earlier run
    measured a usage=2.5s
    finished a
    done a usage=2.5s               all three at once
    failed a 6000 | fault a 9999    the stage failed by the user's mistake | by ours
    cancel a | close B | cancel B
    wait                            only time passes
    start | restart [last=40s]      the service begins to calibrate | comes back, last seen then
    calibrated q                    the calibration ended; `run=1` for news of an earlier one
    pause q | offline q | resume q  an administrator stops and starts the backend

Below the line: jobs, workloads, backends and instances that look different from before, then `->`
commands to workers.
"""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.core import saved

from queuebit.core import invariants
from queuebit.core.events import (
    BackendStatusSet,
    CalibrationEnded,
    Command,
    Event,
    JobCancelRequested,
    JobSubmitted,
    Restarted,
    RunCalibration,
    RunStage,
    StageEnded,
    StageFailed,
    StopJob,
    Tick,
    WorkloadCancelRequested,
    WorkloadCloseRequested,
    WorkloadOpened,
)
from queuebit.core.model import (
    Backend,
    BackendState,
    BackendStatus,
    Calibration,
    Charge,
    Instance,
    Job,
    JobStatus,
    Mode,
    OnLimit,
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
STATUSES = {
    "pause": BackendStatus.PAUSED,
    "offline": BackendStatus.OFFLINE,
    "resume": BackendStatus.ONLINE,
}


def ms(text: str) -> int:
    """`1m30s` in milliseconds."""
    assert re.fullmatch(r"([\d.]+(h|ms|m|s))+", text), text
    spans = re.findall(r"([\d.]+)(h|ms|m|s)", text)
    return sum(round(float(number) * UNITS_MS[unit]) for number, unit in spans)


class Story:
    """A scheduler that is told a story line by line."""

    def __init__(self) -> None:
        self.backends: dict[str, Backend] = {}
        self.instances: list[Instance] = []
        self.saved: dict[str, Record] = {}
        self.charges: list[Charge] = []
        self.looks: dict[str, str] = {}
        self.scheduler = Scheduler([])

    def configure(self, line: str) -> None:
        """Take in one line about a backend, a calibration or an instance."""
        what, _, rest = line.partition(": ")
        kind, name, *words = what.split()
        if kind == "backend":
            lanes, slots = re.fullmatch(r"(\d+) lanes?(?:, (\d+) QPU slots)?", rest).groups("1")
            self.backends[name] = Backend(name=name, lanes=int(lanes), qpu_slots=int(slots))
        elif kind == "calibration":
            told = dict(word.split("=") for word in rest.split())
            new = Calibration(kind=name, every_ms=ms(told["every"]), lasts_ms=ms(told["lasts"]))
            backend = self.backends[words[-1]]
            self.backends[backend.name] = replace(
                backend, calibrations=(*backend.calibrations, new)
            )
        else:
            self.instances.append(instance(name, rest))
        self.rebuild()

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
            self.charges += step.charges
            changed |= step.changed
            if step.refusal is not None:
                acts.append(f"refused, {step.refusal.rule}: {step.refusal.message}")
            acts += [act(command) for command in step.commands]
        looks = {id_: look(record) for id_, record in changed.items()}
        looks |= {f"instance {one.id}": self.look_at(one) for one in self.instances}
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
            case "start" | "restart":
                return [Restarted(ms(options["last"]) if "last" in options else None)]
            case "calibrated":
                return [self.calibrated(name, options)]
            case "pause" | "offline" | "resume":
                return [BackendStatusSet(backend=name, status=STATUSES[verb], reason=verb)]
        raise AssertionError(f"no story has the verb {verb!r}")

    def opened(self, mode: Mode, name: str, options: dict[str, str]) -> Event:
        ttls = {f"{ttl}_ms": ms(options.get(ttl, default)) for ttl, default in TTLS.items()}
        active_ttl_ms = ms(options["active_ttl"]) if "active_ttl" in options else ttls["max_ttl_ms"]
        return WorkloadOpened(
            workload_id=name,
            instance=options.get("by", "i"),
            backend=options.get("on", next(iter(self.backends))),
            mode=mode,
            active_ttl_ms=active_ttl_ms,
            ends_idle="ends_idle" in options,
            **ttls,
        )

    def submitted(self, job_id: str, options: dict[str, str]) -> Event:
        workload = self.saved.get(options.get("to", ""))
        home = next(iter(self.backends)) if workload is None else workload.backend
        payer = workload.instance if isinstance(workload, Workload) else "i"
        return JobSubmitted(
            job_id=job_id,
            instance=options.get("by", payer),
            backend=options.get("on", home),
            workload_id=options.get("to"),
            limit_ms=ms(options["limit"]) if "limit" in options else None,
            estimated_ms=ms(options["estimate"]) if "estimate" in options else None,
        )

    def calibrated(self, name: str, options: dict[str, str]) -> Event:
        state = self.saved[name]
        assert isinstance(state, BackendState)
        return CalibrationEnded(backend=name, run=int(options.get("run", state.run)))

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
        self.scheduler = Scheduler(
            self.backends.values(),
            saved.unfinished(self.saved),
            saved.last_seq(self.saved),
            instances=self.instances,
            charges=self.charges,
        )

    def look_at(self, one: Instance) -> str:
        """What an instance has used, in one line."""
        text = f"{one.id}: {self.scheduler.ledger.so_far_ms(one.id) / 1_000:g} s in its window"
        return text + (", at its limit" if self.scheduler.ledger.is_limited(one.id) else "")


def instance(name: str, text: str) -> Instance:
    """An instance, as a story tells it."""
    told = dict(word.split("=") for word in text.split())
    spans = {
        key: ms(told[key]) for key in ("allocation", "limit", "window", "since") if key in told
    }
    return Instance(
        id=name,
        allocation_ms=spans.get("allocation"),
        limit_ms=spans.get("limit"),
        window_ms=spans.get("window"),
        since=spans.get("since", 0),
        on_limit=OnLimit(told.get("on_limit", "wait")),
        pending_max=int(told["pending"]) if "pending" in told else None,
    )


def act(command: Command) -> str:
    """A command in one line."""
    match command:
        case RunStage():
            return f"-> {command.stage} {command.job_id}"
        case StopJob():
            return f"-> stop {command.job_id}"
        case RunCalibration():
            return f"-> calibrate {command.backend}: {command.kind}"


def look(record: Record) -> str:
    """A record in one line: what a physicist asks of it."""
    if isinstance(record, Job):
        text = f"{record.id} {record.status}"
        if record.status is JobStatus.RUNNING:
            text += f": {record.stage}" + (f" (run {record.run})" if record.run > 1 else "")
        if record.reason is not None:
            text += f" {record.reason.code}"
        return text + used(record.usage_ms)
    if isinstance(record, BackendState):
        text = f"{record.id} {record.status}"
        text += "".join(f", {kind} is due" for kind in record.due)
        return text + (f", calibrating: {record.calibrating}" if record.calibrating else "")
    text = f"{record.id} {record.state}"
    if record.state is WorkloadState.CLOSED:
        text += f": {record.state_reason}"
    elif not record.accepting_jobs:
        text += f", accepts no jobs: {record.state_reason}"
    if record.drain_seq is not None:
        text += ", next in line"
    is_batch = record.mode is Mode.BATCH
    return text + used(record.jobs_ms if is_batch else record.active_ms + record.modelled_ms)


def used(usage_ms: int) -> str:
    return f", {usage_ms / 1_000:g} s used" if usage_ms else ""


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path, request):
    story, told = Story(), []
    for block in path.read_text().strip().split("\n\n"):
        outcome = block
        if block.startswith("backend "):
            for line in block.splitlines():
                story.configure(line)
            story.looks = {f"instance {one.id}": story.look_at(one) for one in story.instances}
        elif not block.startswith("#"):
            line = block.split(LINE)[0]
            outcome = "\n".join([line + LINE, *story.tell(line)])
        told.append(outcome)
    actual = "\n\n".join(told) + "\n"
    if request.config.getoption("--rewrite"):
        path.write_text(actual)

    assert actual == path.read_text()
