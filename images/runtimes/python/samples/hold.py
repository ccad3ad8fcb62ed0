"""Keeps its machine for event["hold"] seconds, so that others have to be made."""
import time


def handler(event, context):
    time.sleep(event["hold"])
    return True
