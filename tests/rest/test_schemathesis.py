"""What docs/openapi.json says is what is answered, whatever is sent; refusals leave no trace."""

import itertools
import json
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

EXAMPLES = 30
SETTINGS = hypothesis.settings(
    derandomize=True,
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
"""Who asks, in turn: mostly somebody who may do everything."""


class Asking:
    """Sends cases, now and then as somebody else, and watches what the service holds."""

    def __init__(self, small: Small) -> None:
        self.small = small
        self.session = requests.Session()
        self.session.trust_env = False
        self.held = small.digest()
        self.count: dict[int, int] = {}
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

    def ask(self, case: schemathesis.Case) -> schemathesis.Response:
        headers = next(self.turns)
        answer = case.call(
            base_url=self.small.url, headers=headers, session=self.session, timeout=60
        )
        self.count[answer.status_code] = self.count.get(answer.status_code, 0) + 1
        held = self.small.digest()
        if answer.status_code >= 400 or case.method.upper() in {"GET", "HEAD"}:
            assert held == self.held, f"{case.method} {case.path} changed what is kept"
        self.held = held
        return answer


@pytest.fixture(scope="module")
def asking(small: Small) -> Any:
    asking = Asking(small)
    yield asking
    print(sum(asking.count.values()), asking.count)


@SCHEMA.parametrize()
@SETTINGS
def test_an_operation_answers_as_it_says(case: schemathesis.Case, asking: Asking):
    answer = asking.ask(case)
    case.validate_response(
        answer, excluded_checks=[checks.CHECKS.get_one("positive_data_acceptance")]
    )
