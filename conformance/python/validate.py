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
        for error in validators[kind].iter_errors(event):
            deepest = max([error, *(error.context or [])], key=lambda error: len(error.absolute_path))
            place = ".".join("0" if isinstance(step, int) else step for step in deepest.absolute_path)
            misfits.add(f"{kind} at {place or 'the top'}: {deepest.message[:200]}")
print(f"{events} events")
if misfits:
    sys.exit("\n".join(sorted(misfits)))
