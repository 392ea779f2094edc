"""slack_sdk against the Slack of the tests: slack_sdk_client.py web|builtin|aiohttp.

`web` looks at the Web API. The others run a small bot over Socket Mode; the people it meets are played by
tests/it/contract_slack.rs, which also checks what they see.
"""

import asyncio
import os
import sys
import threading

from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler
from slack_sdk.models.blocks import ContextBlock, MarkdownBlock, MarkdownTextObject
from slack_sdk.models.metadata import Metadata
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web import WebClient
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook import WebhookClient

URL = os.environ["CERVELLA_CONTRACT_URL"] + "/"
APP_TOKEN = os.environ["CERVELLA_CONTRACT_APP_TOKEN"]
BOT_TOKEN = os.environ["CERVELLA_CONTRACT_BOT_TOKEN"]
CHANNEL = os.environ["CERVELLA_CONTRACT_CHANNEL"]
SECRET_CHANNEL = os.environ["CERVELLA_CONTRACT_SECRET_CHANNEL"]
PERSON = os.environ["CERVELLA_CONTRACT_PERSON"]
SAID = os.environ["CERVELLA_CONTRACT_SAID"]

deadline = threading.Timer(100, lambda: os._exit(3))
deadline.daemon = True
deadline.start()


def refused(code, call, **parameters):
    """The error of a call that must be refused with this code."""
    try:
        call(**parameters)
    except SlackApiError as error:
        assert error.response["error"] == code, (code, error.response.data)
        return error.response
    raise AssertionError(f"no error {code}")


def web():
    client = WebClient(BOT_TOKEN, base_url=URL)
    people_and_channels(client)
    post = messages(client)
    refusals(client, post)
    streams(client)
    panel(client)
    # Scripted on the other side: one call is told to wait, and goes through afterwards.
    client.retry_handlers.append(RateLimitErrorRetryHandler(max_retry_count=1))
    assert client.chat_getPermalink(channel=CHANNEL, message_ts=SAID)["permalink"].startswith("https://")


def people_and_channels(client):
    assert client.api_test(foo="bar")["args"]["foo"] == "bar"
    tested = client.auth_test()
    assert tested["user_id"].startswith("U") and tested["team_id"].startswith("T")
    assert "chat:write" in tested.headers["x-oauth-scopes"].split(",")
    user = client.users_info(user=PERSON, include_locale=True)["user"]
    assert (user["locale"], user["is_bot"], user["profile"]["real_name"]) == ("it-IT", False, "Anna")
    assert client.bots_info(bot=tested["bot_id"])["bot"]["user_id"] == tested["user_id"]
    channel = client.conversations_info(channel=CHANNEL, include_num_members=True)["channel"]
    assert (channel["name"], channel["is_member"], channel["num_members"]) == ("general", True, 2)
    direct = client.conversations_open(users=[PERSON])["channel"]["id"]
    assert client.conversations_info(channel=direct)["channel"]["is_im"]
    opened = WebClient(APP_TOKEN, base_url=URL).apps_connections_open(app_token=APP_TOKEN)
    assert opened["url"].startswith("ws://")


def messages(client):
    metadata = Metadata(event_type="answer", event_payload={"question": SAID})
    blocks = [MarkdownBlock(text="**22** & più: 😀"), ContextBlock(elements=[MarkdownTextObject(text="[1] Ferie")])]
    post = client.chat_postMessage(channel=CHANNEL, thread_ts=SAID, text="22", blocks=blocks, metadata=metadata)
    assert post["message"]["blocks"][0]["text"] == "**22** & più: 😀"
    assert post["message"]["thread_ts"] == SAID and post["message"]["bot_profile"]["app_id"]
    ts = post["ts"]
    replies = client.conversations_replies(channel=CHANNEL, ts=SAID, include_all_metadata=True)["messages"]
    assert [message["ts"] for message in replies] == [SAID, ts]
    assert replies[0]["reply_count"] == 1 and replies[1]["metadata"]["event_payload"] == {"question": SAID}
    updated = client.chat_update(channel=CHANNEL, ts=ts, text="23", blocks=[])
    assert updated["message"]["text"] == "23" and "blocks" not in updated["message"]
    top = [client.chat_postMessage(channel=CHANNEL, markdown_text=f"**{n}**")["ts"] for n in range(2)]
    seen = [m["ts"] for page in client.conversations_history(channel=CHANNEL, limit=1) for m in page["messages"]]
    assert seen == [top[1], top[0], SAID], seen
    client.reactions_add(channel=CHANNEL, timestamp=SAID, name="eyes")
    client.reactions_remove(channel=CHANNEL, timestamp=SAID, name="eyes")
    client.reactions_add(channel=CHANNEL, timestamp=SAID, name="white_check_mark")
    assert client.chat_postEphemeral(channel=CHANNEL, user=PERSON, text="solo per te")["message_ts"]
    client.chat_delete(channel=CHANNEL, ts=top[1])
    return ts


def refusals(client, post):
    refused("invalid_auth", WebClient("xoxb-wrong", base_url=URL).auth_test)
    refused("not_authed", WebClient(base_url=URL).auth_test)
    refused("not_allowed_token_type", WebClient(APP_TOKEN, base_url=URL).auth_test)
    refused("channel_not_found", client.chat_postMessage, channel=SECRET_CHANNEL, text="x")
    refused("no_text", client.chat_postMessage, channel=CHANNEL, text="")
    refused("msg_too_long", client.chat_postMessage, channel=CHANNEL, text="x" * 40_001)
    bad = refused("invalid_blocks", client.chat_postMessage, channel=CHANNEL, text="x", blocks=[{"type": "nothing"}])
    assert "/blocks/0" in bad["response_metadata"]["messages"][0]
    refused("cant_update_message", client.chat_update, channel=CHANNEL, ts=SAID, text="x")
    refused("message_not_found", client.chat_update, channel=CHANNEL, ts="1.000001", text="x")
    refused("message_not_in_streaming_state", client.chat_appendStream, channel=CHANNEL, ts=post, markdown_text="x")
    refused("already_reacted", client.reactions_add, channel=CHANNEL, timestamp=SAID, name="white_check_mark")
    refused("invalid_trigger_id", client.views_open, trigger_id="x", view={"type": "modal", "blocks": []})


def streams(client):
    team = client.auth_test()["team_id"]
    stream = client.chat_stream(
        channel=CHANNEL, thread_ts=SAID, recipient_user_id=PERSON, recipient_team_id=team, buffer_size=1
    )
    stream.append(markdown_text="**22**")
    stream.append(markdown_text=" giorni")
    stopped = stream.stop(markdown_text=".", blocks=[ContextBlock(elements=[MarkdownTextObject(text="[1] Ferie")])])
    assert stopped["message"]["text"] == "**22** giorni.", stopped.data


def panel(client):
    direct = client.conversations_open(users=PERSON)["channel"]["id"]
    thread = client.chat_postMessage(channel=direct, text="ciao")["ts"]
    client.assistant_threads_setStatus(channel_id=direct, thread_ts=thread, status="cerca…")
    prompts = [{"title": "Ferie", "message": "Quante ferie ho?"}]
    client.assistant_threads_setSuggestedPrompts(channel_id=direct, thread_ts=thread, title="Prova:", prompts=prompts)
    client.assistant_threads_setTitle(channel_id=direct, thread_ts=thread, title="Ferie")


FEEDBACK = {
    "type": "context_actions",
    "elements": [
        {
            "type": "feedback_buttons",
            "action_id": "feedback",
            "positive_button": {"text": {"type": "plain_text", "text": "Utile"}, "value": "helpful"},
            "negative_button": {"text": {"type": "plain_text", "text": "Inutile"}, "value": "not_helpful"},
        }
    ],
}


def steps(kind, payload):
    """What the bot does about a delivery: the payload of its acknowledgement, then calls. `None`: it is done."""
    if kind == "slash_commands":
        response = {"text": f"fatto: {payload['text']}", "response_type": "in_channel"}
        return {"text": "un momento"}, [("response_url", (payload["response_url"], response))]
    if kind == "interactive":
        return None, interaction(payload)
    event = payload["event"]
    channel, thread = event.get("channel"), event.get("thread_ts") or event.get("ts")
    if event["type"] == "app_mention":
        blocks = [{"type": "markdown", "text": "**22**"}, FEEDBACK]
        return None, [("chat_postMessage", {"channel": channel, "thread_ts": thread, "text": "22", "blocks": blocks})]
    if event["type"] == "assistant_thread_started":
        place = {key: event["assistant_thread"][key] for key in ("channel_id", "thread_ts")}
        prompts = [{"title": "Ferie", "message": "Quante ferie ho?"}]
        return None, [("assistant_threads_setSuggestedPrompts", {**place, "prompts": prompts})]
    if event["type"] != "message" or event.get("bot_id"):
        return None, []
    if event.get("subtype") == "message_changed":
        message = event["message"]
        if message.get("bot_id"):
            return None, []
        text = f"ora: {message['text']}"
        return None, [("chat_postMessage", {"channel": channel, "thread_ts": message["ts"], "text": text})]
    if event.get("channel_type") == "im" and not event.get("subtype"):
        if event["text"] == "basta":
            return None, None
        return None, [("chat_postMessage", {"channel": channel, "thread_ts": thread, "text": f"eco: {event['text']}"})]
    return None, []


def interaction(payload):
    channel = payload["channel"]["id"]
    if payload["type"] == "block_actions":
        action = payload["actions"][0]
        parameters = {"channel": channel, "ts": payload["container"]["message_ts"], "blocks": []}
        return [("chat_update", {**parameters, "text": f"premuto: {action['value']}"})]
    view = {"type": "modal", "title": {"type": "plain_text", "text": "Chiedi"}, "blocks": []}
    text = f"{payload['callback_id']}: {payload['message']['text']}"
    return [
        ("views_open", {"trigger_id": payload["trigger_id"], "view": view}),
        ("chat_postMessage", {"channel": channel, "thread_ts": payload["message"]["ts"], "text": text}),
    ]


def builtin():
    from slack_sdk.socket_mode import SocketModeClient

    web_client = WebClient(BOT_TOKEN, base_url=URL)
    client = SocketModeClient(app_token=APP_TOKEN, web_client=web_client, ping_interval=1)
    over = threading.Event()

    def heard(client, request):
        ack, calls = steps(request.type, request.payload)
        client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id, payload=ack))
        for name, parameters in calls or []:
            if name == "response_url":
                url, body = parameters
                assert WebhookClient(url).send(**body).status_code == 200
            else:
                getattr(web_client, name)(**parameters)
        if calls is None:
            over.set()

    client.socket_mode_request_listeners.append(heard)
    client.connect()
    assert over.wait(90)
    client.close()


async def with_aiohttp():
    from slack_sdk.socket_mode.aiohttp import SocketModeClient
    from slack_sdk.webhook.async_client import AsyncWebhookClient

    web_client = AsyncWebClient(BOT_TOKEN, base_url=URL)
    client = SocketModeClient(app_token=APP_TOKEN, web_client=web_client, ping_interval=1)
    over = asyncio.Event()

    async def heard(client, request):
        ack, calls = steps(request.type, request.payload)
        await client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id, payload=ack))
        for name, parameters in calls or []:
            if name == "response_url":
                url, body = parameters
                assert (await AsyncWebhookClient(url).send(**body)).status_code == 200
            else:
                await getattr(web_client, name)(**parameters)
        if calls is None:
            over.set()

    client.socket_mode_request_listeners.append(heard)
    await client.connect()
    await asyncio.wait_for(over.wait(), 90)
    await client.close()


if __name__ == "__main__":
    match sys.argv[1]:
        case "web":
            web()
        case "builtin":
            builtin()
        case "aiohttp":
            asyncio.run(with_aiohttp())
    sys.stdout.flush()
    os._exit(0)
