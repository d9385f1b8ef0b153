"""A data folder belongs to one database."""

from pathlib import Path

import pytest

from queuebit.errors import ConfigError
from queuebit.store.pairing import is_paired, pair

URL = "sqlite:////other.db"


def test_a_new_folder_belongs_to_its_first_database(tmp_path: Path):
    assert not is_paired(tmp_path, "one")
    pair(tmp_path, URL, "one", [], [])

    assert is_paired(tmp_path, "one")
    assert not is_paired(tmp_path, "two")


@pytest.mark.parametrize(
    ("stored", "known"), [(["a"], []), (["a"], ["b"]), ([], ["b"]), (["a"], ["a"])]
)
def test_another_database_is_refused_and_nothing_is_changed(tmp_path: Path, stored, known):
    pair(tmp_path, URL, "one", [], [])

    with pytest.raises(ConfigError, match=f"belongs to another database than {URL}.*write two"):
        pair(tmp_path, URL, "two", stored, known)
    assert is_paired(tmp_path, "one")


def test_what_holds_nothing_may_belong_to_anything(tmp_path: Path):
    pair(tmp_path, URL, "one", [], [])
    pair(tmp_path, URL, "two", [], [])

    assert is_paired(tmp_path, "two")


def test_a_folder_of_an_earlier_queuebit_is_taken_by_the_database_that_knows_its_jobs(
    tmp_path: Path,
):
    pair(tmp_path, URL, "one", ["a", "orphan"], ["a", "without files"])

    assert is_paired(tmp_path, "one")


@pytest.mark.parametrize(("stored", "known"), [(["a"], []), (["a"], ["b"]), ([], ["b"])])
def test_a_folder_without_an_id_is_not_taken_by_a_stranger(tmp_path: Path, stored, known):
    with pytest.raises(ConfigError, match=f"of none of the {len(known)} jobs in database {URL}"):
        pair(tmp_path, URL, "one", stored, known)
    assert list(tmp_path.iterdir()) == []


def test_an_operator_may_join_what_belongs_together(tmp_path: Path):
    pair(tmp_path, URL, "one", [], [])
    (tmp_path / "database-id").write_text("two\n")

    assert is_paired(tmp_path, "two")
