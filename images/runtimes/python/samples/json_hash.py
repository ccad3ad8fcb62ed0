"""Finds the words of a text, counts them and seals the answer with a digest."""

import hashlib
import json
import re

WORD = re.compile(r"[a-z]+")


def handler(event, context):
    text = event["text"]
    counts = {}
    for word in WORD.findall(text.lower()):
        counts[word] = counts.get(word, 0) + 1
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:event["top"]]
    answer = json.dumps({"words": len(counts), "top": top})
    return {"answer": json.loads(answer), "sha256": hashlib.sha256(answer.encode()).hexdigest()}
