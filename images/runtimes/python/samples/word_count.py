"""Counts words: each part of the text is counted by a call of its own, and the counts are put
together as the calls end. Deploy it as NAME with --call NAME."""

import re
from collections import Counter

import seuss

PART = 64 * 1024  # of the text, about


def parts(text):
    """Cuts a text between words."""
    begin = 0
    while begin < len(text):
        end = min(begin + PART, len(text))
        while end < len(text) and not text[end].isspace():
            end += 1
        yield text[begin:end]
        begin = end


def count(text):
    return Counter(re.findall(r"\w+", text.lower()))


def handler(event, context):
    if "part" in event:
        return count(event["part"])
    calls = [seuss.chain_call(context.function_name, {"part": part}) for part in parts(event["text"])]
    total = Counter()
    while calls:
        first = seuss.await_any(calls)
        calls.remove(first)
        total.update(seuss.await_call(first))
    return dict(total.most_common(event.get("top", 10)))
