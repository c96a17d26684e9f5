"""Topics agree with one another and with what is put into them."""

from infra.contracts import codec, events, topics


def test_names_are_unique():
    names = [t.name for t in topics.TOPICS]
    assert len(set(names)) == len(names)


def test_every_topic_of_the_module_is_listed():
    assert {v for v in vars(topics).values() if isinstance(v, topics.Topic)} == set(topics.TOPICS)


def test_a_dead_letter_outlives_and_outsizes_its_parents():
    for parent in (topics.INGEST, topics.BACKFILL, topics.EVENTS, topics.EVENTS_BACKFILL):
        assert topics.DLQ.retention_ms >= parent.retention_ms
        assert topics.DLQ.max_message_bytes > parent.max_message_bytes


def test_lanes_keep_their_partition_count():
    by_name = {t.name: t for t in topics.TOPICS}
    for source, target in topics.LANES.items():
        assert by_name[source].partitions == target.partitions


def test_a_frame_fits_its_topic():
    assert topics.INGEST.max_message_bytes > codec.MAX_FRAME_BYTES
    assert topics.EVENTS.max_message_bytes > events.MAX_EVENT_BYTES
