"""A cursor opens in the channel it was made for."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import Refused
from api.history import cursors
from api.history.cursors import Place
from api.signing import Signer

signer = Signer(b"secret")
moments = st.datetimes(datetime(1960, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)).map(
    lambda m: m.replace(microsecond=m.microsecond // 1000 * 1000)
)
ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=100)


@given(moments, ids, ids)
def test_round_trip(moment, message_id, channel):
    place = Place(moment, message_id)
    assert cursors.decode(signer, "acme", channel, cursors.encode(signer, "acme", channel, place)) == place


@given(ids, ids)
def test_no_other_channel_or_tenant_takes_it(channel, other):
    cursor = cursors.encode(signer, "acme", channel, Place(datetime(2026, 1, 1, tzinfo=UTC), "m"))
    refusing = [("other", channel), ("acme", channel + "x")] + ([("acme", other)] if other != channel else [])
    for tenant, elsewhere in refusing:
        with pytest.raises(Refused) as refused:
            cursors.decode(signer, tenant, elsewhere, cursor)
        assert refused.value.status == 400
