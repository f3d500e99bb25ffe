"""The CMake arguments with which llama.cpp is compiled."""

import shlex

import pytest

from tools.build_llama_cpp import NO_AMX, cmake_arguments


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", ["-DLLAVA_BUILD=OFF", f"-DCMAKE_C_FLAGS={NO_AMX}", f"-DCMAKE_CXX_FLAGS={NO_AMX}"]),
        (
            "-DGGML_CUDA=on '-DCMAKE_CXX_FLAGS=-O2 -g'",
            [
                "-DLLAVA_BUILD=OFF", "-DGGML_CUDA=on", f"-DCMAKE_C_FLAGS={NO_AMX}",
                f"-DCMAKE_CXX_FLAGS=-O2 -g {NO_AMX}",
            ],
        ),
        (
            "-DCMAKE_C_FLAGS:STRING=-Og",
            ["-DLLAVA_BUILD=OFF", f"-DCMAKE_C_FLAGS=-Og {NO_AMX}", f"-DCMAKE_CXX_FLAGS={NO_AMX}"],
        ),
    ],
)  # fmt: skip
def test_the_user_s_cmake_arguments_stay_beside_ours(given: str, expected: list[str]) -> None:
    assert shlex.split(cmake_arguments(given, NO_AMX)) == expected


def test_where_the_compiler_knows_no_amx_its_flags_are_left_alone() -> None:
    assert cmake_arguments("-DGGML_METAL=on", "") == "-DLLAVA_BUILD=OFF -DGGML_METAL=on"
