"""Which Java is taken, and what is said when there is none."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from infra.local.java import (
    NEEDED_MODULE,
    JavaError,
    Runtime,
    candidates,
    feature_release,
    find,
    inspect,
    parse_release_file,
    parse_version_output,
)


def runtime(name: str, version: int, *, complete: bool = True) -> Runtime:
    return Runtime(home=Path("/java", name), version=version, full_version=f"{version}.0.1", complete=complete)


def search(*runtimes: Runtime, environ: Mapping[str, str] | None = None) -> Runtime:
    by_home = {java.home: java for java in runtimes}

    def homes(_: Mapping[str, str]) -> Iterator[Path]:
        return iter(by_home)

    return find(environ or {}, homes=homes, look=by_home.get)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("17.0.15", 17), ("1.8.0_402", 8), ("21", 21), ("25-ea", 25), ("", 0), ("unknown", 0)],
)
def test_feature_release(text: str, expected: int) -> None:
    assert feature_release(text) == expected


def test_release_file_names_version_and_modules() -> None:
    text = f'IMPLEMENTOR="X"\nJAVA_VERSION="17.0.15"\nMODULES="java.base {NEEDED_MODULE}"\n'
    assert parse_release_file(text) == ("17.0.15", True)
    assert parse_release_file('JAVA_VERSION="17.0.9"\nMODULES="java.base java.sql"\n') == ("17.0.9", False)
    assert parse_release_file('JAVA_VERSION="21.0.1"\n') == ("21.0.1", True)
    assert parse_release_file("") == ("", True)


def test_version_output() -> None:
    assert parse_version_output('openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime Environment') == "17.0.15"
    assert parse_version_output("command not found") == ""


def test_the_preferred_release_wins_over_an_earlier_one_in_the_list() -> None:
    assert search(runtime("25", 25), runtime("21", 21), runtime("17", 17)).version == 17


def test_21_is_taken_when_there_is_no_17() -> None:
    assert search(runtime("25", 25), runtime("21", 21)).version == 21


def test_a_runtime_without_the_vector_module_is_passed_over() -> None:
    assert search(runtime("small", 17, complete=False), runtime("21", 21)).version == 21


def test_error_lists_what_was_found_and_says_what_to_install() -> None:
    with pytest.raises(JavaError) as caught:
        search(runtime("25", 25), runtime("small", 17, complete=False))
    text = str(caught.value)
    assert "/java/25: version 25.0.1" in text
    assert f"without the module {NEEDED_MODULE}" in text
    assert "apt install openjdk-17-jre-headless" in text


def test_error_when_nothing_was_found() -> None:
    with pytest.raises(JavaError, match="No Java was found"):
        search()


def test_the_home_asked_for_is_the_only_candidate() -> None:
    asked = runtime("25", 25)
    with pytest.raises(JavaError):
        search(asked, runtime("17", 17), environ={"HUBBUB_JAVA_HOME": str(asked.home)})


def install(home: Path, *, release: str | None, prints: str = "") -> Path:
    executable = home / "bin" / "java"
    executable.parent.mkdir(parents=True)
    executable.write_text(f"#!/bin/sh\necho '{prints}' >&2\n")
    executable.chmod(0o755)
    if release is not None:
        (home / "release").write_text(release)
    return home


def test_inspect_reads_the_release_file(tmp_path: Path) -> None:
    found = inspect(install(tmp_path, release='JAVA_VERSION="17.0.1"\n'))
    assert found is not None
    assert (found.version, found.usable) == (17, True)


def test_inspect_asks_java_when_there_is_no_release_file(tmp_path: Path) -> None:
    found = inspect(install(tmp_path, release=None, prints='openjdk version "21.0.2"'))
    assert found is not None
    assert found.version == 21


def test_inspect_finds_nothing_where_there_is_no_java(tmp_path: Path) -> None:
    assert inspect(tmp_path) is None


def test_the_environment_comes_before_the_path(tmp_path: Path) -> None:
    on_path = install(tmp_path / "path", release=None)
    homes = list(candidates({"JAVA_HOME": "/java/home", "PATH": str(on_path / "bin")}))
    assert homes[:2] == [Path("/java/home"), on_path.resolve()]
