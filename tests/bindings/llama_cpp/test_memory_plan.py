"""Memory plan: bytes per token, context, KV cache size and available memory."""

from pathlib import Path

import pytest

from benchmarks.random_model import Shape, write
from bindings.llama_cpp.gguf_header import Header, read
from bindings.llama_cpp.memory_plan import MemoryPlan, available, check, plan, token_bytes, whole
from tests.bindings.llama_cpp.conftest import PEBBLE
from worker.binding import BindingError, OutOfMemory

MIB = 2**20
SMALL = Header(
    {
        "general.architecture": "llama",
        "llama.context_length": 131_072,
        "llama.block_count": 32,
        "llama.embedding_length": 4096,
        "llama.attention.head_count": 32,
        "llama.attention.head_count_kv": 8,
    },
    4096 * MIB,
)
TYPES = {"kv_unified": "auto", "type_k": "f16", "type_v": "f16"}


def test_the_header_is_read_from_the_file(tmp_path: Path) -> None:
    header = read(PEBBLE)
    assert header.size == PEBBLE.stat().st_size
    assert header.metadata["general.architecture"] == "llama"
    assert header.number("block_count") > 1
    assert header.number("absent", 7) == 7
    made = read(write(tmp_path / "m.gguf", Shape(layers=3, context=4096)))
    assert (made.number("block_count"), made.number("context_length")) == (3, 4096)


def test_a_token_takes_what_llama_3_8b_is_known_for() -> None:
    assert token_bytes(SMALL, "f16", "f16") == 128 * 1024
    assert token_bytes(SMALL, "q8_0", "q8_0") == pytest.approx(68 * 1024)


def test_the_context_is_the_models_own_up_to_a_limit() -> None:
    given = {"n_ctx": 0, "parallel": 4, "n_cells": 0, "available": None, **TYPES}
    assert plan(SMALL, **given).context == 8192  # type: ignore[arg-type]
    assert plan(SMALL, **{**given, "n_ctx": 100_000}).context == 100_000  # type: ignore[arg-type]
    assert plan(SMALL, **{**given, "n_ctx": 200_000}).context == 131_072  # type: ignore[arg-type]
    stretched = plan(SMALL, **{**given, "n_ctx": 200_000}, stretched=True)  # type: ignore[arg-type]
    assert stretched.context == 200_000
    assert plan(SMALL, **given).cells == 4 * 8192  # type: ignore[arg-type]
    assert plan(SMALL, **{**given, "n_cells": 9000}).cells == 9000  # type: ignore[arg-type]


def test_where_memory_is_short_the_cache_shrinks_to_one_context() -> None:
    given = {"n_ctx": 8192, "parallel": 8, "n_cells": 0, **TYPES}
    much = plan(SMALL, available=200 * 1024 * MIB, **given)  # type: ignore[arg-type]
    some = plan(SMALL, available=20 * 1024 * MIB, **given)  # type: ignore[arg-type]
    little = plan(SMALL, available=5 * 1024 * MIB, **given)  # type: ignore[arg-type]
    assert much.cells == 8 * 8192
    assert 8192 < some.cells < 8 * 8192
    assert little.cells == 8192


def test_each_generation_has_its_own_memory_where_there_is_room_for_that() -> None:
    given = {"n_ctx": 8192, "parallel": 8, "n_cells": 0, **TYPES}
    much, little = 200 * 1024 * MIB, 20 * 1024 * MIB
    assert plan(SMALL, available=much, **given).separate  # type: ignore[arg-type]
    assert not plan(SMALL, available=little, **given).separate  # type: ignore[arg-type]
    given["kv_unified"] = "on"
    assert not plan(SMALL, available=much, **given).separate  # type: ignore[arg-type]
    given["kv_unified"] = "off"
    wanted = plan(SMALL, available=little, **given)  # type: ignore[arg-type]
    assert (wanted.separate, wanted.cells) == (True, 8 * 8192)


def test_beside_instead_or_not_at_all() -> None:
    wanted = MemoryPlan(100, 100, weights=600 * MIB, kv_cache=400 * MIB)
    assert check(wanted, None)
    assert check(wanted, 1000 * MIB)
    assert not check(wanted, 500 * MIB, freed=500 * MIB)
    with pytest.raises(OutOfMemory, match=r"1000 MiB \(600 MiB .*400 MiB .* 900 MiB"):
        check(wanted, 500 * MIB, freed=400 * MIB, whole=1000 * MIB)
    with pytest.raises(BindingError, match="900 MiB") as never:
        check(wanted, 500 * MIB, freed=400 * MIB, whole=999 * MIB)
    assert not isinstance(never.value, OutOfMemory), "no other model is unloaded for it"


def test_the_whole_memory_is_that_of_the_machine_or_of_its_control_group(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       1024 kB\nMemFree: 1 kB\n")
    assert whole(meminfo, tmp_path) == MIB
    (tmp_path / "memory.max").write_text("4096\n")
    assert whole(meminfo, tmp_path) == 4096
    (tmp_path / "memory.max").write_text("max\n")
    assert whole(meminfo, tmp_path) == MIB
    assert whole(tmp_path / "none", tmp_path) is None


def test_available_is_the_smaller_of_machine_and_control_group(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9000 kB\nMemAvailable:    5000 kB\n")
    assert available(meminfo, tmp_path) == 5000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert available(meminfo, tmp_path) == 5000 * 1024
    (tmp_path / "memory.max").write_text("3000\n")
    (tmp_path / "memory.stat").write_text("anon 4\ninactive_file 300\n")
    assert available(meminfo, tmp_path) == 2300
    assert available(tmp_path / "absent", tmp_path / "absent") is None


def test_files_that_others_map_are_not_available(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemAvailable:    5000 kB\n")
    assert available(meminfo, tmp_path, mapped=1024) == 4999 * 1024
    assert available(meminfo, tmp_path, mapped=9000 * 1024) == -4000 * 1024


@pytest.mark.parametrize(
    ("mapped", "active", "inactive", "room"),
    [
        (0, 700, 200, 1200),  # active pages count as used
        (500, 500, 200, 1200),  # as far as they are mapped ones, only once
        (500, 400, 200, 1100),  # some mapped ones are inactive
        (500, 0, 600, 1100),  # or all of them
        (500, 0, 0, 500),  # or they are not read yet
        (5000, 0, 0, -4000),
    ],
)
def test_mapped_pages_are_counted_once_in_a_control_group(
    tmp_path: Path, mapped: int, active: int, inactive: int, room: int
) -> None:
    (tmp_path / "memory.max").write_text("3000\n")
    (tmp_path / "memory.current").write_text("2000\n")
    stat = f"anon 9\ninactive_anon 7\ninactive_file {inactive}\nactive_file {active}\n"
    (tmp_path / "memory.stat").write_text(stat)
    assert available(tmp_path / "absent", tmp_path, mapped) == room


def test_finished_generations_get_a_share_of_what_is_left() -> None:
    given = {"n_ctx": 8192, "parallel": 1, "n_cells": 0, **TYPES}
    much = plan(SMALL, available=13 * 1024 * MIB, **given)  # type: ignore[arg-type]
    assert much.prefix_cache == 1024 * MIB
    assert plan(SMALL, available=10, **given).prefix_cache == 0  # type: ignore[arg-type]
    assert plan(SMALL, available=10, **given, kept_memory=77).prefix_cache == 77 * MIB  # type: ignore[arg-type]
