"""`streams schema`: what producers write, for other languages."""

import json

import click

from streams.cli.live import example
from streams.cli.options import Settings, connection_options
from streams.cli.verb_group import VerbGroup
from streams.client.schemas import asyncapi, json_schema


@click.group(cls=VerbGroup, short_help="Export what producers write as a schema.")
def schema() -> None:
    """Export what producers write as JSON Schema or AsyncAPI, made of the types that decode it."""


@schema.command()
@connection_options("topic_prefix")
@click.option(
    "--format",
    "spelling",
    type=click.Choice(["jsonschema", "asyncapi"]),
    default="jsonschema",
    show_default=True,
    help="JSON Schema 2020-12, or AsyncAPI 3 with topics and keys.",
)
@example(
    "streams schema export > events.schema.json",
    "streams schema export --format asyncapi > streams.asyncapi.json",
)
def export(settings: Settings, spelling: str) -> None:
    """Print the schema; connects to nothing. Units stand in the descriptions of fields."""
    document = json_schema() if spelling == "jsonschema" else asyncapi(settings)
    click.echo(json.dumps(document, ensure_ascii=False, indent=2))
