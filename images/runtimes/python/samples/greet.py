"""The small JSON function that the benchmark runs on every start path."""

import json


def handler(event, context):
    name = event["name"]
    items = event["items"]
    return {"greeting": f"Hello, {name}!", "items": json.loads(json.dumps(items)), "count": len(items)}
