"""The session's settings, and the Java it may run on."""

from pathlib import Path

import pytest

from analytics.session import find_java, spark_options
from analytics.settings import Analytics
from infra.runtime.errors import PreconditionError


def java(folder: Path, version: str) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "java").write_text("")
    (folder / "bin" / "java").chmod(0o755)
    (folder / "release").write_text(f'IMPLEMENTOR="Test"\nJAVA_VERSION="{version}"\n')
    return folder


def test_the_java_asked_for_comes_before_the_usual_one(tmp_path: Path) -> None:
    asked, usual = java(tmp_path / "asked", "17.0.15"), java(tmp_path / "usual", "21.0.2")
    assert find_java(asked, {"JAVA_HOME": str(usual)}) == asked
    assert find_java(None, {"JAVA_HOME": str(usual)}) == usual
    assert find_java(None, {"PATH": str(usual / "bin")}) == usual


@pytest.mark.parametrize("version", ["25.0.1", "11.0.2", "1.8.0"])
def test_another_java_is_refused_by_name(tmp_path: Path, version: str) -> None:
    with pytest.raises(PreconditionError, match="needs Java 17 or 21"):
        find_java(java(tmp_path / "j", version), {})


def test_no_java_at_all_is_said(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match="there is none"):
        find_java(None, {"PATH": str(tmp_path)})
    with pytest.raises(PreconditionError, match="is no Java home"):
        find_java(tmp_path, {})


def test_jars_are_on_the_launcher_s_class_path() -> None:
    options = spark_options(Analytics(jars="/a.jar,/b.jar"))
    assert options["spark.driver.extraClassPath"] == "/a.jar:/b.jar"
    assert "spark.jars" not in options


def test_a_cluster_s_executors_are_given_the_jars_and_the_driver_its_own_address() -> None:
    options = spark_options(Analytics(jars="/a.jar", master="spark://spark:7077", shuffle_partitions=8))
    assert options["spark.jars"] == "/a.jar"
    assert options["spark.sql.shuffle.partitions"] == "8"
    assert "spark.driver.host" not in options
