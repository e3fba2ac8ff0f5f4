"""Which stream of an ASAP::O source is read: one that was chosen, or all in the order of their creation."""

from collections.abc import Sequence
from dataclasses import dataclass

from braggstream.sources.asapo_client import StreamInfo


@dataclass(slots=True)
class StreamState:
    """What is known of one stream."""

    name: str
    size: int = 0
    """Its last message, as far as is known."""
    read_to: int = 0
    """Its last message when its end was last met."""
    is_at_end: bool = False
    """Whether its end was met, and nothing has come since."""
    is_finished: bool = False
    """Whether its sender has said that there will be no more, and its end was met."""
    is_owed: bool = False
    """Whether messages that another session had and did not acknowledge may come again."""

    @property
    def has_more(self) -> bool:
        """Whether it may hold messages that were not handed out."""
        return not self.is_finished and not self.is_at_end


class StreamOrder:
    """Chooses the stream to read, and remembers which were read to their end.

    A stream without an end mark is left when a later one has messages, and read again when it grows: senders forget
    to finish streams, and messages come late.
    """

    def __init__(self, chosen: str | None, *, follow: bool) -> None:
        self._states: dict[str, StreamState] = {}
        self.is_listing = chosen is None
        """Whether the streams of the source have to be listed."""
        self._follows = follow
        self._turn = 0
        if chosen is not None:
            self._states[chosen] = StreamState(chosen)

    def __getitem__(self, name: str) -> StreamState:
        return self._states[name]

    @property
    def names(self) -> tuple[str, ...]:
        """All streams that are known."""
        return tuple(self._states)

    def listed(self, infos: Sequence[StreamInfo]) -> None:
        """Take note of a list of the source's streams, in the order of their creation."""
        states = {info.name: self._states.get(info.name) or StreamState(info.name) for info in infos}
        for info in infos:
            state = states[info.name]
            state.size = max(state.size, info.size)
            state.is_at_end = state.is_at_end and state.size <= state.read_to
        self._states = {**states, **{name: state for name, state in self._states.items() if name not in states}}

    def current(self) -> str | None:
        """The first stream that has messages; else those where some may come, in turn; None where there is none."""
        states = self._states.values()
        for state in states:
            if state.has_more:
                return state.name
        last = next((state for state in reversed(states) if not state.is_finished), None)
        waiting = [state for state in states if state.is_owed or state is last]
        if not waiting:
            return None
        self._turn += 1
        return waiting[self._turn % len(waiting)].name

    def at_end(self, name: str, id_max: int) -> None:
        """The end of a stream was met."""
        state = self._states[name]
        state.read_to, state.is_at_end = max(id_max, state.read_to), True
        state.size = max(state.size, state.read_to)

    def received(self, name: str, number: int) -> None:
        """A message of a stream has come."""
        state = self._states[name]
        state.is_at_end = False
        state.size = max(state.size, number)

    def finish(self, name: str, successor: str) -> bool:
        """The end of a finished stream was met, which may name a successor; gives whether that is news."""
        state = self._states[name]
        is_news, state.is_finished = not state.is_finished, True
        if self._follows and not self.is_listing and successor and successor not in self._states:
            self._states[successor] = StreamState(successor)
        return is_news

    @property
    def is_over(self) -> bool:
        """Whether no stream can follow."""
        return not self.is_listing and all(state.is_finished for state in self._states.values())

    @property
    def is_empty(self) -> bool:
        """Whether no stream has had a message yet."""
        return not any(state.is_finished or state.size for state in self._states.values())
