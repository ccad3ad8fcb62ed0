# A function that does much at its first use: it imports where it needs, and
# compiles patterns and a template.
import functools


@functools.cache
def price():
    import re

    return re.compile(r"^(?P<currency>[A-Z]{3})\s*(?P<amount>[0-9]+(\.[0-9]{2})?)$")


@functools.cache
def form():
    import string

    return string.Template("$number: $total $currency in $lines lines")


def handler(event, context):
    import decimal

    total, currency = decimal.Decimal(0), None
    for line in event["lines"]:
        m = price().match(line)
        currency = m["currency"]
        total += decimal.Decimal(m["amount"])
    return {"text": form().substitute(number=event["number"], total=total.quantize(decimal.Decimal("0.01")), currency=currency, lines=len(event["lines"]))}
