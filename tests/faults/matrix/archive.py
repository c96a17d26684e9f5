"""Row 51: the archive writer, whose tables and offsets are one."""

from tests.faults.row import Row, fill_disk, freeze, in_turn, kill, kill_at, times

ROWS = (
    Row(
        number=51,
        what="kill -9 the archive before a commit, after it and at any moment, 10 times; frozen; its disk full",
        body=in_turn(
            times(3, kill_at("archive.before_commit"), kill_at("archive.after_commit")),
            times(4, kill("archive")),
            freeze("archive", 15),
            fill_disk("archive"),
        ),
        small_disks=True,
    ),
)
