"""What is learned of a layer is what the device does to it."""

import itertools
import pickle
from math import log

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import BoxOp
from qiskit.quantum_info import Clifford, Pauli, QubitSparsePauli
from samplomatic import Tag, Twirl

from queuebit.config import BackendConfig
from queuebit.devices.device import Device
from queuebit.devices.noise import Noise
from queuebit.errors import InvalidInput
from queuebit.programs.learner.learning import Layer, Learning, Settings

NOISY = (79, 80)  # 2 % error in the snapshot; (0, 1) has 0.5 %


class _Layers(Noise):
    """Errors of two-qubit gates and of readout, none of the gates that twirling adds."""

    def error(self, name, qubits):
        return super().error(name, qubits) if len(qubits) > 1 else None


@pytest.fixture(scope="module")
def device():
    torino = Device(BackendConfig(name="fake_torino", snapshot="torino"))
    torino.noise = _Layers(torino.target, torino.snapshot)
    return torino


TWIRL = (Twirl(),)


def box(draw, num_qubits, num_clbits=0, annotations=TWIRL):
    body = QuantumCircuit(num_qubits, num_clbits)
    draw(body)
    return BoxOp(body, annotations=annotations)


def czs(*pairs, idle=()):
    """A layer of cz gates, on qubits in the order given."""
    qubits = (*itertools.chain(*pairs), *idle)
    gates = [(qubits.index(a), qubits.index(b)) for a, b in pairs]
    return Layer(box(lambda body: [body.cz(*at) for at in gates], len(qubits)), qubits)


def readouts(*qubits):
    everything = range(len(qubits))
    measure = box(lambda body: body.measure(everything, everything), *[len(qubits)] * 2)
    return Layer(measure, qubits)


def learn(device, *layers, seed=1, **settings):
    job = Learning(layers, Settings(**settings), device)
    experiments, learned = job.experiments(np.random.default_rng(seed))
    learned = pickle.loads(pickle.dumps(learned))
    assert learned.num_experiments == len(experiments)
    return learned.noise(device.sample(experiments, seed=seed).bits)


def fidelities(noise, pair):
    """The learned fidelity of each Pauli on two of the layer's qubits."""
    found = {}
    for label in map("".join, itertools.product("IXYZ", repeat=2)):
        whole = ["I"] * len(noise.qubits)
        for letter, qubit in zip(reversed(label), pair, strict=True):
            whole[-1 - noise.qubits.index(qubit)] = letter
        found[label] = noise.pauli_map.pauli_fidelity(QubitSparsePauli("".join(whole)))
    return found


def expected(device, pair):
    """The same from the device's errors, in closed form.

    Of a Pauli and what the gate makes of it only the product decays: learning gives its root.
    """
    labels = map("".join, itertools.product("IXYZ", repeat=2))
    each = dict(zip(labels, np.diag(device.noise.error("cz", pair)), strict=True))
    cz = QuantumCircuit(2)
    cz.cz(0, 1)
    other = {label: Pauli(label).evolve(Clifford(cz)).to_label().lstrip("-+i") for label in each}
    return {label: np.sqrt(each[label] * each[other[label]]) for label in each}


def test_the_fidelities_of_a_layer_are_those_of_the_devices_errors(device):
    (noise,) = learn(device, czs((0, 1), NOISY, idle=(2,)), shots_per_randomization=512)

    assert noise.qubits == (0, 1, 2, 79, 80)
    assert min(expected(device, (0, 1)).values()) > 0.993
    assert max(list(expected(device, NOISY).values())[1:]) < 0.98
    for pair, off in (((0, 1), 0.001), (NOISY, 0.004)):
        found, wanted = fidelities(noise, pair), expected(device, pair)
        assert found == pytest.approx(wanted, abs=off), pair
    # A qubit that idles in the layer suffers nothing, nor do pairs without a gate between them.
    rates = {
        tuple(qubits): rate for _, qubits, rate in noise.pauli_map.to_sparse_list() if rate > 0.0005
    }
    assert {(3,), (4,), (3, 4)} <= set(rates) <= {(0,), (1,), (0, 1), (3,), (4,), (3, 4)}


def test_rates_are_told_of_ascending_qubits_whatever_the_boxs_order(device, monkeypatch):
    dephasing = np.diag([1, 0.98, 0.98, 1] * 4)  # of the first of the two, qubit 1
    monkeypatch.setitem(device.noise._errors, ("cz", (1, 0)), dephasing)
    monkeypatch.setattr(device.noise, "_gates", {})

    (noise,) = learn(device, czs((1, 0)))

    # Z of qubit 1, with the rate -log(0.98) / 2, and nothing else.
    assert noise.qubits == (0, 1)
    first, second, *_ = sorted(noise.pauli_map.to_sparse_list(), key=lambda term: -term[2])
    assert first[:2] == ("Z", [1])
    assert first[2] == pytest.approx(-log(0.98) / 2, abs=0.001)
    assert second[2] < 0.001


def test_readouts_are_learned_as_flips(device):
    (noise,) = learn(device, readouts(70, 3, 10), num_randomizations=4096)

    assert noise.qubits == (3, 10, 70)
    told = {
        tuple(qubits): (letter, rate) for letter, qubits, rate in noise.pauli_map.to_sparse_list()
    }
    for place, qubit in enumerate(noise.qubits):
        letter, rate = told[(place,)]
        assert letter == "X"
        assert rate == pytest.approx(-log(1 - sum(device.noise.readout(qubit))) / 2, abs=0.002)


def test_the_deviations_told_are_those_seen_between_jobs(device):
    layers = [czs((0, 1)), readouts(0, 1)]
    settings = {"num_randomizations": 8, "pair_depths": (0, 4, 16)}
    runs = [learn(device, *layers, seed=seed, **settings) for seed in range(8)]

    for of_layer in zip(*runs, strict=True):
        seen = np.std([noise.pauli_map.rates for noise in of_layer], axis=0, ddof=1)
        told = np.mean([noise.rates_std for noise in of_layer], axis=0)
        assert 0.5 < np.sqrt(np.mean(told**2) / np.mean(seen**2)) < 2


def test_dressing_and_other_annotations_do_not_count(device):
    def dressed(body):
        body.sx(0)
        body.rz(0.3, 1)
        body.barrier()
        body.cz(0, 1)

    layer = Layer(box(dressed, 2, annotations=[Tag("mine"), Twirl()]), (0, 1))

    few = {"num_randomizations": 2, "pair_depths": (0, 1)}
    (noise,), (plain,) = learn(device, layer, **few), learn(device, czs((0, 1)), **few)

    assert noise.pauli_map.to_sparse_list() == plain.pauli_map.to_sparse_list()


UNLEARNABLE = {
    "its box has no Twirl annotation": (lambda body: body.cz(0, 1), 0, ()),
    "it has two instructions on one qubit": (lambda body: [body.cz(0, 1), body.cz(1, 2)], 0, TWIRL),
    "undo themselves": (lambda body: body.iswap(0, 1), 0, TWIRL),
    "must measure all its qubits": (lambda body: body.measure(0, 0), 1, TWIRL),
    "right-dressed": (lambda body: body.cz(0, 1), 0, (Twirl(dressing="right"),)),
    "The instruction rx": (lambda body: body.cz(0, 1), 0, (Twirl(decomposition="rzrx"),)),
    "on (0, 2) is not supported": (lambda body: body.cz(0, 2), 0, TWIRL),
}


@pytest.mark.parametrize("why", UNLEARNABLE)
def test_a_layer_that_cannot_be_learned_is_refused_and_numbered(why, device):
    draw, clbits, annotations = UNLEARNABLE[why]
    strange = Layer(box(draw, 3, clbits, annotations), (0, 1, 2))

    with pytest.raises(InvalidInput, match="the noise of layer 1 cannot be learned") as refusal:
        Learning([czs((0, 1)), strange], Settings(), device)

    assert why in refusal.value.message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pair_depths": (3, 3)}, "two different depths"),
        ({"pair_depths": (0, 10**9)}, "instructions; the limit is 500000"),
        ({"pair_depths": (0, 1500)}, "boxes, squared circuit by circuit; the limit is 4100000"),
        ({"num_randomizations": 2**31 - 1}, "parameter values; the limit is"),
    ],
)
def test_what_would_be_absurd_to_build_is_refused_at_once(settings, message, device):
    with pytest.raises(InvalidInput, match=message):
        Learning([czs((0, 1))], Settings(**settings), device)


def test_a_layer_of_one_qubit_is_learned_beside_another(device):
    readout, idle = learn(device, readouts(132), czs(idle=(4,)), pair_depths=(0, 8))

    ((letter, on, rate),) = readout.pauli_map.to_sparse_list()
    assert (readout.qubits, letter, on) == ((132,), "X", [0])
    assert rate == pytest.approx(-log(1 - sum(device.noise.readout(132))) / 2, abs=0.01)
    assert readout.rates_std.shape == (1,)
    assert idle.qubits == (4,)
    assert {tuple(term[:1]) for term in idle.pauli_map.to_sparse_list()} == set(zip("XYZ"))


def test_readouts_need_no_depths_but_have_limits_all_the_same(device):
    assert Learning([readouts(0, 1)], Settings(pair_depths=()), device).runs == [(32, 128, 2)]
    with pytest.raises(InvalidInput, match="101 layers to learn; the limit is 100"):
        Learning([readouts(0, 1)] * 101, Settings(), device)
    with pytest.raises(InvalidInput, match="parameter values"):
        Learning([readouts(0, 1)], Settings(num_randomizations=10**8), device)


def test_noise_that_leaves_nothing_to_fit_is_told(device):
    job = Learning([readouts(0, 1)], Settings(), device)
    (experiment,), learned = job.experiments(np.random.default_rng(1))
    ((_, flips),) = learned.drawn[0].flips
    always_wrong = np.repeat(~flips[0][:, np.newaxis], experiment.shots, axis=1)

    with pytest.raises(InvalidInput, match="the noise of layer 0 cannot be learned"):
        learned.noise([always_wrong])
