// @slack/socket-mode and @slack/web-api against the Slack of the tests; the clients are found by NODE_PATH.
//
// A small bot that uses the clients as their manual says. The people it talks to are played by
// tests/it/contract_slack.rs, which also checks what they see; what only the client sees is checked here.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const { LogLevel, SocketModeClient } = require("@slack/socket-mode");
const { ErrorCode, WebClient } = require("@slack/web-api");

setTimeout(() => fail(new Error("it took too long")), 100_000).unref();

function fail(error) {
  console.error(error);
  process.exit(1);
}

const slackApiUrl = `${process.env.CERVELLA_CONTRACT_URL}/`;
const socket = new SocketModeClient({
  appToken: process.env.CERVELLA_CONTRACT_APP_TOKEN,
  logLevel: LogLevel.WARN,
  // Tells apart a server that answers pings and one that does not.
  clientPingTimeout: 1_000,
  serverPingTimeout: 2_000,
  clientOptions: { slackApiUrl },
});
const web = new WebClient(process.env.CERVELLA_CONTRACT_BOT_TOKEN, { slackApiUrl, logLevel: LogLevel.ERROR });

// The error of a call that must be refused with this code.
async function refused(call, code) {
  const error = await call.then(() => assert.fail(`no error ${code}`), (error) => error);
  assert.equal(error.code, ErrorCode.PlatformError, String(error));
  assert.equal(error.data.error, code);
}

const feedback = {
  type: "context_actions",
  elements: [
    {
      type: "feedback_buttons",
      action_id: "feedback",
      positive_button: { text: { type: "plain_text", text: "Utile" }, value: "helpful" },
      negative_button: { text: { type: "plain_text", text: "Inutile" }, value: "not_helpful" },
    },
  ],
};

// A listener whose failure ends the bot.
function on(name, listener) {
  socket.on(name, (delivery) => listener(delivery).catch(fail));
}

on("app_mention", async ({ ack, event, retry_num }) => {
  await ack();
  assert.equal(retry_num, 0);
  const blocks = [{ type: "markdown", text: "**22**" }, feedback];
  const post = await web.chat.postMessage({ channel: event.channel, thread_ts: event.ts, text: "22", blocks });
  await refused(web.chat.update({ channel: event.channel, ts: event.ts, text: "x" }), "cant_update_message");
  await refused(web.chat.postMessage({ channel: "C0", text: "x" }), "channel_not_found");
  const found = await web.conversations.replies({ channel: event.channel, ts: event.ts });
  assert.deepEqual(found.messages.map((message) => message.ts), [event.ts, post.ts]);
});

on("message", async ({ ack, event }) => {
  await ack();
  if (event.bot_id || event.channel_type !== "im" || event.thread_ts) return;
  if (event.subtype === "message_changed") {
    if (event.message.bot_id || event.message.text === event.previous_message.text) return;
    const text = `ora: ${event.message.text}`;
    await web.chat.postMessage({ channel: event.channel, thread_ts: event.message.ts, text });
  } else if (event.text === "basta") {
    await socket.disconnect();
    process.exit(0);
  } else if (!event.subtype) {
    await web.chat.postMessage({ channel: event.channel, thread_ts: event.ts, text: `eco: ${event.text}` });
  }
});

on("interactive", async ({ ack, body }) => {
  await ack();
  if (body.type === "block_actions") {
    const text = `premuto: ${body.actions[0].value}`;
    await web.chat.update({ channel: body.channel.id, ts: body.container.message_ts, text, blocks: [] });
    return;
  }
  const view = { type: "modal", title: { type: "plain_text", text: "Chiedi" }, blocks: [] };
  await web.views.open({ trigger_id: body.trigger_id, view });
  const text = `${body.callback_id}: ${body.message.text}`;
  await web.chat.postMessage({ channel: body.channel.id, thread_ts: body.message.ts, text });
});

on("slash_commands", async ({ ack, body }) => {
  await ack({ text: "un momento" });
  const response = { text: `fatto: ${body.text}`, response_type: "in_channel" };
  const headers = { "content-type": "application/json" };
  const sent = await fetch(body.response_url, { method: "POST", headers, body: JSON.stringify(response) });
  assert.equal(sent.status, 200);
});

on("assistant_thread_started", async ({ ack, event }) => {
  await ack();
  const { channel_id, thread_ts } = event.assistant_thread;
  const prompts = [{ title: "Ferie", message: "Quante ferie ho?" }];
  await web.assistant.threads.setSuggestedPrompts({ channel_id, thread_ts, prompts });
});

socket.start().catch(fail);
