"""What is signed comes back, and nothing else does."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.signing import Forged, Signer, kept_secret

signer = Signer(b"secret")


@given(st.text(), st.binary())
def test_round_trip(purpose, payload):
    assert signer.open(purpose, signer.sign(purpose, payload)) == payload


@given(st.binary(), st.integers(0), st.characters())
def test_one_character_changed_is_forged(payload, at, character):
    value = signer.sign("cursor", payload)
    at %= len(value)
    changed = value[:at] + character + value[at + 1 :]
    if changed != value:
        with pytest.raises(Forged):
            signer.open("cursor", changed)


@given(st.text())
def test_any_other_text_is_forged(text):
    with pytest.raises(Forged):
        signer.open("cursor", text)


def test_one_purpose_is_not_another():
    value = signer.sign("ab", b"c")
    for purpose in ("a", "abc", "", "ba"):
        with pytest.raises(Forged):
            signer.open(purpose, value)


def test_another_secret_opens_nothing():
    with pytest.raises(Forged):
        Signer(b"other").open("cursor", signer.sign("cursor", b"x"))


def test_a_kept_secret_is_made_once_and_is_ours_alone(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(lambda _: kept_secret("", tmp_path / "data"), range(32)))
    assert len(secrets) == 1
    assert len(secrets.pop()) == 32
    (path,) = (tmp_path / "data").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_configured_secret_is_kept_nowhere(tmp_path):
    assert kept_secret("configured", tmp_path / "data") == kept_secret("configured", tmp_path / "data")
    assert not (tmp_path / "data").exists()
