"""Calls a function again and again, one after the other or all at once, and tells what each
took, in ns."""

import time

import seuss


def handler(event, context):
    function, given, n, now = event["function"], event["event"], event["n"], time.perf_counter_ns
    took = []
    if event["at_once"]:
        began = now()
        answers = seuss.await_all([seuss.chain_call(function, given) for _ in range(n)])
        took.append(now() - began)
    else:
        answers = []
        for _ in range(n):
            began = now()
            answers.append(seuss.call(function, given))
            took.append(now() - began)
    if any(answer != event["want"] for answer in answers):
        raise ValueError("an answer is wrong")
    return took
