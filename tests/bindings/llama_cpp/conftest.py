"""Model fixtures: the embedded model, and models of random weights."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")

from benchmarks.random_model import Shape, write
from bindings.llama_cpp import LlamaCpp
from worker.binding import Model

PEBBLE = Path(__file__).parents[3] / "bindings/llama_cpp/models/pebble-f16.gguf"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def tiny(models: Path) -> Path:
    """A model that fits everywhere and has a long context.

    Its weights are F32. Narrower ones are multiplied by different kernels for one token than
    for several, which changes a logit by a hundredth, and occasionally a word.
    """
    return write(models / "tiny.gguf", Shape(weights="F32"))


@pytest.fixture(scope="session")
def slow(models: Path) -> Path:
    """A model that takes some seconds for 4,000 tokens."""
    shape = Shape(width=512, layers=8, heads=8, feed_forward=1024, vocabulary=2048)
    return write(models / "slow.gguf", shape)


@pytest.fixture(scope="module")
def shared() -> Iterator[LlamaCpp]:
    """Pebble, loaded once for a module's tests."""
    binding = LlamaCpp()
    binding.load(Model("pebble", PEBBLE, {"n_threads": 1}))
    yield binding
    binding.close()


EXACT = {"flash_attn": "off", "type_k": "f32", "type_v": "f32", "n_threads": 1}


@pytest.fixture(scope="module", params=["on", "off"], ids=["one memory", "one for each"])
def shared_exact(tiny: Path, request: pytest.FixtureRequest) -> Iterator[LlamaCpp]:
    binding = LlamaCpp()
    binding.load(Model("tiny", tiny, {**EXACT, "kv_unified": request.param}))
    yield binding
    binding.close()


@pytest.fixture
def exact(shared_exact: LlamaCpp) -> Iterator[LlamaCpp]:
    """A model whose texts do not depend on what else is in the batch.

    With flash attention they would: it rounds to F16, differently for one token and for many.
    """
    yield from _clean(shared_exact)


@pytest.fixture
def pebble(shared: LlamaCpp) -> Iterator[LlamaCpp]:
    """The embedded model."""
    yield from _clean(shared)


def _clean(binding: LlamaCpp) -> Iterator[LlamaCpp]:
    """As if freshly loaded; checks that the test left nothing behind."""
    assert binding.engine
    binding.engine.clear_cache()
    yield binding
    assert binding.engine.running == 0
    assert binding.engine.clear_cache() == 0


@pytest.fixture
def binding() -> Iterator[LlamaCpp]:
    """Without a model."""
    binding = LlamaCpp()
    yield binding
    binding.close()
