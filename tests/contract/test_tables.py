"""The keyspace: migrations in order, statements that name real tables, columns that follow the registry."""

import re

from infra.contracts import interactions, metrics, tables, windows

CREATED = {
    match.group(1): statement
    for migration in tables.migrations()
    for statement in migration.statements
    for match in [re.match(r"CREATE TABLE IF NOT EXISTS (\w+)", statement)]
    if match
}


def test_versions_have_no_gap():
    assert [m.version for m in tables.migrations()] == list(range(1, len(tables.migrations()) + 1))


def test_every_statement_names_a_table_of_the_schema():
    for statement in tables.STATEMENTS.values():
        found = re.search(r"(?:UPDATE|INTO|FROM) (\w+)", statement.cql)
        assert found, statement.name
        assert found.group(1) in CREATED, statement.name


def test_every_statement_is_named_as_it_is_called():
    for name, statement in vars(tables).items():
        if isinstance(statement, tables.Statement):
            assert statement.name == name.lower()


def test_no_statement_is_a_counter_or_a_lightweight_transaction():
    for statement in tables.STATEMENTS.values():
        assert " IF " not in statement.cql
        assert not re.search(r"\w+ = \w+ [+-]", statement.cql)


def test_every_measure_has_its_columns():
    columns = set(re.findall(r"^\s+(\w+) ", CREATED["metric_windows"], re.MULTILINE))
    for statement in (s for m in tables.migrations() for s in m.statements):
        if added := re.match(r"ALTER TABLE metric_windows ADD IF NOT EXISTS \((.*)\)", statement):
            columns |= {column.split()[0] for column in added.group(1).split(",")}
    for measure in metrics.MEASURES:
        assert measure.name in columns
        assert (f"{measure.name}_sketch" in columns) == (measure.kind == "distinct")


def test_every_interaction_reads_a_column():
    columns = set(re.findall(r"^\s+(\w+) ", CREATED["interaction_windows"], re.MULTILINE))
    assert set(tables.INTERACTION_COLUMNS) <= columns
    for metric in interactions.INTERACTIONS.values():
        assert metric.measure in tables.INTERACTION_COLUMNS
        assert metric.name not in metrics.METRICS


def test_every_metric_is_made_of_measures():
    kinds = {m.name: m.kind for m in metrics.MEASURES}
    for metric in metrics.METRICS.values():
        assert set(metric.grains) <= set(windows.BY_NAME)
        assert set(metric.tiles) <= set(metric.grains)
        people = [part for part in metric.parts if "distinct" in {kinds[name] for name in part.measures}]
        assert metric.approximate == bool(people)
        for part in metric.parts:
            # Counts can be added up; people are united, within a measure and over days.
            assert len(part.measures) == 1 if part in people else part.days == 1, metric.name
        assert metric.days == 1 or metric.grains == (windows.DAY.name,)
