"""`queuebit estimate`: what a job would take, before it is submitted."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from queuebit.cli.connection import Connection, Json, asks_service
from queuebit.cli.output import print_fields, print_json, seconds
from queuebit.errors import QueuebitError, advised

QPY_MAGIC = b"QISKIT"  # how every QPY file begins

Program = Literal["sampler", "estimator"]


@asks_service
def estimate(  # noqa: PLR0913 - each is an option
    connection: Connection,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    backend: Annotated[
        str | None, typer.Option(help="Backend to run on. [default: as the job says]")
    ] = None,
    program: Annotated[
        Program | None, typer.Option(help="What to run. [default: as the job says, or sampler]")
    ] = None,
    shots: Annotated[
        int | None, typer.Option(min=1, help="Shots of each circuit. [default: the program's]")
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell what a job would take of the QPU, and which limits it would hit.

    FILE is a job in JSON (the body of POST /jobs, or its params), or circuits for the backend in
    QPY or OpenQASM 3. Nothing is submitted. The exit code is 1 if the job would hit a limit.
    """
    job, notes = _read(file, program, shots)
    job["program_id"] = program or job.get("program_id") or "sampler"
    job["backend"] = backend or job.get("backend") or _only_backend(connection)
    found = connection.post("/queuebit/estimates", job)
    found["warnings"] += notes
    if as_json:
        print_json(found)
    else:
        print_fields(
            [
                ("QPU time", seconds(found["estimated_running_time_seconds"])),
                ("of it overhead", seconds(found["overhead_seconds"])),
                ("Executions", found["executions"]),
                ("Circuits", found["circuits"]),
                ("Qubits", found["qubits"]),
                ("Depth", found["depth"]),
                *(("Limit", _told(one)) for one in found["limits"]),
                *(("Note", note) for note in found["warnings"]),
            ]
        )
    if found["limits"]:
        raise typer.Exit(1)


def _told(limit: dict[str, Any]) -> str:
    return advised(limit["message"], limit["solution"])


def _read(
    file: Path, program: Program | None, shots: int | None
) -> tuple[dict[str, Any], list[str]]:
    """The job that `file` describes, as the body of POST /jobs, and what was assumed for it."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise QueuebitError(f"{file} cannot be read: {error.strerror}") from None
    if content.startswith(QPY_MAGIC):
        return _job(_qpy_circuits(file, content), program, shots)
    if content.lstrip().startswith(b"{"):
        if shots is not None:
            raise QueuebitError(f"--shots is for circuits; the job in {file} has its own")
        return _payload(file, content), []
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = ""
    if "OPENQASM" not in text:
        raise QueuebitError(f"{file} is neither a job in JSON nor circuits in QPY or OpenQASM 3")
    return _job([text], program, shots)


def _payload(file: Path, content: bytes) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise QueuebitError(f"{file} is not JSON: {error}") from None
    if "params" in found:
        return found
    if "pubs" in found:
        return {"params": found}
    raise QueuebitError(f"{file} is no job: it has neither params nor pubs")


def _qpy_circuits(file: Path, content: bytes) -> list[Any]:
    # Qiskit takes seconds to import, which no other command shall cost.
    from io import BytesIO  # noqa: PLC0415

    from qiskit import qpy  # noqa: PLC0415

    try:
        return list(qpy.load(BytesIO(content)))
    except Exception as error:  # noqa: BLE001 - it raises what it likes on a broken file
        raise QueuebitError(f"{file} is not QPY that Qiskit can read: {error}") from None


def _job(
    circuits: list[Any], program: Program | None, shots: int | None
) -> tuple[dict[str, Any], list[str]]:
    """A job that runs each circuit, told as text or as an object, once."""
    from qiskit_ibm_runtime import RuntimeEncoder  # noqa: PLC0415 - as above

    from queuebit.programs.wire import qasm  # noqa: PLC0415 - as above

    notes = []
    pubs: list[list[Any]] = []
    for given in circuits:
        circuit = qasm.load(given) if isinstance(given, str) else given
        values = [0.0] * circuit.num_parameters or None
        if program == "estimator":
            pubs.append([given, "Z" * circuit.num_qubits, values])
        else:
            pubs.append([given, values, shots])
        if values:
            notes = ["One set of parameter values is assumed; each further one runs as often."]
    params: dict[str, Any] = {"pubs": pubs, "version": 2, "support_qiskit": True, "options": {}}
    if program == "estimator":
        notes.append("One observable is assumed, Z on every qubit.")
        if shots is not None:
            params["options"]["default_shots"] = shots
    return {"params": json.loads(json.dumps(params, cls=RuntimeEncoder))}, notes


def _only_backend(connection: Connection) -> str:
    names = [device["name"] for device in connection.get("/backends")["devices"]]
    if len(names) != 1:
        raise QueuebitError(f"choose one with --backend: {', '.join(names)}")
    return str(names[0])
