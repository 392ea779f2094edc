// grammY against the Telegram of the tests: telegram_grammy.mjs URL, the token in CERVELLA_CONTRACT_TOKEN, the folder of
// grammY in NODE_PATH.
//
// A small bot that uses the client as its manual says. The people it talks to are played by
// tests/it/contract_telegram.rs, which also checks what they see; what only the client sees is checked here.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createRequire } from "node:module";

const { Bot, GrammyError, HttpError, InlineKeyboard, InlineQueryResultBuilder, webhookCallback } =
  createRequire(import.meta.url)("grammy");

const apiRoot = process.argv[2];
const token = process.env.CERVELLA_CONTRACT_TOKEN;
const secret = "open-sesame_1";
const keyboard = new InlineKeyboard().text("Utile", "helpful");

setTimeout(() => fail(new Error("it took too long")), 100_000).unref();

function fail(error) {
  console.error(error);
  process.exit(1);
}

// The error of a call that must be refused with this code and text.
async function refused(call, code, text) {
  const error = await call.then(() => assert.fail(`no error ${code}`), (error) => error);
  assert.ok(error instanceof GrammyError, error);
  assert.equal(error.error_code, code, error.description);
  assert.ok(error.description.includes(text), error.description);
  return error;
}

const bot = new Bot(token, { client: { apiRoot } });
bot.catch((failure) => fail(failure.error));

bot.command("start", async (ctx) => {
  assert.equal(ctx.chat.type, "private");
  assert.equal(ctx.from.language_code, "it");
  assert.deepEqual(ctx.msg.entities, [{ type: "bot_command", offset: 0, length: 6 }]);
  const sent = await ctx.reply("Cerco…", { reply_markup: keyboard });
  assert.ok(sent.from.is_bot);
  const html = '<b>22</b> &amp; più: 😀 <a href="https://example.com/a">pagina</a>';
  const more = { parse_mode: "HTML", reply_markup: keyboard, link_preview_options: { is_disabled: true } };
  const edit = (id, text, more) => ctx.api.editMessageText(ctx.chat.id, id, text, more);
  const edited = await edit(sent.message_id, html, more);
  assert.equal(edited.text, "22 & più: 😀 pagina");
  assert.ok(edited.edit_date);
  assert.deepEqual(edited.entities, [
    { type: "bold", offset: 0, length: 2 },
    { type: "text_link", offset: 13, length: 6, url: "https://example.com/a" },
  ]);
  await refused(edit(sent.message_id, html, more), 400, "message is not modified: specified new message content and");
  await refused(ctx.reply("<b>x", { parse_mode: "HTML" }), 400, "can't parse entities: Can't find end tag");
  await refused(ctx.reply("x".repeat(4097)), 400, "Bad Request: message is too long");
  await refused(edit(ctx.msg.message_id, "x"), 400, "Bad Request: message can't be edited");
  await refused(ctx.api.sendMessage(1, "x"), 400, "Bad Request: chat not found");
  const gone = await ctx.reply("via");
  await ctx.api.deleteMessage(ctx.chat.id, gone.message_id);
  await refused(edit(gone.message_id, "x"), 400, "Bad Request: message to edit not found");
  await ctx.react("👌");
});

bot.callbackQuery("helpful", async (ctx) => {
  assert.ok(ctx.msg.text.startsWith("22 & più"));
  await ctx.answerCallbackQuery("Grazie!");
  await ctx.editMessageReplyMarkup();
  await refused(ctx.answerCallbackQuery("Grazie!"), 400, "query ID is invalid");
});

bot.command("faults", async (ctx) => {
  await refused(ctx.reply("x"), 502, "Bad Gateway");
  await assert.rejects(ctx.reply("x"), HttpError);
  const wait = await refused(ctx.reply("x"), 429, "Too Many Requests: retry after 3");
  assert.equal(wait.parameters.retry_after, 3);
  const [blocked, upgraded] = ctx.match.split(" ").map(Number);
  await refused(ctx.api.sendMessage(blocked, "x"), 403, "Forbidden: bot was blocked by the user");
  const moved = await refused(ctx.api.sendMessage(upgraded, "x"), 400, "group chat was upgraded to a supergroup chat");
  assert.ok(moved.parameters.migrate_to_chat_id < -1_000_000_000_000);
  await ctx.react("👌");
});

bot.command("flood", async (ctx) => {
  for (let index = 0; index < 3; index++) {
    await ctx.reply(`${index}`);
  }
  const error = await refused(ctx.reply("3"), 429, "Too Many Requests: retry after");
  assert.equal(error.parameters.retry_after, 1);
  await ctx.react("👌");
});

let over;
bot.command("hook", (ctx) => ctx.reply("dal webhook"));
bot.command("over", () => over());
bot.command("quit", () => void bot.stop().catch(fail));

bot.on("message:entities:mention", async (ctx) => {
  assert.ok(ctx.msg.is_topic_message);
  assert.equal(ctx.msg.reply_to_message.forum_topic_created.name, "Ufficio");
  const topic = ctx.msg.message_thread_id;
  await ctx.replyWithChatAction("typing", { message_thread_id: topic });
  const answer = await ctx.reply("Dal <i>manuale</i>", {
    parse_mode: "HTML",
    message_thread_id: topic,
    reply_parameters: { message_id: ctx.msg.message_id },
  });
  assert.equal(answer.message_thread_id, topic);
  assert.equal(answer.reply_to_message.message_id, ctx.msg.message_id);
  const chat = await ctx.getChat();
  assert.ok(chat.is_forum);
  assert.equal(chat.title, "Forum");
  const member = await ctx.getAuthor();
  assert.equal(member.status, "administrator");
  assert.ok(member.can_manage_chat);
});

bot.on("edited_message", (ctx) => ctx.react("👀"));

bot.on("message:document", (ctx) =>
  ctx.reply(`${ctx.msg.document.file_name}: ${ctx.msg.caption}`, {
    reply_parameters: { message_id: ctx.msg.message_id },
  }),
);

bot.on("inline_query", (ctx) => {
  const article = InlineQueryResultBuilder.article("1", "Ferie", { description: "22" });
  const text = article.text(`<b>${ctx.inlineQuery.query}</b>`, { parse_mode: "HTML" });
  return ctx.answerInlineQuery([text], { cache_time: 0, is_personal: true });
});

// Of two that ask for updates the older one is sent away.
async function conflict() {
  const calls = [bot.api.getUpdates({ timeout: 40 }), bot.api.getUpdates({ timeout: 40 })];
  const results = await Promise.allSettled(calls);
  const refusals = results.filter((result) => result.status === "rejected").map((result) => result.reason);
  assert.equal(refusals.length, 1);
  assert.equal(refusals[0].error_code, 409);
  assert.ok(refusals[0].description.includes("terminated by other getUpdates request"));
  const updates = results.find((result) => result.status === "fulfilled").value;
  assert.deepEqual(updates.map((update) => update.message.text), ["ciao"]);
}

async function webhook() {
  const server = createServer(webhookCallback(bot, "http", { secretToken: secret }));
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const done = new Promise((resolve) => {
    over = resolve;
  });
  const url = `http://127.0.0.1:${server.address().port}/hook`;
  await bot.api.setWebhook(url, { secret_token: secret, drop_pending_updates: true });
  await refused(bot.api.getUpdates(), 409, "can't use getUpdates method while webhook is active");
  await done;
  const info = await bot.api.getWebhookInfo();
  assert.equal(info.url, url);
  assert.equal(info.last_error_message, undefined);
  await bot.api.deleteWebhook();
  assert.equal((await bot.api.getWebhookInfo()).url, "");
  server.close();
}

try {
  const stranger = new Bot("1:AAstranger", { client: { apiRoot } });
  await refused(stranger.api.getMe(), 401, "Unauthorized");
  const me = await bot.api.getMe();
  assert.equal(me.username, "cervella_bot");
  assert.ok(me.supports_inline_queries && !me.can_read_all_group_messages);
  const commands = [
    { command: "ask", description: "Chiedi" },
    { command: "help", description: "Aiuto" },
  ];
  await bot.api.setMyCommands(commands, { language_code: "it" });
  assert.deepEqual(await bot.api.getMyCommands({ language_code: "it" }), commands);
  await bot.start();
  await conflict();
  await webhook();
  process.exit(0);
} catch (error) {
  fail(error);
}
