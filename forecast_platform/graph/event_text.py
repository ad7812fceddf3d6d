"""Events as the text that Dagster stores, for batches of one step's materializations, which differ in little.

Dagster packs each event field by field, as often as there are partitions: half a millisecond for a materialization with
its metadata (https://github.com/dagster-io/dagster/issues/19829). The partitions of a step's output share all but
timestamp, partition, tags and links, so their text is made once, by Dagster, and those are put in.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any, cast

from dagster import AssetMaterialization, DagsterEventType, EventLogEntry, MetadataValue, UrlMetadataValue
from dagster._core.events import StepMaterializationData
from dagster_shared.serdes import serialize_value

_json = json.JSONEncoder(sort_keys=True).encode

_OPEN = tuple(f"{name} {uuid.uuid4().hex}" for name in ("timestamp", "partition", "tags"))
"""What stands for an event's own values in a form: nothing that any event holds."""


def made_partition(event: EventLogEntry) -> AssetMaterialization | None:
    """The materialization of a partition that the event records; None where it records something else.

    Read from the fields: the properties of events look their type up and check it each time.
    """
    inner = event.dagster_event
    if inner is None or inner.event_type_value != DagsterEventType.ASSET_MATERIALIZATION.value:
        return None
    made = cast(StepMaterializationData, inner.event_specific_data).materialization
    return made if made.partition is not None else None


class MaterializationTexts:
    """The texts of materializations of partitions: as `serialize_value` makes them, in a tenth of the time where one is
    like the one before it."""

    def __init__(self) -> None:
        self._form: _Form | None = None

    def text(self, event: EventLogEntry, made: AssetMaterialization) -> str:
        """The text of an event that records `made`."""
        if self._form is None or not self._form.fits(event, made):
            self._form = _Form.of(event, made)
        links = [cast(UrlMetadataValue, made.metadata[name]).url for name in _link_names(made)]
        return self._form.text(event.timestamp, made.partition, made.tags, *links)


@dataclass(frozen=True)
class _Form:
    """The text of a materialization whose timestamp, partition, tags and links are open."""

    frame: EventLogEntry
    made: AssetMaterialization
    pieces: tuple[str, ...]
    order: tuple[int, ...]
    """Which of them goes into each gap between two pieces."""

    @classmethod
    def of(cls, event: EventLogEntry, made: AssetMaterialization) -> _Form:
        names = _link_names(made)
        links = [f"link {number} {_OPEN[0]}" for number in range(len(names))]
        marks = [*_OPEN, *links]
        metadata = {**made.metadata, **dict(zip(names, map(MetadataValue.url, links), strict=True))}
        text = serialize_value(_with(event, made._replace(metadata=metadata), *_OPEN))
        places = sorted((text.index(_json(mark)), number) for number, mark in enumerate(marks))
        pieces, end = [], 0
        for place, number in places:
            pieces.append(text[end:place])
            end = place + len(_json(marks[number]))
        return cls(_frame(event, made), made, (*pieces, text[end:]), tuple(number for _, number in places))

    def fits(self, event: EventLogEntry, made: AssetMaterialization) -> bool:
        """Whether the event's text is this one but for the open values.

        Metadata but for links must be the same objects: an integer and a float of one value are equal, and their texts
        are not.
        """
        known = self.made.metadata
        return (
            made.metadata.keys() == known.keys()
            and all(
                value is known[name] or (_is_link(value) and _is_link(known[name]))
                for name, value in made.metadata.items()
            )
            and _frame(event, made) == self.frame
        )

    def text(self, *values: Any) -> str:
        """The event's text with its timestamp, partition, tags and links."""
        filled = [_json(values[number]) for number in self.order]
        return "".join(part for pair in zip(self.pieces, (*filled, ""), strict=True) for part in pair)


def _is_link(value: MetadataValue[Any]) -> bool:
    return type(value) is UrlMetadataValue


def _link_names(made: AssetMaterialization) -> list[str]:
    """Names of the links among the metadata, sorted: each partition may have links of its own."""
    return sorted(name for name, value in made.metadata.items() if _is_link(value))


def _frame(event: EventLogEntry, made: AssetMaterialization) -> EventLogEntry:
    """The event without what is its own, and without the metadata."""
    return _with(event, made._replace(metadata={}), None, None, None)


def _with(event: EventLogEntry, made: AssetMaterialization, timestamp: Any, partition: Any, tags: Any) -> EventLogEntry:
    """The event with these in place of its own; `_replace` checks no types."""
    inner = event.get_dagster_event()
    data = cast(StepMaterializationData, inner.event_specific_data)._replace(
        materialization=made._replace(partition=partition, tags=tags)
    )
    return event._replace(timestamp=timestamp, dagster_event=inner._replace(event_specific_data=data))
