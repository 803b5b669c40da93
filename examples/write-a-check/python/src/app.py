"""A shop's cart must add up, in the right currency.

The page carries its cart as JSON: <script type="application/json" id="cart">.
"""

import json
import re

from componentize_py_types import Err
from wit_world.exports.checker import Status, Verdict
from wit_world.imports import report

# What stands under `config` in a pipeline file.
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "cart",
    "description": "What the cart must be like.",
    "type": "object",
    "additionalProperties": False,
    "required": ["currency"],
    "properties": {
        "currency": {
            "description": "The currency of the cart, a code of three capital letters.",
            "type": "string",
            "pattern": "^[A-Z]{3}$",
        },
        "allow_empty": {
            "description": "Whether a cart without items is as it should be; else it is a warning.",
            "type": "boolean",
            "default": False,
        },
    },
}

SCRIPT = re.compile("<script([^>]*)>(.*?)</script>", re.DOTALL)


class Malformed(Exception):
    """The cart is not what it should be: the shop's mistake, so the verdict is `fail`."""


class Manifest:
    def describe(self):
        return [
            ("name", "cart"),
            ("version", "0.1.0"),
            ("summary", "A shop's cart must add up, in the right currency"),
            ("needs-body", "true"),
            ("config-schema", json.dumps(SCHEMA)),
        ]


class Checker:
    currency = ""
    allow_empty = False

    def configure(self, config):
        """Called once for a configuration. An Err is shown to the person who wrote it."""
        config = json.loads(config)
        for key in config:
            if key not in SCHEMA["properties"]:
                raise Err(f'unknown key "{key}", expected "currency" or "allow_empty"')
        if "currency" not in config:
            raise Err('missing key "currency"')
        currency, allow_empty = config["currency"], config.get("allow_empty", False)
        if not re.fullmatch("[A-Z]{3}", str(currency)):
            raise Err(f'currency: "{currency}" is not a code of three capital letters, like "GBP"')
        if not isinstance(allow_empty, bool):
            raise Err("allow_empty: neither true nor false")
        Checker.currency, Checker.allow_empty = currency, allow_empty

    def run(self, observation):
        """Called for every response. An Err means: could not judge."""
        text = cart_text(observation.body_text())
        if text is None:
            length = observation.body_len()
            if observation.body_truncated():
                raise Err(f"the page was cut at {length} bytes, before its cart: raise body_limit")
            return Verdict(Status.FAIL, f'no <script id="cart"> in a page of {length} bytes')
        try:
            cart = json.loads(text)
        except ValueError:
            return Verdict(Status.FAIL, f'the cart is not JSON: "{text.strip()[:60]}"')
        try:
            return judge(cart)
        except Malformed as error:
            return Verdict(Status.FAIL, str(error))


def judge(cart):
    cart = cart if isinstance(cart, dict) else {}
    currency, total, things = cart.get("currency"), pence(cart.get("total")), cart.get("items")
    if not isinstance(currency, str):
        raise Malformed("currency is not a text")
    if total is None:
        raise Malformed("total is not a number")
    if not isinstance(things, list):
        raise Malformed("items is not a list")
    items = total_of_items = 0
    for at, thing in enumerate(things):
        thing = thing if isinstance(thing, dict) else {}
        price, quantity = pence(thing.get("price")), whole(thing.get("quantity"))
        if price is None:
            raise Malformed(f"items[{at}].price is not a number")
        if quantity is None:
            raise Malformed(f"items[{at}].quantity is not a whole number")
        items += quantity
        total_of_items += price * quantity
    report.metric("items", items)
    report.metric(f"total_{currency.lower()}", total / 100)
    report.annotate("currency", currency)

    wrong = []
    if currency != Checker.currency:
        wrong.append(f"the currency is {currency}, not {Checker.currency}")
    counted = "1 item" if items == 1 else f"{items} items"
    if total_of_items != total:
        cost = "costs" if items == 1 else "cost"
        stated, summed = money(total), money(total_of_items)
        wrong.append(f"the total is {stated} {currency}, but {counted} {cost} {summed} {currency}")
    if wrong:
        return Verdict(Status.FAIL, "; ".join(wrong))
    if items == 0 and not Checker.allow_empty:
        return Verdict(Status.WARN, "the cart is empty")
    return Verdict(Status.PASS, f"{counted}, {money(total)} {currency}")


def cart_text(page):
    """What stands in <script id="cart">."""
    for attributes, content in SCRIPT.findall(page):
        if 'id="cart"' in attributes:
            return content
    return None


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def pence(amount):
    """An amount in hundredths: a sum of floats would be off by a little."""
    return round(amount * 100) if is_number(amount) and abs(amount) < 1e12 else None


def whole(number):
    return int(number) if is_number(number) and abs(number) < 1e6 and number == int(number) else None


def money(pence):
    return f"{pence / 100:.2f}"
