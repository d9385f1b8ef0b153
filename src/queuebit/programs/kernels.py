"""Measurements as points in the IQ plane, made up from classified bits.

A readout integrates ("kernels") a signal to one complex number per shot, which lies near one point
if the qubit was in |0> and near another if it was in |1>; a line between them makes a bit of it.
Here the bit is what was simulated. Its number is drawn around -1 for 0 and around +1 for 1, on the
bit's own side of the imaginary axis, and the wider the worse the qubit's readout is. So the sign of
the real part gives back the bit, with the readout's errors in it: a misread shot lies among those
of the state that was read. The unit is arbitrary, as it is on a real device.
"""

from collections.abc import Iterator, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit

from queuebit.devices.protocol import Qpu

# Chances of misreading beyond these have no Gaussian of a sensible width.
CHANCE_MIN, CHANCE_MAX = 1e-9, 0.4
DEFAULT_CHANCE = 0.01  # for bits that nothing measures, and devices that tell no readout error


Place = tuple[int, str]
"""A qubit, and the instruction that measures it: "measure", or the device's own ("measure_2")."""


def places(circuit: QuantumCircuit) -> list[Place | None]:
    """Per classical bit, what is last measured into it, on any branch; None: nothing is."""
    found: list[Place | None] = [None] * circuit.num_clbits
    outer = {bit: index for index, bit in enumerate((*circuit.qubits, *circuit.clbits))}
    for qubit, clbit, name in _measured(circuit, outer):
        found[clbit - circuit.num_qubits] = (qubit, name)
    return found


def spreads(where: Sequence[Place | None], device: Qpu) -> NDArray[np.float64]:
    """Widths of the clouds of 0 and of 1, shape (bits, 2): standard deviations, centres at -1, +1.

    A Gaussian of that width crosses the middle as often as `device` misreads the qubit.
    """
    widths = [
        [-1.0 / NormalDist().inv_cdf(min(max(chance, CHANCE_MIN), CHANCE_MAX)) for chance in both]
        for both in (_chances(device, place) for place in where)
    ]
    return np.array(widths).reshape(-1, 2)


def iq(
    bits: NDArray[np.bool_], widths: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.complex128]:
    """A point for each of `bits`, shape (..., n), with the `widths` of `spreads`, shape (n, 2)."""
    width = np.where(bits, widths[:, 1], widths[:, 0])
    along = 1.0 + width * rng.standard_normal(bits.shape)
    while (wrong := along <= 0.0).any():  # the part of the cloud on the wrong side is cut off
        along[wrong] = 1.0 + width[wrong] * rng.standard_normal(np.count_nonzero(wrong))
    points = np.empty(bits.shape, dtype=np.complex128)
    points.real = np.where(bits, along, -along)
    points.imag = width * rng.standard_normal(bits.shape)
    return points


def _measured(circuit: QuantumCircuit, outer: dict[object, int]) -> Iterator[tuple[int, int, str]]:
    for instruction in circuit.data:
        if instruction.is_control_flow():
            for block in instruction.operation.blocks:
                inner = zip(
                    (*block.qubits, *block.clbits),
                    (*instruction.qubits, *instruction.clbits),
                    strict=True,
                )
                yield from _measured(block, {bit: outer[at] for bit, at in inner})
        elif instruction.name.startswith("measure"):
            yield outer[instruction.qubits[0]], outer[instruction.clbits[0]], instruction.name


def _chances(device: Qpu, place: Place | None) -> tuple[float, float]:
    """Chances to misread |0> and |1>."""
    if place is None:
        return DEFAULT_CHANCE, DEFAULT_CHANCE
    qubit, name = place
    own = (device.target[name] or {}).get((qubit,)) if name != "measure" else None
    if own is not None and own.error is not None:
        return own.error, own.error
    known = {
        entry["name"]: float(entry["value"])
        for entry in device.description.properties()["qubits"][qubit]
    }
    either = known.get("readout_error", DEFAULT_CHANCE)
    return known.get("prob_meas1_prep0", either), known.get("prob_meas0_prep1", either)
