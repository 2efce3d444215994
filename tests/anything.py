"""Values of every kind that can be kept, made up by Hypothesis; COATCHECK_EXAMPLES says how many."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from .sizes import EXAMPLES

SETTINGS = settings(
    max_examples=EXAMPLES,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)

texts = st.text(st.characters(), max_size=20)  # lone surrogates as well: JSON has escapes for them
keys = texts | st.sampled_from(["$artifact", "$type", "value", "type", "size", "preview", "dict"])
zones = st.sampled_from([None, UTC, timezone(timedelta(hours=5, minutes=45)), timezone(-timedelta(seconds=1))])
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
plain = st.none() | st.booleans() | numbers | texts
typed = (
    st.binary(max_size=20)
    | st.datetimes(timezones=zones)
    | st.dates()
    | st.times(timezones=zones)
    | st.timedeltas()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.uuids()
)


def _containers(inner):
    return st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4)


hashable = st.recursive(
    plain | typed,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
json_values = st.recursive(plain, _containers, max_leaves=15)
values = st.recursive(
    plain | typed,
    lambda inner: _containers(inner) | st.lists(inner, max_size=3).map(tuple) | st.sets(hashable, max_size=3),
    max_leaves=15,
)


def exactly(value):
    """A value with all that `==` does not look at: types, signs of zero, digits of decimals."""
    if isinstance(value, dict):
        return {key: exactly(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return type(value), frozenset(map(exactly, value))
    if isinstance(value, list | tuple):
        return type(value).__name__, tuple(map(exactly, value)) if type(value) is tuple else list(map(exactly, value))
    return type(value), repr(value) if not hasattr(value, "utcoffset") else (value, value.utcoffset())
