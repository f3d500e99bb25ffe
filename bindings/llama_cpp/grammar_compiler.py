"""Compile the grammars of requests on a thread of their own, beside the model thread."""

from concurrent.futures import Future, ThreadPoolExecutor

from protocol.sampling import Sampling

from . import gbnf, json_schema
from .grammar import GrammarError, Rules
from .grammar_matcher import Matcher, TooExpensive
from .grammar_program import compile_rules
from .token_index import GrammarState, TokenIndex
from .vocabulary import Vocabulary

MAX_CHARACTERS = 100_000


class GrammarCompiler:
    """Its thread starts with the first grammar, and ends with `close`."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._index: TokenIndex | None = None
        self._thread = ThreadPoolExecutor(1, "grammars")

    def start(self, sampling: Sampling) -> Future[GrammarState]:
        """Its result is what the grammar allows first, or a BindingError that says why not."""
        return self._thread.submit(self._compile, sampling)

    def _compile(self, sampling: Sampling) -> GrammarState:
        program = compile_rules(_rules(sampling))
        try:
            matcher = Matcher(program)
        except TooExpensive as error:
            raise GrammarError(str(error)) from None
        if not self._index:
            self._index = TokenIndex(self._vocabulary.pieces, self._vocabulary.ends)
        return GrammarState(matcher, self._index)

    def close(self) -> None:
        """Waits for the grammar that is being compiled, at most."""
        self._thread.shutdown(cancel_futures=True)


def wanted(sampling: Sampling) -> bool:
    return bool(sampling.grammar or sampling.json_schema)


def _rules(sampling: Sampling) -> Rules:
    source = sampling.grammar or sampling.json_schema
    if sampling.grammar and sampling.json_schema:
        raise GrammarError("give a grammar or a json_schema, not both")
    if len(source) > MAX_CHARACTERS:
        raise GrammarError(f"a grammar may have {MAX_CHARACTERS:,} characters, not {len(source):,}")
    return gbnf.read(source) if sampling.grammar else json_schema.read(source)
