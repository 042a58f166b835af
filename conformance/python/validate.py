"""Checks files of events, one JSON object a line, against the published schema. Prints what does not fit."""

import json
import pathlib
import sys

from jsonschema import Draft202012Validator

schema = json.loads((pathlib.Path(__file__).parent.parent / "schema.json").read_text())
definitions = schema["$defs"]


def kinds():
    """The schema of each event by its type: the union of all would only say that none of them fits."""
    for name in (option["$ref"].split("/")[-1] for option in definitions["RealtimeServerEvent"]["anyOf"]):
        kind = definitions[name]["properties"]["type"]
        for value in kind.get("enum", [kind.get("const")]):
            yield value, Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": definitions})


# Nulls that the hosted API sends where the schema has none, and that clients rely on: agents-js fails without the key
# `transcript`, pipecat without `status_details`.
NULLS = [
    ("response", "status_details"),
    ("response", "usage"),
    ("response", "metadata"),
    ("session", "include"),
    ("session", "audio", "input", "noise_reduction"),
    ("session", "audio", "input", "transcription", "language"),
    ("session", "audio", "input", "transcription", "prompt"),
    ("item", "content", "transcript"),
]


def without_nulls(value, path):
    """Takes the key at the end of the path out where it is null."""
    if isinstance(value, list):
        for item in value:
            without_nulls(item, path)
    elif isinstance(value, dict) and len(path) > 1:
        without_nulls(value.get(path[0]), path[1:])
    elif isinstance(value, dict) and value.get(path[0], 0) is None:
        del value[path[0]]


def leaves(error):
    """Of a union the misfits with the option that was meant: the one whose `type` fits, or that fits best."""
    if not error.context:
        return [error]
    options = {}
    for inner in error.context:
        options.setdefault(inner.schema_path[0], []).append(inner)

    def distance(inners):
        return sum(100 if list(inner.relative_path)[-1:] == ["type"] else 1 for inner in inners)

    return [leaf for inner in min(options.values(), key=distance) for leaf in leaves(inner)]


validators = dict(kinds())
misfits = set()
events = 0
for file in sys.argv[1:]:
    for line in open(file, encoding="utf-8"):
        event = json.loads(line)
        events += 1
        kind = event.get("type")
        if kind not in validators:
            misfits.add(f"{kind}: there is no such event")
            continue
        for path in NULLS:
            without_nulls(event, path)
        for error in (leaf for error in validators[kind].iter_errors(event) for leaf in leaves(error)):
            place = ".".join("0" if isinstance(step, int) else step for step in error.absolute_path)
            misfits.add(f"{kind} at {place or 'the top'}: {error.message[:200]}")
print(f"{events} events")
if misfits:
    sys.exit("\n".join(sorted(misfits)))
