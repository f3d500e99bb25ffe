"""A worker's last words: one line that explains its end, or none."""

import os
from pathlib import Path

import pytest

from gateway.provisioning.post_mortem import MAX_AGE, MAX_LENGTH, explaining_line, last_log_line

USUAL = "2026-11-23 05:54:25,614 INFO worker.link: the gateway welcomes us\n"
TRACEBACK = """\
2026-11-23 05:54:25,614 ERROR worker: the binding b is broken
Traceback (most recent call last):
  File "/home/somebody/bindings/b/__init__.py", line 3, in <module>
    import nothing_of_this_name
ModuleNotFoundError: No module named 'nothing_of_this_name'
"""
SEGFAULT = """\
Fatal Python error: Segmentation fault

Current thread 0x00007f0e2a7fc6c0 (most recent call first):
  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at

Extension modules: zmq.backend.cython._zmq (total: 1)
"""


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("", ""),
        (USUAL, ""),
        (USUAL + TRACEBACK, "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        (
            USUAL + TRACEBACK + "2026-11-23 05:54:25,615 ERROR worker: the binding b cannot go\n",
            "the binding b cannot go",
        ),
        (USUAL + SEGFAULT, ""),
        (
            f"{USUAL}/src/ggml/ggml.c:1729: GGML_ASSERT(n > 0) failed\n{SEGFAULT}",
            "ggml.c:1729: GGML_ASSERT(n > 0) failed",
        ),
        (f"an earlier life\n{SEGFAULT}{USUAL}about to read 0\n{SEGFAULT}", "about to read 0"),
        (f"{USUAL}an earlier life\n{SEGFAULT}{USUAL}{TRACEBACK}", TRACEBACK.splitlines()[-1]),
        (f"{USUAL}an earlier life\n{SEGFAULT}{USUAL}", ""),
        (USUAL + "cannot open /home/some body/m.gguf\n\n", "cannot open some body/m.gguf"),
        ("\x1b[31mred\x1b[0m\x07\x00alarm\n", "[31mred [0m alarm"),
    ],
)  # fmt: skip
def test_what_explains_the_end_is_found(written: str, words: str) -> None:
    assert explaining_line(written) == words


def test_a_long_line_is_cut() -> None:
    assert len(explaining_line("x" * 10_000)) == MAX_LENGTH


def test_only_what_was_written_at_the_end_counts(tmp_path: Path) -> None:
    log = tmp_path / "b_00.log"
    assert last_log_line(log, 1000.0) == ""
    log.write_bytes(b"\xff\xfe broken bytes, then\nthe end")
    os.utime(log, (1000, 1000))
    assert last_log_line(log, 1000.0 + MAX_AGE / 2) == "the end"
    assert last_log_line(log, 1000.0 + MAX_AGE * 2) == ""
