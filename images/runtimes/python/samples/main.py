"""A function: seussctl calls handler() with the event of each invocation.

What stands at the top runs once, when the function is deployed; its memory is in the
snapshot that every invocation starts from.
"""

import json

GREETINGS = {"de": "Grüezi", "en": "Hello", "fr": "Salut"}


def handler(event, context):
    name = event.get("name", "world")
    greeting = GREETINGS.get(event.get("language", "en"), "Hello")
    print(json.dumps({"request": context.aws_request_id, "name": name}))  # into the log
    return {"text": f"{greeting}, {name}!"}
