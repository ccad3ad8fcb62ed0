"""A second small JSON function, for a machine to switch to and back."""

import json


def handler(event, context):
    return {"sorted": json.dumps(sorted(event["items"])), "name": event["name"].upper()}
