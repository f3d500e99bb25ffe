"""ctypes declarations of the llama.cpp functions that a step calls.

llama-cpp-python declares every function with typed pointers, which costs one conversion
per argument. The calls of the hot path are declared again here, with addresses as plain
integers. Everything else goes through `api`.
"""

import ctypes
from ctypes import c_bool, c_int32, c_int64, c_size_t, c_void_p
from typing import Any

import llama_cpp.llama_cpp as _llama_cpp
import numpy as np

api: Any = _llama_cpp
"""llama-cpp-python's own declarations, for infrequent calls."""

FULL, HALF = 2**31 - 1, 2**30
"""Values of a semaphore; FULL is SEM_VALUE_MAX."""
ABORTED = 2
"""What `llama_decode` returns after an abort."""


def _function(name: str, result: Any, *arguments: Any, quick: bool = False) -> Any:
    """`quick` keeps the interpreter lock: releasing it costs more than the call."""
    make = ctypes.PYFUNCTYPE if quick else ctypes.CFUNCTYPE
    return make(result, *arguments)((name, api._lib))


class LlamaBatch(ctypes.Structure):
    """`llama_batch`, passed by value; the arrays belong to the caller."""

    _fields_ = (
        ("n_tokens", c_int32),
        ("token", c_void_p),
        ("embd", c_void_p),
        ("pos", c_void_p),
        ("n_seq_id", c_void_p),
        ("seq_id", c_void_p),
        ("logits", c_void_p),
    )


class TokenDataArray(ctypes.Structure):
    """`llama_token_data_array`; samplers may move `data`."""

    _fields_ = (
        ("data", c_void_p),
        ("size", c_size_t),
        ("selected", c_int64),
        ("sorted", c_bool),
    )


TOKEN_DATA = np.dtype([("id", "i4"), ("logit", "f4"), ("p", "f4")])
"""`llama_token_data`."""

decode = _function("llama_decode", c_int32, c_void_p, LlamaBatch)
sampler_apply = _function("llama_sampler_apply", None, c_void_p, c_void_p)

get_logits = _function("llama_get_logits", c_void_p, c_void_p, quick=True)
sampler_accept = _function("llama_sampler_accept", None, c_void_p, c_int32, quick=True)
sampler_free = _function("llama_sampler_free", None, c_void_p, quick=True)
memory_remove = _function(
    "llama_memory_seq_rm", c_bool, c_void_p, c_int32, c_int32, c_int32, quick=True
)
memory_copy = _function(
    "llama_memory_seq_cp", None, c_void_p, c_int32, c_int32, c_int32, c_int32, quick=True
)
get_embeddings = _function("llama_get_embeddings", c_void_p, c_void_p, quick=True)
memory_last = _function("llama_memory_seq_pos_max", c_int32, c_void_p, c_int32, quick=True)
memory_clear = _function("llama_memory_clear", None, c_void_p, c_bool, quick=True)

state_size = _function("llama_state_seq_get_size", c_size_t, c_void_p, c_int32)
state_save = _function("llama_state_seq_get_data", c_size_t, c_void_p, c_void_p, c_size_t, c_int32)
state_load = _function("llama_state_seq_set_data", c_size_t, c_void_p, c_void_p, c_size_t, c_int32)

_set_abort_callback = _function("llama_set_abort_callback", None, c_void_p, c_void_p, c_void_p)
_token_to_piece = _function(
    "llama_token_to_piece", c_int32, c_void_p, c_int32, c_void_p, c_int32, c_int32, c_bool,
    quick=True,
)  # fmt: skip


class AbortFlag:
    """Aborts a running `llama_decode` from any thread and counts how far it is, without Python.

    Before each operation of its graph, llama.cpp asks a callback whether to stop. The
    callback is the C library's `sem_trywait`, its argument a semaphore of ours: the call
    takes one from a value above zero and returns 0, which means "continue", and fails at
    zero, which means "stop".
    """

    def __init__(self, context: int) -> None:
        libc = ctypes.CDLL(None)
        self._semaphore = (c_int64 * 8)()  # sem_t has 32 bytes
        libc.sem_init(ctypes.byref(self._semaphore), 0, FULL)
        self._value = ctypes.c_uint32.from_buffer(self._semaphore)
        if self._value.value != FULL:
            raise OSError("this C library keeps a semaphore's value elsewhere")
        self._before = 0  # operations counted before the value was last filled up
        callback = ctypes.cast(libc.sem_trywait, c_void_p).value
        _set_abort_callback(context, callback, ctypes.addressof(self._semaphore))

    @property
    def operations(self) -> int:
        """It grows while a `llama_decode` advances, and also with an abort."""
        return self._before + FULL - self._value.value

    def set(self) -> None:
        self._value.value = 0

    def clear(self) -> None:
        value = self._value.value
        if value < HALF:  # one `llama_decode` asks some thousand times
            self._before += FULL - value
            self._value.value = FULL


def address(pointer: Any) -> int:
    """A llama-cpp-python pointer as a number; 0 is NULL."""
    return ctypes.cast(pointer, c_void_p).value or 0


def piece_of(vocab: int, token: int, *, special: bool) -> bytes:
    """A token's bytes, which may end inside a character."""
    room = 64
    while True:
        buffer = ctypes.create_string_buffer(room)
        size: int = _token_to_piece(vocab, token, ctypes.addressof(buffer), room, 0, special)
        if size >= 0:
            return buffer.raw[:size]
        room = -size


def text_of(read: Any, *arguments: Any, room: int = 256) -> str:
    """What a snprintf-like llama.cpp function writes; "" if it fails."""
    while True:
        buffer = ctypes.create_string_buffer(room)
        size: int = read(*arguments, buffer, room)
        if size < 0:
            return ""
        if size < room:
            return buffer.value.decode(errors="replace")
        room = size + 1
