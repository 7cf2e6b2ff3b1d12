"""What producers write, as schemas for other languages: JSON Schema 2020-12 and AsyncAPI 3.

Both are made of the types that the pipeline decodes with, so they cannot differ from them. Fields
that a schema does not know are read over: a schema allows them.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from inspect import cleandoc
from typing import Any, Final, get_args

import msgspec

from streams.client.intake import PublicEvent, topic_of
from streams.core.receipts import Receipt
from streams.core.traffic import Tick
from streams.core.waiting import Waiting
from streams.runtime.codec import ARRAY_MAX
from streams.runtime.headers import PRODUCER
from streams.settings import PUBLISHED, Settings

Schema = dict[str, Any]

_KEY: Final[Schema] = {
    "type": "string",
    "description": "The video. Its murmur2 places the record, as Kafka's Java client does.",
}
_TICK_KEY: Final[Schema] = {
    "type": "string",
    "description": "The partition of the log, which is the record's own partition too.",
}
_WAITING_KEY: Final[Schema] = {
    "type": "string",
    "description": "The cause, a colon and the video; the last record of a key counts. A record "
    "without a value says that nothing waits there any more.",
}
_KEYS: Final[Mapping[str, Schema]] = {"traffic": _TICK_KEY, "waiting": _WAITING_KEY}
_SENT: Final[Mapping[str, type]] = {
    "decisions": Receipt,
    "traffic": Tick,
    "waiting": Waiting,
}
"""Topics that producers do not write, and what stands in them."""


def json_schema() -> Schema:
    """Return the schema of every record that a producer may write, and of each topic in `$defs`."""
    template = "#/$defs/{name}"
    definitions = _schemas(template, get_args(PublicEvent))
    for topic in PUBLISHED:
        definitions[topic] = _record(topic, template)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Records that producers write",
        "description": "JSON in UTF-8. `$defs` holds each topic, by its name without prefix.",
        "anyOf": [{"$ref": template.format(name=topic)} for topic in PUBLISHED],
        "$defs": definitions,
    }


def asyncapi(settings: Settings) -> Schema:
    """Return the pipeline as AsyncAPI: what it receives from producers, and what it sends."""
    template = "#/components/schemas/{name}"
    schemas = _schemas(template, (*get_args(PublicEvent), *_SENT.values()))
    channels, operations = {}, {}
    for topic in (*PUBLISHED, *_SENT):
        channels[topic] = _channel(topic, settings.topic(topic))
        operations[topic] = {
            "action": "receive" if topic in PUBLISHED else "send",
            "channel": {"$ref": f"#/channels/{topic}"},
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "streams",
            "version": version("streams"),
            "description": "Uploads and feedback in, decisions and traffic out. JSON in UTF-8.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {
            "schemas": schemas,
            "messages": {topic: _message(topic, template) for topic in channels},
        },
    }


def _schemas(template: str, kinds: Sequence[type]) -> Schema:
    """Return the schema of each type, and of the types of their fields, by name."""
    _, components = msgspec.json.schema_components(kinds, ref_template=template)
    for schema in components.values():
        if "description" in schema:
            schema["description"] = cleandoc(schema["description"])
    return components


def _kinds(topic: str) -> list[type]:
    return [kind for kind in get_args(PublicEvent) if topic_of(kind) == topic]


def _record(topic: str, template: str) -> Schema:
    """Return the schema of a record of a topic: an event, in the log also an array of them."""
    refs = [{"$ref": template.format(name=kind.__name__)} for kind in _kinds(topic)]
    if topic != "interactions":
        return {"anyOf": refs}
    array = {
        "type": "array",
        "description": "Events whose videos all belong to the record's partition.",
        "items": {"anyOf": refs},
        "minItems": 1,
        "maxItems": ARRAY_MAX,
    }
    return {"anyOf": [*refs, array]}


def _channel(topic: str, name: str) -> Schema:
    return {
        "address": name,
        "messages": {topic: {"$ref": f"#/components/messages/{topic}"}},
        "bindings": {"kafka": {"topic": name, "bindingVersion": "0.5.0"}},
    }


def _message(topic: str, template: str) -> Mapping[str, Any]:
    key = _KEYS.get(topic, _KEY)
    message: Schema = {
        "name": topic,
        "contentType": "application/json",
        "bindings": {"kafka": {"key": key, "bindingVersion": "0.5.0"}},
    }
    if topic in _SENT:
        return message | {"payload": {"$ref": template.format(name=_SENT[topic].__name__)}}
    name = {"type": "string", "description": "The producer's name, for operators; optional."}
    headers = {"type": "object", "properties": {PRODUCER: name}}
    return message | {"headers": headers, "payload": _record(topic, template)}
