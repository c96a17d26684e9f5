"""Retention, lifecycle and sessions counted once more: SQL in DuckDB, from the definitions in docs/metrics.md alone.

It shares nothing with what it is compared with. Events come to it as JSON, not through the archive; and where the
reports lead a running count through somebody's events, it asks whether something exists: an event in the half hour
before, another client id in between, a day more than thirty days before.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import duckdb
import msgspec

from infra.contracts.reports import Cell
from tests.integration.analytics.archived import Fact

#: What a number is of: a list of a report or `figures`, the row's key, the column. A step's key is its start, in
#: seconds since 1970.
Place = tuple[str, str, str]

_LOAD: Final = """
CREATE TABLE facts AS SELECT outcome, unnest(event) FROM read_json($path, format = 'newline_delimited', columns = {
    outcome: 'VARCHAR',
    event: 'STRUCT(tenant VARCHAR, id VARCHAR, type VARCHAR, time TIMESTAMPTZ, received_at TIMESTAMPTZ,
                   user_id VARCHAR, anonymous_id VARCHAR, message_id VARCHAR, is_bot BOOLEAN, context JSON)'
})
"""
#: Of copies the first received; nothing held or blocked, by a rule or by a moderator since; no bots, nobody unnamed.
_DONE: Final = """
CREATE TABLE done AS
WITH once AS (
    SELECT DISTINCT ON (tenant, id) * FROM facts WHERE outcome = 'events' ORDER BY tenant, id, received_at
),
taken_down AS (SELECT tenant, message_id AS message FROM once WHERE type = 'message.blocked')
SELECT tenant, id, type, time, coalesce(user_id, anonymous_id) AS person, anonymous_id, context
FROM once ANTI JOIN taken_down ON taken_down.tenant = once.tenant
    AND taken_down.message = coalesce(once.message_id, once.id) AND once.type IN ('message.sent', 'message.edited')
WHERE type <> 'message.blocked' AND is_bot IS NOT TRUE AND coalesce(user_id, anonymous_id) IS NOT NULL
"""
#: In whole numbers, so that nothing is rounded before it is: percent with one decimal, half a tenth up.
_SHARE: Final = "CREATE MACRO share(part, whole) AS (2000 * part + whole)::BIGINT // (2 * whole)::BIGINT / 10"

#: Who was active in which calendar periods, and which periods are shown.
_VISITS: Final = """
WITH act AS (
    SELECT person, type = 'message.sent' AS wrote, timezone($zone, time)::DATE AS day,
        date_trunc($grain, timezone($zone, time))::DATE AS period
    FROM done
    WHERE tenant = $tenant AND day < $end
        AND type IN ('message.sent', 'message.edited', 'reaction.added', 'receipt.read', 'channel.joined')
),
came AS (SELECT DISTINCT person, period FROM act),
shown AS (
    SELECT ($last - n * $step::INTERVAL)::DATE AS period,
        timezone($zone, period + $step::INTERVAL) <= $as_of AS is_over
    FROM range($count) AS t(n)
),
"""
_RETENTION: Final = (
    _VISITS
    + """
member AS (
    SELECT 'first_time' AS section, person, min(period) AS cohort FROM act WHERE wrote GROUP BY person
    UNION ALL
    SELECT DISTINCT 'recurring', person, period FROM act WHERE wrote
),
cohort AS (SELECT section, cohort, count(*) AS size FROM member SEMI JOIN shown ON period = cohort GROUP BY ALL),
returned AS (SELECT section, cohort, period, count(*) AS people FROM member JOIN came USING (person) GROUP BY ALL),
cell AS (
    SELECT section, cohort, size, date_diff($grain, cohort, period) AS n, is_over, coalesce(people, 0) AS people
    FROM cohort JOIN shown ON period >= cohort LEFT JOIN returned USING (section, cohort, period)
),
mean AS (
    SELECT section, 'size' AS name, sum(size)::BIGINT AS value FROM cohort GROUP BY section
    UNION ALL
    SELECT section, $grain[1] || n, share(sum(people), sum(size)) FROM cell WHERE is_over GROUP BY section, n
),
today AS (
    SELECT timezone($zone, least($as_of, timezone($zone, $end::TIMESTAMP)) - INTERVAL 1 MICROSECOND)::DATE AS day
),
recent AS (SELECT DISTINCT person, act.day FROM act, today WHERE act.day BETWEEN today.day - 59 AND today.day)
SELECT section, cohort::VARCHAR, 'size', to_json(size) FROM cohort
UNION ALL
SELECT section, cohort::VARCHAR, $grain[1] || n, to_json(share(people, size)) FROM cell
UNION ALL
SELECT section, cohort::VARCHAR, 'open', to_json($grain[1] || min(n)) FROM cell WHERE NOT is_over GROUP BY ALL
UNION ALL
SELECT section, 'mean', name, to_json(value) FROM mean
UNION ALL
SELECT 'figures', '', name, to_json(value) FROM mean
WHERE section = 'first_time' AND name <> 'size' AND list_contains($figures, name)
UNION ALL
SELECT 'figures', '', 'size', to_json(coalesce(sum(size), 0)::BIGINT) FROM cohort WHERE section = 'first_time'
UNION ALL
SELECT 'figures', '', 'r30', to_json(count(DISTINCT person))
FROM recent WHERE EXISTS (FROM recent AS other WHERE other.person = recent.person AND recent.day - other.day > 30)
"""
)
_LIFECYCLE: Final = (
    _VISITS
    + """
stand AS (
    SELECT shown.period, person,
        bool_or(came.period = shown.period) AS now,
        bool_or(came.period = (shown.period - $step::INTERVAL)::DATE) AS just_before,
        bool_or(came.period < shown.period) AS ever_before
    FROM shown JOIN came ON came.period <= shown.period
    GROUP BY ALL
),
counted AS (
    SELECT period,
        count(*) FILTER (now) AS active,
        count(*) FILTER (now AND NOT ever_before) AS "new",
        count(*) FILTER (now AND just_before) AS "returning",
        count(*) FILTER (now AND ever_before AND NOT just_before) AS resurrecting,
        count(*) FILTER (just_before AND NOT now) AS dormant
    FROM stand GROUP BY period
),
long AS (UNPIVOT counted ON active, "new", "returning", resurrecting, dormant INTO NAME name VALUE people)
SELECT $grain || 's', epoch(timezone($zone, period::TIMESTAMP))::BIGINT::VARCHAR, name, to_json(people) FROM long
UNION ALL
SELECT 'figures', '', name, to_json(people) FROM long WHERE period = $last
"""
)
_SESSIONS: Final = """
WITH sign AS (
    SELECT person, coalesce(context->>'$.device.id', context->>'$.device', anonymous_id, '') AS device,
        context->>'$.session_id' AS said, time AS moment,
        row_number() OVER (PARTITION BY person, device ORDER BY time, id) AS n
    FROM done
    WHERE tenant = $tenant AND type <> 'receipt.delivered'
        AND time >= $start - INTERVAL 72 HOURS AND time < $end + INTERVAL 24 HOURS
),
-- A stretch begins where nothing was done in the half hour before.
beginning AS (
    SELECT person, device, moment AS stretch FROM (SELECT DISTINCT person, device, moment FROM sign)
    QUALIFY count(*) OVER (PARTITION BY person, device ORDER BY moment
        RANGE BETWEEN INTERVAL 30 MINUTES PRECEDING AND CURRENT ROW) = 1
),
placed AS (
    SELECT sign.*, stretch FROM sign ASOF JOIN beginning
    ON sign.person = beginning.person AND sign.device = beginning.device AND sign.moment >= beginning.stretch
),
-- A client's id can be believed that is of one stretch, without another one in between.
of_one AS (
    SELECT said, any_value(person) AS person, any_value(device) AS device, any_value(stretch) AS stretch,
        min(n) AS n, max(n) AS final
    FROM placed WHERE said IS NOT NULL GROUP BY said HAVING count(DISTINCT (person, device, stretch)) = 1
),
believed AS (
    SELECT * FROM of_one WHERE NOT EXISTS (
        FROM placed WHERE placed.person = of_one.person AND placed.device = of_one.device
            AND placed.said <> of_one.said AND placed.n BETWEEN of_one.n AND of_one.final
    )
),
-- A session begins with a stretch, and with each id that follows another.
opening AS (
    SELECT person, device, min(n) AS n FROM placed GROUP BY person, device, stretch
    UNION
    SELECT person, device, n FROM believed
    QUALIFY row_number() OVER (PARTITION BY person, device, stretch ORDER BY n) > 1
),
opened AS (
    SELECT placed.*, opening.n AS opening FROM placed ASOF JOIN opening
    ON placed.person = opening.person AND placed.device = opening.device AND placed.n >= opening.n
),
cut AS (
    SELECT *, epoch_us(moment) AS us,
        (us - min(us) OVER (PARTITION BY person, device, opening)) // 86_400_000_000 AS part
    FROM opened
),
gaps AS (
    SELECT *, lead(us) OVER (PARTITION BY person, device, opening, part ORDER BY n) - us AS gap FROM cut
),
stay AS (
    SELECT person, min(moment) AS began, (max(us) - min(us)) / 1e6 AS seconds,
        coalesce(sum(CASE WHEN gap > 300_000_000 THEN 300_000_000 ELSE gap END), 0)::BIGINT AS engaged
    FROM gaps GROUP BY person, device, opening, part HAVING began >= $start AND began < $end
),
of_person AS (SELECT person, sum(engaged) / 1e6 AS engaged FROM stay GROUP BY person),
known AS (
    SELECT *, (epoch_us(began) - epoch_us($start)) // 3_600_000_000 AS hour,
        CASE WHEN seconds < 60 THEN '00:00 to 00:01' WHEN seconds < 300 THEN '00:01 to 00:05'
            WHEN seconds < 900 THEN '00:05 to 00:15' WHEN seconds < 1_800 THEN '00:15 to 00:30'
            WHEN seconds < 3_600 THEN '00:30 to 01:00' WHEN seconds < 10_800 THEN '01:00 to 03:00'
            WHEN seconds < 28_800 THEN '03:00 to 08:00' ELSE '08:00 to 24:00' END AS length
    FROM stay
),
place AS (
    SELECT * FROM (
        SELECT 'figures' AS section, '' AS key, * FROM known
        UNION ALL
        SELECT 'hours', (epoch_us($start) // 1_000_000 + 3600 * hour)::BIGINT::VARCHAR, * FROM known
        UNION ALL
        SELECT 'top_users', person, * FROM known
        UNION ALL
        SELECT 'lengths', length, * FROM known
    )
),
counted AS (
    SELECT section, key, count(*)::DOUBLE AS sessions, count(DISTINCT person)::DOUBLE AS people,
        sessions / people AS sessions_per_person, quantile_cont(seconds, 0.5) AS median,
        quantile_cont(seconds, 0.9) AS p90, sum(engaged) / 1e6 AS engaged
    FROM place GROUP BY section, key
)
SELECT section, key, name, to_json(value)
FROM (UNPIVOT counted ON sessions, people, sessions_per_person, median, p90, engaged INTO NAME name VALUE value)
UNION ALL
SELECT 'figures', '', 'engaged_per_person', to_json(quantile_cont(engaged, 0.5)) FROM of_person
"""


class Recount:
    """What happened, in DuckDB, and the numbers of one tenant's calendar periods counted from it."""

    def __init__(self, facts: Iterable[Fact], folder: Path) -> None:
        path = folder / "facts.jsonl"
        encoder = msgspec.json.Encoder()
        with path.open("wb") as file:
            for event, outcome in facts:
                file.write(encoder.encode({"outcome": outcome, "event": event}) + b"\n")
        self._database = duckdb.connect()
        self._database.execute("SET TimeZone = 'UTC'")
        self._database.execute(_LOAD, {"path": str(path)})
        self._database.execute(_DONE)
        self._database.execute(_SHARE)

    def close(self) -> None:
        self._database.close()

    def retention(self, figures: Sequence[str], **period: Any) -> dict[Place, Cell]:
        """Cohorts and R30, of a period as `lifecycle` takes it."""
        return self._numbers(_RETENTION, {**_calendar(**period), "figures": list(figures)})

    def lifecycle(self, **period: Any) -> dict[Place, Cell]:
        """Who was new, returning, resurrecting and dormant, in `count` periods up to and with the one of `last`."""
        return self._numbers(_LIFECYCLE, _calendar(**period))

    def sessions(self, *, tenant: str, start: datetime, end: datetime) -> dict[Place, Cell]:
        """The sessions that began between these moments."""
        return self._numbers(_SESSIONS, {"tenant": tenant, "start": start, "end": end})

    def _numbers(self, query: str, parameters: Mapping[str, Any]) -> dict[Place, Cell]:
        used = {name: value for name, value in parameters.items() if f"${name}" in query}
        rows = self._database.execute(query, used).fetchall()
        return {(section, key, name): json.loads(value) for section, key, name, value in rows}


def _calendar(
    *, tenant: str, zone: ZoneInfo, grain: str, last: date, end: date, count: int, as_of: datetime
) -> dict[str, Any]:
    return {
        **{"tenant": tenant, "zone": zone.key, "grain": grain, "step": f"1 {grain}"},
        **{"last": last, "end": end, "count": count, "as_of": as_of},
    }
