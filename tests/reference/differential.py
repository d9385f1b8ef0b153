"""Random circuits on simulated QPUs, compared with the reference by exact probabilities.

`scripts/differential N SEED` runs N cases from SEED on. A case is one number: it says which device,
which method, which program and which circuits. A case that deviates is run a second time with eight
times as many shots and another seed; it counts as a fault if its p-value is below `SUSPICIOUS` the
first time and below `FAULTY` the second. So chance alone makes a fault of one case in 10 million.
"""

import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from tests.reference.cases import Case, case
from tests.reference.running import Outcome, run

SUSPICIOUS = 1e-3
FAULTY = 1e-4


def fault(one: Case) -> tuple[str, Outcome | None]:
    """What is wrong with how a case runs ("" if nothing is), and what became of it."""
    try:
        first = run(one)
        if first.verdict.p_value >= SUSPICIOUS:
            return "", first
        second = run(one, again=True)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a fault
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename.split('/')[-1]}:{last.lineno}"
        return f"{type(error).__name__} at {where}: {error}"[:500], None
    if second.verdict.p_value >= FAULTY:
        return "", first
    return (
        f"p = {first.verdict.p_value:.2g}, then {second.verdict.p_value:.2g} "
        f"({second.verdict.by}; {', '.join(sorted(second.methods))})"
    ), second


def _sort(wrong: str) -> list[str]:
    """The first words: an error and where it was raised, or that bits deviate."""
    return wrong.split(" ")[:3] if " at " in wrong else wrong.split(" ")[:1]


def shrunk(one: Case, seconds: float = 60.0) -> Case:
    """A smaller case with a fault of the same sort."""
    until = time.monotonic() + seconds
    sort = _sort(fault(one)[0])
    changed = True
    while changed:
        changed = False
        for smaller in _smaller(one):
            if time.monotonic() > until:
                return one
            if _sort(fault(smaller)[0]) == sort:
                one, changed = smaller, True
                break
    return one


def _smaller(one: Case) -> Iterator[Case]:
    for at in range(len(one.pubs)):
        if len(one.pubs) > 1:
            yield replace(one, pubs=(*one.pubs[:at], *one.pubs[at + 1 :]))
    for at, pub in enumerate(one.pubs):
        for instruction in reversed(range(len(pub.circuit.data))):
            pubs = (*one.pubs[:at], pub.without(instruction), *one.pubs[at + 1 :])
            yield replace(one, pubs=pubs)


def main() -> None:
    """Runs cases and prints those with a fault, then what was run."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    told: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    circuits, faults, start = 0, 0, time.monotonic()
    for seed in range(first, first + count):
        one = case(seed)
        wrong, outcome = fault(one)
        circuits += len(one.pubs)
        told[one.kind] += 1
        if outcome is not None:
            told.update(f"by {name}" for name in outcome.methods)
            if outcome.refused:
                refused[f"{one.kind}: {outcome.refused[:110]}"] += 1
        if wrong:
            faults += 1
            print(f"FAULT in case {seed}: {wrong}\nrepeat it: scripts/differential 1 {seed}")
            print(shrunk(one).text() if count == 1 else "", flush=True)
    seconds = time.monotonic() - start
    print(
        f"{count} cases from {first} with {circuits} circuits in {seconds:.0f} s: "
        f"{faults} faults, {sum(refused.values())} cases refused"
    )
    for name, number in sorted(told.items()):
        print(f"  {name}: {number}")
    for why, number in refused.most_common(20):
        print(f"  refused {number} times: {why}")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
