"""Routing as the documentation of Quix Streams shows it: a filter and a sink on a data frame of a topic.

`python quix_router.py BOOTSTRAP SOURCE TARGET GROUP`. It runs in an environment of its own, since it wants older
libraries than ours.
"""

import sys

from quixstreams import Application


def main() -> None:
    """Run until killed."""
    bootstrap, source, target, group = sys.argv[1:]
    app = Application(
        broker_address=bootstrap,
        consumer_group=group,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        producer_extra_config={"acks": "all", "enable.idempotence": True, "compression.type": "lz4"},
        loglevel="WARNING",
    )
    events = app.dataframe(app.topic(source, value_deserializer="json"))
    wanted = events.filter(lambda event: event["type"] == "message.sent" and "viagra" not in event["text"].lower())
    wanted.to_topic(app.topic(target, value_serializer="json"))
    app.run()


if __name__ == "__main__":
    main()
