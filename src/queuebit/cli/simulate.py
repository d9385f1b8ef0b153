"""`queuebit simulate`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from queuebit.cli.output import console, print_json
from queuebit.config import PLANS, PlanConfig
from queuebit.errors import QueuebitError
from queuebit.scheduling import backends, instances
from queuebit.sources import load as load_config

WHERE = "Service's history"
MADE_UP = "Made-up load"
WHAT_IFS = "What if"


def simulate(  # noqa: PLR0913 - each is an option
    *,
    trace: Annotated[
        Path | None, typer.Argument(metavar="TRACE", help="JSON Lines file to simulate.")
    ] = None,
    lanes: Annotated[
        int | None, typer.Option(help="Lanes of every backend.", rich_help_panel=WHAT_IFS)
    ] = None,
    qpus: Annotated[
        int | None,
        typer.Option(help="As many of every backend; the least busy one is taken.",
                     rich_help_panel=WHAT_IFS),
    ] = None,
    qpu_slots: Annotated[
        int | None,
        typer.Option(help="Jobs at once on a QPU.", rich_help_panel=WHAT_IFS),
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option(help="Plan of all instances, or of some: 'lab:open+class:flex'.",
                     rich_help_panel=WHAT_IFS),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(help="How batches and sessions are submitted: job, batch or session.",
                     rich_help_panel=WHAT_IFS),
    ] = None,
    max_ttl: Annotated[
        float | None, typer.Option(help="Seconds, of all workloads.", rich_help_panel=WHAT_IFS)
    ] = None,
    interactive_ttl: Annotated[
        float | None, typer.Option(help="Seconds, of all workloads.", rich_help_panel=WHAT_IFS)
    ] = None,
    what_if: Annotated[
        list[str] | None,
        typer.Option(metavar="'KEY=VALUE ...'", rich_help_panel=WHAT_IFS,
                     help="One more column, such as 'lanes=10 mode=batch'; may be repeated."),
    ] = None,
    gantt: Annotated[
        Path | None, typer.Option(help="Draw lanes and QPU to this PNG, SVG or PDF.")
    ] = None,
    waits: Annotated[
        Path | None, typer.Option(help="Draw how long jobs waited to this PNG, SVG or PDF.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    export: Annotated[
        Path | None,
        typer.Option(help="Write the history as a trace, and end.", rich_help_panel=WHERE),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="The service's data folder.", rich_help_panel=WHERE)
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(envvar="QUEUEBIT_CONFIG", help="The service's TOML file of settings.",
                     rich_help_panel=WHERE),
    ] = None,
    generate: Annotated[
        Path | None,
        typer.Option(help="Write a made-up trace, and end.", rich_help_panel=MADE_UP),
    ] = None,
    load: Annotated[
        str, typer.Option(metavar="'KEY=VALUE ...'", help="What arrives.", rich_help_panel=MADE_UP)
    ] = "",
    seed: Annotated[
        int, typer.Option(min=0, help="The same for the same trace.", rich_help_panel=MADE_UP)
    ] = 0,
) -> None:  # fmt: skip
    """Run a trace of jobs through the scheduler in virtual time, and tell waits and usage."""
    if sum(file is not None for file in (trace, export, generate)) != 1:
        raise QueuebitError("give one of a TRACE to simulate, --export FILE, --generate FILE")
    if export is not None:
        _export(export, data, config)
    elif generate is not None:
        _generate(generate, load, seed)
    elif trace is not None:
        flags = {
            "lanes": lanes,
            "qpus": qpus,
            "qpu_slots": qpu_slots,
            "plan": plan,
            "mode": mode,
            "max_ttl": max_ttl,
            "interactive_ttl": interactive_ttl,
        }
        pairs = " ".join(f"{key}={value}" for key, value in flags.items() if value is not None)
        what_ifs = [*([pairs] if pairs else []), *(what_if or ())]
        plans = PLANS if config is None else load_config(config).plans
        _simulate(trace, what_ifs, plans, as_json=as_json, gantt=gantt, waits=waits)


def _simulate(  # noqa: PLR0913 - as above
    file: Path,
    what_ifs: list[str],
    plans: Iterable[PlanConfig],
    *,
    as_json: bool,
    gantt: Path | None,
    waits: Path | None,
) -> None:
    """Simulate the trace as it is and with each what-if."""
    # Pydantic's models and numpy would slow every other command down.
    from queuebit.simulate import picture, table  # noqa: PLC0415
    from queuebit.simulate.reading import read  # noqa: PLC0415
    from queuebit.simulate.report import make_report  # noqa: PLC0415
    from queuebit.simulate.simulation import simulate as run  # noqa: PLC0415
    from queuebit.simulate.whatif import WhatIf  # noqa: PLC0415

    for drawing in (gantt, waits):
        if drawing is not None:
            picture.assert_drawable(drawing)
    cases = [WhatIf(), *(WhatIf.parse(text) for text in what_ifs)]
    trace = read(file)
    histories = [(case.name, run(case.apply(trace, plans))) for case in cases]
    reports = [make_report(name, history) for name, history in histories]
    if as_json:
        print_json([table.as_json(report) for report in reports])
    else:
        console().print(table.make_table(reports))
    if gantt is not None:
        picture.draw_gantt(histories, gantt)
    if waits is not None:
        picture.draw_waits(histories, waits)


def _export(file: Path, data: Path | None, config: Path | None) -> None:
    from queuebit.simulate.export import export  # noqa: PLC0415 - as above
    from queuebit.simulate.writing import write  # noqa: PLC0415
    from queuebit.store.history import read_history  # noqa: PLC0415

    settings = load_config(config, data=data)
    jobs, workloads, records = read_history(settings.database_url)
    trace = export(
        jobs,
        workloads,
        backends=backends(settings),
        instances=instances(records, settings.plans),
    )
    write(trace, file)
    typer.echo(f"Wrote {len(jobs)} jobs and {len(workloads)} workloads to {file}.")


def _generate(file: Path, text: str, seed: int) -> None:
    import numpy as np  # noqa: PLC0415 - as above

    from queuebit.simulate.load import Load, generate  # noqa: PLC0415
    from queuebit.simulate.whatif import parse  # noqa: PLC0415
    from queuebit.simulate.writing import write  # noqa: PLC0415

    trace = generate(parse(Load, text, "load"), np.random.default_rng(seed))
    write(trace, file)
    typer.echo(f"Wrote {sum(1 for _ in trace.submissions())} jobs to {file}.")
