// Bolt against the Slack of the tests, over Socket Mode; the clients are found by NODE_PATH.
//
// A small bot that uses the framework as its manual says. The people it talks to are played by
// tests/it/contract_slack.rs, which also checks what they see; what only the client sees is checked here.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

const { App, Assistant, LogLevel } = createRequire(import.meta.url)("@slack/bolt");

setTimeout(() => fail(new Error("it took too long")), 100_000).unref();

function fail(error) {
  console.error(error);
  process.exit(1);
}

const app = new App({
  token: process.env.CERVELLA_CONTRACT_BOT_TOKEN,
  appToken: process.env.CERVELLA_CONTRACT_APP_TOKEN,
  socketMode: true,
  logLevel: LogLevel.WARN,
  clientOptions: { slackApiUrl: `${process.env.CERVELLA_CONTRACT_URL}/` },
});
app.error(async (error) => fail(error));

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

app.event("app_mention", async ({ event, say, context }) => {
  assert.ok(event.text.includes(`<@${context.botUserId}>`));
  await say({ thread_ts: event.ts, text: "22", blocks: [{ type: "markdown", text: "**22**" }, feedback] });
});

app.message(async ({ message, say }) => {
  // Bolt leaves out what the bot said itself.
  assert.ok(!message.bot_id);
  if (message.channel_type !== "im" || message.thread_ts) return;
  if (message.subtype === "message_changed") {
    await say({ thread_ts: message.message.ts, text: `ora: ${message.message.text}` });
  } else if (message.text === "basta") {
    setImmediate(() => app.stop().then(() => process.exit(0), fail));
  } else if (!message.subtype) {
    await say({ thread_ts: message.ts, text: `eco: ${message.text}` });
  }
});

app.action("feedback", async ({ ack, action, body, client }) => {
  await ack();
  assert.equal(action.type, "feedback_buttons");
  const text = `premuto: ${action.value}`;
  await client.chat.update({ channel: body.channel.id, ts: body.message.ts, text, blocks: [] });
});

app.command("/cervella", async ({ command, ack, respond }) => {
  await ack({ text: "un momento" });
  await respond({ text: `fatto: ${command.text}`, response_type: "in_channel" });
});

app.shortcut("ask_cervella", async ({ shortcut, ack, client }) => {
  await ack();
  const view = { type: "modal", title: { type: "plain_text", text: "Chiedi" }, blocks: [] };
  const opened = await client.views.open({ trigger_id: shortcut.trigger_id, view });
  assert.ok(opened.view.id);
  const text = `${shortcut.callback_id}: ${shortcut.message.text}`;
  await client.chat.postMessage({ channel: shortcut.channel.id, thread_ts: shortcut.message.ts, text });
});

app.assistant(
  new Assistant({
    threadStarted: async ({ setSuggestedPrompts }) => {
      await setSuggestedPrompts({ prompts: [{ title: "Ferie", message: "Quante ferie ho?" }] });
    },
    userMessage: async ({ message, say, setStatus, setTitle, client, context }) => {
      await setTitle("Ferie");
      await setStatus("cerca…");
      const place = { channel: message.channel, thread_ts: message.thread_ts };
      const recipient = { recipient_team_id: context.teamId, recipient_user_id: message.user };
      const stream = client.chatStream({ ...place, ...recipient, buffer_size: 1 });
      await stream.append({ markdown_text: "eco: " });
      await stream.append({ markdown_text: message.text });
      await stream.stop({ blocks: [feedback] });
      assert.ok(say);
    },
  }),
);

app.start().catch(fail);
