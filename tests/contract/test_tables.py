"""The keyspace: migrations in order, statements that name real tables, columns that follow the registry."""

import re

from infra.contracts import interactions, metrics, tables

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
    for measure in metrics.MEASURES:
        assert measure.name in columns
        assert (f"{measure.name}_sketch" in columns) == (measure.kind == "distinct")


def test_every_interaction_reads_a_column():
    columns = set(re.findall(r"^\s+(\w+) ", CREATED["interaction_windows"], re.MULTILINE))
    assert set(tables.INTERACTION_COLUMNS) <= columns
    for metric in interactions.INTERACTIONS.values():
        assert metric.measure in tables.INTERACTION_COLUMNS
        assert metric.name not in metrics.METRICS


def test_every_metric_reads_a_measure():
    names = {m.name: m for m in metrics.MEASURES}
    for metric in metrics.METRICS.values():
        assert metric.approximate == (names[metric.measure].kind == "distinct")
