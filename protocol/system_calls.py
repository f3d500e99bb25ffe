"""Call the kernel; errors are raised as OSError."""

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)


def system_call(number: int, *arguments: object) -> int:
    """By number: for calls that have the same one on all architectures."""
    return _checked(_libc.syscall(*_wide(number, *arguments)))


def libc_call(name: str, *arguments: object) -> int:
    """By the name of a function in the C library. Raise AttributeError if it has none."""
    return _checked(getattr(_libc, name)(*_wide(*arguments)))


def _wide(*arguments: object) -> list[object]:
    return [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
