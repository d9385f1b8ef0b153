"""A device from outside: two qubits whose bits all read 1. Its options make it misbehave."""

import ctypes
import logging
import time
import warnings

import numpy as np
from outside_description import describe
from qiskit.circuit.library import CZGate, XGate
from qiskit.circuit.measure import Measure
from qiskit.transpiler import InstructionProperties, Target

from queuebit.devices.base import TargetQpu
from queuebit.devices.protocol import Samples


class Outside(TargetQpu):
    def __init__(self, config):
        target = Target(num_qubits=2, dt=1e-9)
        target.add_instruction(XGate(), {(q,): InstructionProperties(1e-6) for q in (0, 1)})
        target.add_instruction(CZGate(), {(0, 1): InstructionProperties(2e-6)})
        target.add_instruction(Measure(), {(q,): InstructionProperties(5e-6) for q in (0, 1)})
        super().__init__(config.name, target, describe(config))
        self._does = config.options.get("does", "sample")
        self._gib = config.options.get("gib", 0)

    def sample(self, experiments, *, seed=None):
        size = self._gib * 2**30
        match self._does:
            case "numpy":
                np.ones(size, dtype=np.uint8)
            case "little by little":
                kept = []
                while sum(map(len, kept)) < size:
                    kept.append(np.ones(2**24, dtype=np.uint8))
            case "c++":  # a library that does not catch what it throws
                new = ctypes.CDLL("libstdc++.so.6")["_Znwm"]
                new.argtypes, new.restype = [ctypes.c_size_t], ctypes.c_void_p
                new(size)
            case "quote":  # careless code that tells what it was given
                given = str([e.circuit.cregs for e in experiments])
                warnings.warn(given, stacklevel=1)
                logging.getLogger("careless").error("it was given %s", given)
                raise ValueError(given)
            case "nap":
                time.sleep(1)
        bits = [np.ones((len(e.values), e.shots, e.circuit.num_clbits), bool) for e in experiments]
        return Samples(bits, {"method": "ones"}, usage_ms=1234)


def broken(config):
    raise RuntimeError("the refrigerator is warm")


class Halved:
    """Not a device."""

    def __init__(self, config):
        self.name = config.name
