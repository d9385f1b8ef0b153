"""Twirling: circuits equal to the user's but for random Paulis, by samplomatic.

A circuit becomes a template whose single-qubit gates are parameters, and a samplex, which draws
their values. Each draw is another circuit with the same meaning, whose outcomes may be flipped; the
flips are told, so that they can be taken back. Only qubits that the circuit uses are twirled: what
the others do changes nothing, and a template of all qubits of a device would be slow.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.transpiler import TranspilerError
from samplomatic import build
from samplomatic.exceptions import BuildError, SamplexError
from samplomatic.samplex import Samplex
from samplomatic.transpiler import generate_boxing_pass_manager

from queuebit.devices.protocol import Qpu
from queuebit.errors import InvalidInput
from queuebit.programs.circuits.compact import compact, spread, used_qubits
from queuebit.programs.options import Twirling

FRACTIONAL = frozenset({"rx", "rzz"})  # client 0.51, utils.is_fractional_gate
NEEDED = ("rz", "sx")  # what the template's single-qubit gates are made of
FLIPS = "measurement_flips.c"
VALUES = "parameter_values"


@dataclass(frozen=True, slots=True)
class Draws:
    """Random circuits of a template; R rows of the user's values, n randomizations of each."""

    values: NDArray[np.float64]
    """Shape (R, n, P): values of the template's P parameters, in their order."""
    flips: NDArray[np.bool_]
    """Shape (R, n, clbits): which outcomes are to be flipped back."""
    others: dict[str, NDArray[Any]]
    """What else the samplex tells, as `pauli_signs`; shape (R, n, ...)."""


@dataclass(frozen=True, slots=True)
class Twirled:
    """A circuit that can be twirled."""

    circuit: QuantumCircuit
    """The template: on the bits and registers of the user's circuit, with P parameters of its own.
    """
    samplex: Samplex
    qubits: list[int]
    """The device's qubits that the samplex's 0, 1, ... stand for."""
    columns: list[int]
    """Per parameter of the samplex, its column in the rows of the user's values."""
    boxed: QuantumCircuit
    """What the template was built of: `qubits`, with a box around each layer."""

    def draw(
        self,
        rows: NDArray[np.float64],
        randomizations: int,
        rng: np.random.Generator,
        **inputs: Any,
    ) -> Draws:
        """Random circuits for `rows` of the user's values, shape (R, user's parameters).

        `inputs` are the samplex's other inputs. Takes 4 to 8 ms a row of parameter values, whatever
        the randomizations; rows without parameters are drawn all at once.
        """
        count, num_clbits = len(rows), self.circuit.num_clbits
        if self.columns:
            drawn = [
                self._sample({VALUES: row, **inputs}, randomizations, rng)
                for row in rows[:, self.columns]
            ]
        else:
            drawn = [self._sample(inputs, count * randomizations, rng)]
        told = {
            name: np.concatenate([one[name] for one in drawn]).reshape(
                count, randomizations, *drawn[0][name].shape[1:]
            )
            for name in drawn[0]
        }
        shape = (count, randomizations)
        values = told.pop(VALUES, np.zeros((*shape, 0)))
        flips = told.pop(FLIPS, np.zeros((*shape, 1, num_clbits), dtype=bool))
        return Draws(values, flips.reshape(*shape, num_clbits), told)

    def _sample(
        self, inputs: dict[str, Any], randomizations: int, rng: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        # One thread is faster than many: the work is small.
        return dict(
            self.samplex.sample(inputs, num_randomizations=randomizations, rng=rng, max_workers=1)
        )


def twirl(
    circuit: QuantumCircuit,
    options: Twirling,
    device: Qpu,
    *,
    gates: bool,
    measures: bool,
    **boxing: Any,
) -> Twirled:
    """The template of `circuit`, which stands on the device's qubits.

    `gates` and `measures` say what is twirled, `options` how; `boxing` goes to samplomatic's
    generate_boxing_pass_manager besides. InvalidInput if the circuit has what cannot be
    twirled.
    """
    _check(circuit, device, gates=gates)
    qubits = used_qubits(circuit)
    manager = generate_boxing_pass_manager(
        enable_gates=gates,
        enable_measures=measures,
        twirling_strategy=options.strategy.replace("-", "_"),
        **boxing,
    )
    try:
        boxed = manager.run(compact(circuit, qubits))
        template, samplex = build(boxed)
    except (TranspilerError, BuildError, SamplexError) as error:
        why = getattr(error, "message", str(error)).rstrip(".")
        raise InvalidInput(
            f"the circuit cannot be twirled: {why}.",
            1208,
            "Set twirling.enable_gates and twirling.enable_measure to false.",
        ) from None
    order = {parameter: column for column, parameter in enumerate(circuit.parameters)}
    return Twirled(
        spread(template, qubits, circuit),
        samplex,
        qubits,
        [order[parameter] for parameter in samplex.parameters],
        boxed,
    )


def _check(circuit: QuantumCircuit, device: Qpu, *, gates: bool) -> None:
    if circuit.has_control_flow_op() or circuit.num_vars:
        raise InvalidInput(
            "twirling cannot be used with dynamic circuits (circuits with control flow "
            "operations).",
            1208,
            "Set twirling.enable_gates and twirling.enable_measure to false.",
        )
    if missing := [name for name in NEEDED if name not in device.target.operation_names]:
        raise InvalidInput(
            f"twirling needs the gates rz and sx; {device.name} lacks {' and '.join(missing)}.",
            1208,
            "Set twirling.enable_gates and twirling.enable_measure to false.",
        )
    if not gates:
        return
    for instruction in circuit.data:
        if instruction.name in FRACTIONAL:
            at = tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits)
            raise InvalidInput(
                f"The instruction {instruction.name} on qubits {at} is a fractional gate, "
                "which cannot be used with gate twirling.",
                1208,
                "Set twirling.enable_gates to false, or transpile for the backend without "
                "fractional gates.",
            )
