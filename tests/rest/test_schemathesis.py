"""What docs/openapi.json says is what is answered, whatever is sent; refusals leave no trace."""

import contextlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from schemathesis import checks
from tests.api.conftest import ALICE
from tests.rest.conftest import READER, Small

FILE = Path(__file__).parents[2] / "docs" / "openapi.json"
SCHEMA = schemathesis.openapi.from_dict(json.loads(FILE.read_text("utf-8")))

SETTINGS = hypothesis.settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
EXAMPLES = 15  # of each operation, beside those that cover each keyword of its schema
SCENARIOS = 25  # of several operations, each on what the ones before made
SEED = 20_261_121
# That data which fit the schema are accepted cannot be: a backend has to exist, for example.
UNTOLD = [checks.CHECKS.get_one("positive_data_acceptance")]


class Asking:
    """Sends cases, now and then as somebody else, and watches what the service holds."""

    def __init__(self, small: Small) -> None:
        self.small = small
        self.session = requests.Session()
        self.session.trust_env = False
        self.held = small.digest()
        self.statuses: Counter[int] = Counter()
        everything = small.headers()
        self.turns = itertools.cycle(
            [
                *[everything] * 7,
                small.headers(READER),
                small.headers(ALICE),  # who has no role there
                *[everything] * 7,
                {"Service-CRN": everything["Service-CRN"]},
                everything | {"Service-CRN": "crn:none"},
            ]
        )

    def arguments(self, headers: dict[str, str]) -> dict[str, Any]:
        return {
            "base_url": self.small.url,
            "headers": headers,
            "session": self.session,
            "timeout": 60,
        }

    def watch(self, case: schemathesis.Case, answer: schemathesis.Response) -> None:
        """Fail if a refusal, or a question, changed anything."""
        self.statuses[answer.status_code] += 1
        before, self.held = self.held, self.small.digest()
        if answer.status_code >= 400 or case.method.upper() in {"GET", "HEAD"}:
            assert before == self.held, f"{case.method} {case.path} changed what is kept"


@pytest.fixture(scope="module")
def asking(small: Small) -> Iterator[Asking]:
    asking = Asking(small)
    yield asking
    print(asking.statuses.total(), "answers:", dict(asking.statuses))


@SCHEMA.parametrize()
@hypothesis.settings(SETTINGS, max_examples=EXAMPLES)
def test_an_operation_answers_as_it_says(case: schemathesis.Case, asking: Asking):
    answer = case.call(**asking.arguments(next(asking.turns)))
    asking.watch(case, answer)
    case.validate_response(answer, excluded_checks=UNTOLD)


@pytest.mark.timeout(300)
def test_operations_on_what_others_made_answer_as_they_say(asking: Asking):
    """Each scenario is a run of its own: the same one would find another service once more."""
    begun, failures = asking.statuses.total(), []

    class Scenario(SCHEMA.as_state_machine()):
        def get_call_kwargs(self, case: schemathesis.Case) -> dict[str, Any]:
            return asking.arguments(next(asking.turns))

        def validate_response(self, response: Any, case: Any, **more: Any) -> None:
            try:
                asking.watch(case, response)
                case.validate_response(response, excluded_checks=UNTOLD)
            except BaseException as failure:
                failures.append(failure)
                raise

    for number in range(SCENARIOS):
        hypothesis.seed(SEED + number)(Scenario)
        with contextlib.suppress(hypothesis.errors.Flaky):
            Scenario.run(
                settings=hypothesis.settings(
                    SETTINGS,
                    derandomize=False,
                    max_examples=1,
                    stateful_step_count=30,
                    phases=[hypothesis.Phase.generate],
                )
            )
        if failures:
            raise failures[0]

    assert asking.statuses.total() - begun > 10 * SCENARIOS
    assert asking.statuses[204] > 0
