"""Channels as Pauli transfer matrices: R[i, j] = Tr(P_i E(P_j)) / d, real, composed by `@`.

Qiskit's order throughout: of a channel on qubits (a, b), index 4 * (Pauli on b) + (Pauli on a), and
the Paulis I, X, Y, Z as 0 to 3.
"""

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

SINGLE = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
"""The Paulis I, X, Y, Z."""
# Signs by which Paulis i and j commute (1) or not (-1).
_COMMUTE = np.array([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]], dtype=float)

RESET: Array = np.array([[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]], dtype=float)
"""Any state becomes |0>."""
GROUND: Array = np.array([1.0, 0.0, 0.0, 1.0])
"""The state |0> as its Bloch vector (<I>, <X>, <Y>, <Z>)."""


@cache
def paulis(num_qubits: int) -> NDArray[np.complex128]:
    """All Paulis on `num_qubits`, shape (4**n, 2**n, 2**n)."""
    found = np.ones((1, 1, 1), dtype=complex)
    for _ in range(num_qubits):
        grown = np.einsum("iab,jcd->ijacbd", found, SINGLE)
        side = grown.shape[2] * grown.shape[3]
        found = grown.reshape(-1, side, side)
    return found


def of_unitary(unitary: NDArray[np.complex128]) -> Array:
    """The channel of a unitary matrix, or of a stack of them."""
    side = unitary.shape[-1]
    basis = paulis(side.bit_length() - 1)
    turned = np.einsum("...ab,jbc,...dc->...jad", unitary, basis, unitary.conj(), optimize=True)
    transfer: Array = np.einsum("iab,...jba->...ij", basis, turned, optimize=True).real / side
    return transfer


def rotation(pauli: int, angles: ArrayLike) -> Array:
    """exp(-i angle P / 2) with P = X, Y, Z for 1, 2, 3; shape (*angles.shape, 4, 4)."""
    angle = np.asarray(angles, dtype=float)
    first, second = [(2, 3), (3, 1), (1, 2)][pauli - 1]
    made = np.zeros((*angle.shape, 4, 4))
    made[..., 0, 0] = made[..., pauli, pauli] = 1.0
    made[..., first, first] = made[..., second, second] = np.cos(angle)
    made[..., second, first] = np.sin(angle)
    made[..., first, second] = -made[..., second, first]
    return made


def relaxation(t1: float, t2: float, seconds: float) -> Array:
    """Thermal relaxation towards |0>, the equilibrium at temperature 0, as Aer's device model."""
    kept, coherent = np.exp(-seconds / t1), np.exp(-seconds / t2)
    made = np.diag([1.0, coherent, coherent, kept])
    made[3, 0] = 1.0 - kept
    return made


def depolarizing(probability: float, num_qubits: int) -> Array:
    """With `probability` the state is replaced by the fully mixed one."""
    kept = np.full(4**num_qubits, 1.0 - probability)
    kept[0] = 1.0
    made: Array = np.diag(kept)
    return made


def average_fidelity(channel: Array) -> float:
    """Average gate fidelity of the channel with the identity."""
    size = channel.shape[0]
    side = np.sqrt(size)
    return float((np.trace(channel) / side + 1.0) / (side + 1.0))


def commuting(weights: Array) -> Array:
    """For each Pauli the sum over all others of their weights, of those that commute less the rest.

    Shape (4**n,), in and out: a Walsh-Hadamard transform. Of a Pauli channel's chances it makes the
    fidelities, the diagonal of its transfer matrix.
    """
    summed = weights.reshape((4,) * ((len(weights).bit_length() - 1) // 2))
    for axis in range(summed.ndim):
        summed = np.moveaxis(np.tensordot(_COMMUTE, summed, (1, axis)), 0, axis)
    return summed.ravel()


def pauli_probabilities(channel: Array) -> Array:
    """The channel's Pauli twirl: the probability of each Pauli, shape (4**n,)."""
    chances: Array = np.clip(commuting(np.diag(channel)), 0.0, None)
    chances /= chances.sum()
    return chances


def readings(p01: float, p10: float) -> Array:
    """Rows recorded 0 and 1: weights on a Bloch vector that give the outcome's probability.

    p01 is the chance to read 1 on |0>, p10 to read 0 on |1>.
    """
    confusion = np.array([[1.0 - p01, p10], [p01, 1.0 - p10]])
    born = np.array([[0.5, 0.0, 0.0, 0.5], [0.5, 0.0, 0.0, -0.5]])
    weights: Array = confusion @ born
    return weights


def collapses(p01: float, p10: float) -> Array:
    """Shape (2, 4, 4): what is left, unnormalised, when 0 or 1 was recorded.

    The recorded bit may be wrong, so both true outcomes contribute with their likelihood.
    """
    project = np.zeros((2, 4, 4))
    for outcome, sign in ((0, 1.0), (1, -1.0)):
        project[outcome][np.ix_((0, 3), (0, 3))] = [[0.5, sign / 2], [sign / 2, 0.5]]
    confusion = np.array([[1.0 - p01, p10], [p01, 1.0 - p10]])
    left: Array = np.einsum("rt,tij->rij", confusion, project)
    return left
