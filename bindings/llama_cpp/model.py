"""Load a GGUF file with its settings into a llama.cpp model and context."""

import ctypes
import logging
import os
from pathlib import Path
from typing import Any

from worker.binding import BindingError, OutOfMemory, Progress

from . import library_log
from .gguf_header import Header
from .memory_plan import EmbeddingPlan, MemoryPlan
from .native import AbortFlag, address, api, memory_clear, text_of
from .settings import CACHE_TYPES, Settings
from .vocabulary import Vocabulary

log = logging.getLogger(__name__)

GGML_TYPES = dict(zip(CACHE_TYPES, (0, 1, 30, 8, 7, 6, 3, 2, 20), strict=True))
FLASH = {"auto": -1, "off": 0, "on": 1}
SPLIT = {"none": 0, "layer": 1, "row": 2}
ROPE = {"": -1, "none": 0, "linear": 1, "yarn": 2, "longrope": 3}


def threads(settings: Settings) -> int:
    """One fewer than cores: with all of them, one busy core delays every step."""
    if settings.n_threads:
        return settings.n_threads
    return max(1, (cores() - 1) // settings.sharers)


def cores(cgroup: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Cores that this process may use, by its CPU affinity and its control group's quota."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = cgroup.read_text().split()
        return max(1, min(found or 1, int(quota) // int(period)))
    except (OSError, ValueError):  # no file, or "max"
        return found or 1


def on_gpu(settings: Settings) -> bool:
    return bool(settings.n_gpu_layers and api.llama_supports_gpu_offload())


class LlamaModel:
    """Weights and one context of `settings.parallel` sequences.

    Raises BindingError with llama.cpp's reason. `close` frees everything.
    """

    def __init__(
        self, path: Path, settings: Settings, plan: MemoryPlan, progress: Progress
    ) -> None:
        library_log.redirect()
        library_log.clear_errors()
        api.llama_backend_init()
        self.path = path
        self.settings = settings
        self.context = 0
        self.plan = plan
        self._adapters: list[Any] = []
        parameters = _model_params(settings)

        def report_progress(fraction: float, data: object) -> bool:
            progress(fraction)
            return True  # continue

        parameters.progress_callback = api.llama_progress_callback(report_progress)
        self.model = api.llama_model_load_from_file(os.fsencode(path), parameters)
        if not self.model:
            why = library_log.first_error("no reason given")
            raise _error(f"{path.name} cannot be loaded: {why}")
        self.mapped = _mapped(settings, plan.weights)
        """Bytes of the file that are used where they are mapped."""
        try:
            self._check_architecture(path.name)
            self.vocabulary = Vocabulary(self.model)
            parameters = _context_params(settings, plan)
            self._context = self._new_context(parameters, path.name)
            self.context = address(self._context)
            self.memory = address(api.llama_get_memory(self._context))
            self._apply_adapters()
            self.abort = AbortFlag(self.context)
        except BaseException:
            self.close()
            raise
        self.recurrent = bool(
            api.llama_model_is_recurrent(self.model) or api.llama_model_is_hybrid(self.model)
        )
        """Has a recurrent state, alone or beside a KV cache: no prefix can be taken out of it."""

    def _check_architecture(self, name: str) -> None:
        if api.llama_model_has_encoder(self.model) and api.llama_model_has_decoder(self.model):
            raise BindingError(f"{name} is an encoder-decoder model, which is not supported")
        if api.llama_model_is_diffusion(self.model):
            raise BindingError(f"{name} is a diffusion model, which is not supported")

    def _new_context(self, parameters: Any, name: str) -> Any:
        context = api.llama_init_from_model(self.model, parameters)
        if not context:
            why = library_log.first_error("perhaps too little memory")
            raise _error(f"no context can be made for {name}: {why}")
        return context

    def _apply_adapters(self) -> None:
        wanted = self.settings.adapters
        for file, _ in wanted:
            adapter = api.llama_adapter_lora_init(self.model, os.fsencode(file))
            if not adapter:
                why = library_log.first_error("")
                raise BindingError(f"the adapter {file} does not load: {why}")
            self._adapters.append(adapter)
        if wanted:
            pointers = (api.llama_adapter_lora_p_ctypes * len(wanted))(*self._adapters)
            scales = (ctypes.c_float * len(wanted))(*(scale for _, scale in wanted))
            if api.llama_set_adapters_lora(self._context, pointers, len(wanted), scales):
                raise BindingError(f"the adapters cannot be applied: {library_log.first_error('')}")

    @property
    def generates(self) -> bool:
        """An embedding model has no KV cache."""
        return bool(self.memory)

    @property
    def causal(self) -> bool:
        """A token sees only those before it, so a text can be computed in parts."""
        return self.generates and bool(api.llama_get_causal_attn(self._context))

    @property
    def pooling(self) -> int:
        """`llama_pooling_type`: how the model makes one embedding of those of its tokens."""
        return int(api.llama_pooling_type(self._context))

    def embedding_context(self, plan: EmbeddingPlan, *, chunked: bool) -> Any:
        """A second context; the caller frees it before this model is closed.

        Without flash attention, which rounds differently in small chunks and in large ones:
        the vector of a text must not depend on how fast the last one was.
        """
        parameters = _context_params(self.settings, self.plan)
        parameters.n_ctx = plan.context
        parameters.n_batch = parameters.n_ubatch = plan.rows
        parameters.n_seq_max = 1
        parameters.n_outputs_max = 0  # as many as tokens
        parameters.embeddings = True
        if chunked:
            parameters.pooling_type = 0  # none
            parameters.flash_attn_type = FLASH["off"]
            parameters.type_k = parameters.type_v = GGML_TYPES["f16"]
        return self._new_context(parameters, "embeddings")

    def details(self, header: Header) -> dict[str, str]:
        found = {
            "name": str(header.metadata.get("general.name", "")),
            "architecture": str(header.metadata.get("general.architecture", "")),
            "description": text_of(lambda *into: api.llama_model_desc(self.model, *into)),
            "parameters": str(api.llama_model_n_params(self.model)),
            "size": str(api.llama_model_size(self.model)),
            "quantisation": api.llama_ftype_name(api.llama_model_ftype(self.model)).decode(),
            "context": str(self.plan.context),
            "trained_context": str(api.llama_model_n_ctx_train(self.model)),
            "cells": str(self.plan.cells),
            "embedding_width": str(api.llama_model_n_embd(self.model)),
            "license": str(header.metadata.get("general.license", "")),
            "chat_template": str(header.metadata.get("tokenizer.chat_template", "")),
        }
        return {key: value for key, value in found.items() if value}

    def clear(self) -> None:
        memory_clear(self.memory, False)

    def close(self) -> None:
        if self.context:
            api.llama_free(self._context)
            self.context = 0
        if self.model:
            api.llama_model_free(self.model)  # and its adapters
            self.model = None


def _mapped(settings: Settings, weights: int) -> int:
    """After a load. Pages that are locked do not count as available anyway."""
    if not settings.use_mmap or settings.use_mlock:
        return 0
    return max(0, weights - library_log.copied_weights())


def _model_params(settings: Settings) -> Any:
    parameters = api.llama_model_default_params()
    parameters.n_gpu_layers = settings.n_gpu_layers
    parameters.split_mode = SPLIT[settings.split_mode]
    parameters.main_gpu = settings.main_gpu
    if settings.shares:
        shares = (ctypes.c_float * max(api.llama_max_devices(), len(settings.shares)))()
        shares[: len(settings.shares)] = settings.shares
        parameters.tensor_split = shares  # kept alive by the structure
    parameters.load_mode = 1 * settings.use_mmap + 2 * settings.use_mlock  # bits of the enum
    # gcc 12 compiles the AMX kernels wrongly; the first Q8_0 evaluation would end the process.
    parameters.use_extra_bufts = b"AMX_INT8 = 1" not in api.llama_print_system_info()
    return parameters


def _context_params(settings: Settings, plan: MemoryPlan) -> Any:
    parameters = api.llama_context_default_params()
    parameters.n_ctx = plan.cells
    parameters.n_batch = settings.rows
    parameters.n_ubatch = min(settings.n_ubatch, settings.rows)
    parameters.n_seq_max = settings.parallel
    parameters.n_outputs_max = settings.outputs
    parameters.n_threads = parameters.n_threads_batch = threads(settings)
    parameters.kv_unified = not plan.separate
    parameters.swa_full = True  # or no prefix of a sequence could be kept
    parameters.flash_attn_type = FLASH[settings.flash_attn]
    parameters.type_k = GGML_TYPES[settings.type_k]
    parameters.type_v = GGML_TYPES[settings.type_v]
    parameters.rope_scaling_type = ROPE[settings.rope_scaling]
    parameters.rope_freq_base = settings.rope_freq_base
    parameters.rope_freq_scale = settings.rope_freq_scale
    parameters.no_perf = True
    return parameters


def _error(text: str) -> BindingError:
    """A failed allocation says so, on all of ggml's devices: with less loaded it may succeed."""
    return OutOfMemory(text) if "out of memory" in text.lower() else BindingError(text)
