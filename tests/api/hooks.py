"""How schemathesis writes the bodies that it does not know: events, one a line."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson", "application/jsonl")
def lines(context, value):
    """Texts as they are; lists one element a line; anything else as one line."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode(errors="replace")
    elements = value if isinstance(value, list) else [value]
    return b"\n".join(json.dumps(element).encode() for element in elements)
