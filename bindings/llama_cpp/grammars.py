"""Which grammar must the answer follow?"""

import json

from llama_cpp.llama_grammar import json_schema_to_gbnf

from protocol.sampling import Sampling
from worker.binding import BindingError


def grammar_of(sampling: Sampling) -> str:
    """GBNF, or "" for none; a JSON schema is turned into it."""
    if sampling.grammar and sampling.json_schema:
        raise BindingError("give a grammar or a json_schema, not both")
    if not sampling.json_schema:
        return sampling.grammar
    try:
        schema = json.loads(sampling.json_schema)
    except ValueError as error:
        raise BindingError(f"json_schema is not JSON: {error}") from None
    if not isinstance(schema, dict):
        raise BindingError("json_schema must be a JSON object")
    try:
        text: str = json_schema_to_gbnf(sampling.json_schema)
        return text
    except Exception as error:  # noqa: BLE001 - the converter's own ways of giving up, recursion included
        raise BindingError(f"json_schema cannot be turned into a grammar: {error}") from None
