"""Slack's own models as judges of blocks: one JSON array of blocks a line in, one JSON line out for each.

The answer is `{"ok": true}` or `{"ok": false, "reason": "…"}`. Nothing of the text in the blocks is repeated.
"""

import json
import logging
import sys

from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block

# The models log blocks that they do not know.
logging.disable(logging.CRITICAL)


def inner(value):
    """The objects in an object of the models."""
    found = getattr(value, "elements", None) or []
    named = ("accessory", "text", "positive_button", "negative_button", "fields", "label")
    for name in named:
        part = getattr(value, name, None)
        found = [*found, *(part if isinstance(part, list) else [part])]
    return [part for part in found if hasattr(part, "validate_json")]


def check(value):
    value.validate_json()
    for part in inner(value):
        check(part)


def reason(blocks):
    parsed = [Block.parse(block) for block in blocks]
    for index, block in enumerate(parsed):
        # `parse` gives what it was given, or nothing, when it does not know the kind.
        if not isinstance(block, Block) or type(block) is Block:
            return f"block {index} is of no known kind"
    # Published limits that the models leave to the server.
    if len(blocks) > 50:
        return "more than 50 blocks"
    markdown = sum(len(block["text"]) for block in blocks if block["type"] == "markdown")
    if markdown > 12_000:
        return "more than 12000 characters of markdown"
    try:
        for block in parsed:
            check(block)
    except SlackObjectFormationError as error:
        return str(error)
    # What the models read is what was sent: a field that they do not know would be lost.
    for index, (block, sent) in enumerate(zip(parsed, blocks)):
        lost = set(sent) - set(block.to_dict())
        if lost:
            return f"block {index} has fields that are not known: {sorted(lost)}"
    return None


for line in sys.stdin:
    wrong = reason(json.loads(line))
    print(json.dumps({"ok": wrong is None, "reason": wrong}), flush=True)
