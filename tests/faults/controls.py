"""The positive controls: mutants that the oracle must catch, or what it says of the rows means nothing."""

from dataclasses import dataclass

from tests.faults.row import Body
from tests.faults.scene import Scene


@dataclass(frozen=True, kw_only=True)
class Control:
    """A mutant of a role, the point at which it dies, and the claim that must fail."""

    name: str
    role: str
    point: str
    breaks: str
    quick: bool = True
    small_disks: bool = False

    @property
    def body(self) -> Body:
        """Have the mutant die once."""

        def body(scene: Scene) -> None:
            scene.stack.arm(self.point)
            scene.stack.fired(self.point)

        return body


CONTROLS = (
    Control(name="early_ack", role="router", point="mutant.early_ack", breaks="I1-I3"),
    Control(name="raising", role="router", point="mutant.raising", breaks="I1-I3", quick=False),
    Control(name="fire_and_forget", role="ingest", point="mutant.fire_and_forget", breaks="I1-I3"),
    Control(name="auto_commit", role="history", point="mutant.auto_commit", breaks="I1 history"),
    Control(name="rows_first", role="archive", point="mutant.rows_first", breaks="I1 the archive"),
    Control(name="increment", role="analytics", point="mutant.increment", breaks="I6"),
)
