"""Generators for the OpenAPI document's custom formats, so that requests pass the first validation."""

import schemathesis
from hypothesis import strategies as st
from hypothesis.internal import lambda_sources

# Disables descriptions of lambdas, which only messages use. Computing one parses schemathesis's sources repeatedly, which fails on
# some releases of CPython 3.11 ("AST constructor recursion depth mismatch").
lambda_sources.lambda_description = lambda _: "lambda"

schemathesis.openapi.format(
    "time-zone", st.sampled_from(["UTC", "Europe/Berlin", "America/Havana", "Pacific/Apia", "Australia/Lord_Howe"])
)
schemathesis.openapi.format(
    "iso-duration", st.builds("P{}DT{}H{}M".format, st.integers(0, 300), st.integers(0, 99), st.integers(0, 99))
)
schemathesis.openapi.format(
    "rrule",
    st.builds(
        "FREQ={};INTERVAL={}{}".format,
        st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]),
        st.integers(1, 999),
        st.sampled_from(["", ";COUNT=3", ";UNTIL=20401231T235959Z", ";BYDAY=MO,FR", ";BYMONTH=2,12"]),
    ),
)
