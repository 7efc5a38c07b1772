"""What values of the document's own formats look like, so that requests get past the first look at them."""

import schemathesis
from hypothesis import strategies as st
from hypothesis.internal import lambda_sources

# What a lambda looks like is only for messages, and finding it out parses schemathesis's own sources again and again, which some
# releases of CPython 3.11 fail at ("AST constructor recursion depth mismatch").
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
