"""The lock, and jars fetched, adopted or refused."""

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local import jars
from infra.local.errors import JarError
from infra.local.jars import Engine, Jar, parse_lock, render_lock
from infra.local.lock import ROOTS, artifact_of, parse_dependency_list, pom

CONTENT = b"a jar" * 1000
Fetch = Callable[..., Awaitable[list[tuple[int, int]]]]


def jar(coordinate: str = "org.x:tool:1.0", content: bytes = CONTENT, engine: Engine = "kafka") -> Jar:
    return Jar(sha256=hashlib.sha256(content).hexdigest(), size=len(content), engine=engine, coordinate=coordinate)


def test_where_a_jar_lies_in_a_repository() -> None:
    assert jar("org.x.y:tool:1.0").maven_path == "org/x/y/tool/1.0/tool-1.0.jar"
    assert jar("org.x:tool:1.0:linux-x86_64").maven_path == "org/x/tool/1.0/tool-1.0-linux-x86_64.jar"


names = st.from_regex(r"[a-z][a-z0-9.\-]{0,20}", fullmatch=True)


@given(
    st.lists(
        st.builds(
            Jar,
            sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
            size=st.integers(min_value=0, max_value=10**9),
            engine=st.sampled_from(jars.ENGINES),
            coordinate=st.lists(names, min_size=3, max_size=4).map(":".join),
        ),
        max_size=5,
    )
)
def test_a_rendered_lock_reads_back(many: list[Jar]) -> None:
    assert Counter(parse_lock(render_lock(many))) == Counter(many)


@pytest.mark.parametrize(
    "line",
    [
        "abc 1 kafka a:b:1",
        f"{'0' * 64} x kafka a:b:1",
        f"{'0' * 64} 1 redis a:b:1",
        f"{'0' * 64} 1 kafka a:b",
        "one two",
    ],
)
def test_a_malformed_line_is_named(line: str) -> None:
    with pytest.raises(JarError, match="line 2"):
        parse_lock(f"# comment\n{line}\n")


def test_the_committed_lock_is_canonical_and_holds_every_root() -> None:
    text = jars.LOCK.read_text()
    locked = parse_lock(text)
    assert render_lock(locked) == text
    for engine, roots in ROOTS.items():
        assert set(roots) <= {one.coordinate for one in locked if one.engine == engine}


def test_maven_listing_with_and_without_classifier_and_module() -> None:
    listing = (
        "\nThe following files have been resolved:\n"
        "   org.x:tool:jar:1.0:compile:/m/tool-1.0.jar -- module org.x (auto)\n"
        "   io.n:native:jar:linux-x86_64:2.0.Final:runtime:/m/native-2.0.Final-linux-x86_64.jar\n"
        "   org.x:kit:jar:1.0:test:/m/kit-1.0.jar\n"
    )
    assert parse_dependency_list(listing) == {
        "org.x:tool:1.0": Path("/m/tool-1.0.jar"),
        "io.n:native:2.0.Final:linux-x86_64": Path("/m/native-2.0.Final-linux-x86_64.jar"),
    }


def test_a_pom_names_what_is_wanted() -> None:
    assert "<artifactId>tool</artifactId><version>1.0</version>" in pom(("org.x:tool:1.0",))


def test_the_artifact_in_a_file_name() -> None:
    assert artifact_of("spark-tags_2.13-4.2.0.jar") == "spark-tags_2.13"
    assert artifact_of("kafka-clients-3.9.2.jar") == "kafka-clients"


@pytest.fixture
def fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fetch:
    """`ensure` with a repository that is a function."""
    client = httpx.AsyncClient

    async def ensure(handler: Callable[[httpx.Request], httpx.Response], *wanted: Jar) -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []
        monkeypatch.setattr(
            httpx, "AsyncClient", lambda **options: client(transport=httpx.MockTransport(handler), **options)
        )
        await jars.ensure(
            wanted,
            cache=tmp_path / "cache",
            url="http://repository.test/maven2/",
            maven_local=tmp_path / "m2",
            progress=lambda done, total: seen.append((done, total)),
        )
        return seen

    return ensure


def left_over(tmp_path: Path) -> list[Path]:
    return list(tmp_path.rglob("*.part"))


async def test_missing_jars_are_downloaded_once(fetch: Fetch, tmp_path: Path) -> None:
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, content=CONTENT)

    wanted = [jar("org.x:tool:1.0"), jar("org.x:tool:1.1")]
    seen = await fetch(handler, *wanted)
    assert seen[-1] == (2 * len(CONTENT), 2 * len(CONTENT))
    assert await fetch(handler, *wanted) == []
    assert sorted(asked) == ["/maven2/org/x/tool/1.0/tool-1.0.jar", "/maven2/org/x/tool/1.1/tool-1.1.jar"]
    assert [path.read_bytes() for path in jars.paths(wanted, tmp_path / "cache")] == [CONTENT, CONTENT]
    assert left_over(tmp_path) == []


async def test_other_content_is_refused_and_not_kept(fetch: Fetch, tmp_path: Path) -> None:
    with pytest.raises(JarError, match="another checksum"):
        await fetch(lambda _: httpx.Response(200, content=b"b jar" * 1000), jar())
    assert not jar().path(tmp_path / "cache").exists()
    assert left_over(tmp_path) == []


async def test_a_server_error_is_tried_again(fetch: Fetch) -> None:
    answers = iter([httpx.Response(503), httpx.Response(200, content=CONTENT)])
    seen = await fetch(lambda _: next(answers), jar())
    assert seen[-1] == (len(CONTENT), len(CONTENT))


async def test_a_jar_that_is_not_there_is_named(fetch: Fetch) -> None:
    with pytest.raises(JarError, match=r"org\.x:tool:1\.0 could not be fetched from http://repository\.test/.*404"):
        await fetch(lambda _: httpx.Response(404), jar())


@pytest.mark.parametrize(("content", "adopted"), [(CONTENT, True), (b"b jar" * 1000, False)])
async def test_mavens_own_copy_is_taken_if_it_is_the_same(
    fetch: Fetch, tmp_path: Path, content: bytes, adopted: bool
) -> None:
    source = tmp_path / "m2" / jar().maven_path
    source.parent.mkdir(parents=True)
    source.write_bytes(content)
    asked: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, content=CONTENT)

    await fetch(handler, jar())
    assert bool(asked) is not adopted
    assert jar().path(tmp_path / "cache").read_bytes() == CONTENT
