"""Chat templates: rendering, the sandbox and its limits."""

import resource
import sys
from pathlib import Path

import pytest

from bindings.llama_cpp import LlamaCpp
from bindings.llama_cpp.chat_template import LONGEST_SOURCE, ChatTemplate
from tests.bindings.llama_cpp.conftest import PEBBLE
from tests.bindings.llama_cpp.odd_models import write_template
from worker.binding import BindingError, Model

CHATML = """
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content | trim + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
NO_SYSTEM = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' %}{{ raise_exception('no system here') }}{% endif %}
{%- for message in messages %}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{- raise_exception('user and model take turns') }}
{%- endif %}
{%- set role = 'model' if message['role'] == 'assistant' else message['role'] %}
{{- '[' ~ role ~ ']' ~ message['content'] ~ eos_token }}
{%- endfor %}[model]"""
TURNS = ["Hi", " Hello! ", "Who?"]


def test_a_conversation_as_the_template_says() -> None:
    assert ChatTemplate(CHATML).render("Be brief.", TURNS) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello!<|im_end|>\n"
        "<|im_start|>user\nWho?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_where_no_system_message_is_taken_it_begins_the_users_first() -> None:
    template = ChatTemplate(NO_SYSTEM)
    template.bos, template.eos = "<s>", "</s>"
    assert template.render("", TURNS) == ("<s>[user]Hi</s>[model] Hello! </s>[user]Who?</s>[model]")
    assert template.render("Be brief.", TURNS[2:]) == "<s>[user]Be brief.\n\nWho?</s>[model]"


WRONG = {
    "no template": "{% for message in %}",
    "refuses everything": "{{ raise_exception('never') }}",
    "unknown": "{{ nobody.knows.this }}",
    "too large": "x" * (LONGEST_SOURCE + 1),
    "too large a result": "{% for n in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
    "endless": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "endless macro": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "doubling": "{% set n = namespace(s='x') %}{% for _ in range(99) %}{% set n.s = n.s ~ n.s %}"
    "{% endfor %}",
    "much at once": "{{ ('x' * 9999999999) | length }}",
    "wide": "{{ 'x' | center(9999999999) }}",
    "power": "{{ 9 ** 999999999 }}",
    "long range": "{{ range(999999999) | list }}",
    "class": "{{ ''.__class__.__mro__ }}",
    "format": "{{ '{0.__class__.__mro__}'.format('') }}",
    "globals": "{{ raise_exception.__globals__.sys }}",
    "builtins": "{{ self.__init__.__globals__ }}",
    "change": "{{ messages.append(1) }}",
    "another file": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}",
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_a_template_must_not_do_is_an_error_and_changes_nothing(kind: str) -> None:
    limits, tracing = resource.getrlimit(resource.RLIMIT_DATA), sys.gettrace()
    with pytest.raises(BindingError, match=r"^the model's chat template (fails: .+|has \d+ char)"):
        ChatTemplate(WRONG[kind])
    assert resource.getrlimit(resource.RLIMIT_DATA) == limits
    assert sys.gettrace() is tracing
    assert ChatTemplate(CHATML).render("", ["Hi"]).endswith("assistant\n")


def test_a_template_that_a_conversation_drives_mad_fails_that_conversation() -> None:
    template = ChatTemplate("{{ messages[-1].content * (messages | length) }}")
    assert template.render("", ["ab"]) == "ab"
    with pytest.raises(BindingError, match="characters"):
        template.render("", ["x" * 1_000_000] * 9)


def test_the_models_own_form_only_where_it_is_asked_for(binding: LlamaCpp) -> None:
    binding.load(Model("pebble", PEBBLE, {"n_threads": 1}))
    assert binding.compose("Be brief.", TURNS) is None
    binding.load(Model("pebble", PEBBLE, {"n_threads": 1, "chat_template": True}))
    text = binding.compose("Be brief.", TURNS)
    assert text == (
        "<|system|>Be brief.<|end|><|user|>Hi<|end|><|assistant|> Hello! <|end|>"
        "<|user|>Who?<|end|><|assistant|>"
    )
    assert binding.tokenize(text).count(0) == 1  # BOS once: the tokenizer says it


def test_a_model_without_a_template_is_asked_as_the_personality_says(
    binding: LlamaCpp, tiny: Path
) -> None:
    binding.load(Model("tiny", tiny, {"n_threads": 1, "chat_template": True}))
    assert binding.compose("Be brief.", TURNS) is None


def test_a_broken_template_is_the_reason_why_a_model_does_not_load(
    binding: LlamaCpp, tiny: Path, tmp_path: Path
) -> None:
    binding.load(Model("tiny", tiny, {"n_threads": 1}))
    path = write_template(tmp_path / "odd.gguf", "{% for %}")
    with pytest.raises(BindingError, match="chat template fails"):
        binding.load(Model("odd", path, {"n_threads": 1, "chat_template": True}))
    assert binding.tokenize("still there")
    binding.load(Model("odd", path, {"n_threads": 1}))  # who does not ask for it has no harm
