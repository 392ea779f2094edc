"""aiogram against the Telegram of the tests: telegram_aiogram.py URL, the token in CERVELLA_CONTRACT_TOKEN.

A small bot that uses the client as its manual says. The people it talks to are played by tests/it/contract_telegram.rs,
which also checks what they see; what only the client sees is checked here.
"""

import asyncio
import os
import sys
import traceback

from aiogram import Bot, Dispatcher, F, exceptions
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.enums import ChatAction, ChatMemberStatus, ChatType, ParseMode
from aiogram.filters import Command, CommandStart
from aiogram.types import (
    BotCommand,
    CallbackQuery,
    ErrorEvent,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InlineQuery,
    InlineQueryResultArticle,
    InputTextMessageContent,
    LinkPreviewOptions,
    Message,
    ReactionTypeEmoji,
    Update,
)
from aiogram.webhook.aiohttp_server import SimpleRequestHandler
from aiohttp import web

URL = sys.argv[1]
TOKEN = os.environ["CERVELLA_CONTRACT_TOKEN"]
SECRET = "open-sesame_1"
KEYBOARD = InlineKeyboardMarkup(
    inline_keyboard=[[InlineKeyboardButton(text="Utile", callback_data="helpful")]]
)

dispatcher = Dispatcher()
seen = {"last_update": 0}


def new_bot(token):
    return Bot(token, session=AiohttpSession(api=TelegramAPIServer.from_base(URL)))


def dumped(objects):
    """Objects from the API are bound to their bot and never equal those that are not."""
    return [value.model_dump() for value in objects]


async def refused(call, kind, text=None):
    """The error of a call that must be refused as this kind, with this text."""
    try:
        await call
    except exceptions.TelegramAPIError as error:
        assert type(error) is kind, f"{type(error).__name__} instead of {kind.__name__}: {error.message}"
        assert text is None or text in error.message, error.message
        return error
    raise AssertionError(f"no {kind.__name__}")


@dispatcher.message(CommandStart())
async def start(message: Message, bot: Bot):
    assert message.chat.type == ChatType.PRIVATE and message.from_user.language_code == "it"
    assert [(entity.type, entity.offset, entity.length) for entity in message.entities] == [("bot_command", 0, 6)]
    sent = await message.answer("Cerco…", reply_markup=KEYBOARD)
    assert sent.from_user.is_bot and dumped([sent.reply_markup]) == dumped([KEYBOARD])
    html = "<b>22</b> &amp; più: 😀 <a href=\"https://example.com/a\">pagina</a>"
    preview = LinkPreviewOptions(is_disabled=True)
    more = {"parse_mode": ParseMode.HTML, "reply_markup": KEYBOARD, "link_preview_options": preview}
    edited = await sent.edit_text(html, **more)
    assert edited.text == "22 & più: 😀 pagina" and edited.edit_date
    assert edited.html_text == html, edited.html_text
    wrong = exceptions.TelegramBadRequest
    await refused(sent.edit_text(html, **more), wrong, "message is not modified: specified new message content and")
    await refused(message.answer("<b>x", parse_mode=ParseMode.HTML), wrong, "can't parse entities: Can't find end tag")
    await refused(message.answer("x" * 4097), wrong, "Bad Request: message is too long")
    await refused(message.edit_text("x"), wrong, "Bad Request: message can't be edited")
    await refused(bot.send_message(1, "x"), wrong, "Bad Request: chat not found")
    gone = await message.answer("via")
    await gone.delete()
    await refused(gone.edit_text("x"), wrong, "Bad Request: message to edit not found")
    await react(message, "👌")


@dispatcher.callback_query(F.data == "helpful")
async def pressed(query: CallbackQuery):
    assert query.message.text.startswith("22 & più")
    await query.answer("Grazie!")
    await query.message.edit_reply_markup(reply_markup=None)
    await refused(query.answer("Grazie!"), exceptions.TelegramBadRequest, "query ID is invalid")


@dispatcher.message(F.chat.type == ChatType.SUPERGROUP, F.text.contains("@cervella_bot"))
async def asked_in_topic(message: Message, bot: Bot):
    assert message.is_topic_message and message.reply_to_message.forum_topic_created.name == "Ufficio"
    topic = message.message_thread_id
    await bot.send_chat_action(message.chat.id, ChatAction.TYPING, message_thread_id=topic)
    answer = await message.reply("Dal <i>manuale</i>", parse_mode=ParseMode.HTML)
    assert answer.message_thread_id == topic and answer.reply_to_message.message_id == message.message_id
    chat = await bot.get_chat(message.chat.id)
    assert chat.is_forum and chat.title == "Forum"
    member = await bot.get_chat_member(message.chat.id, message.from_user.id)
    assert member.status == ChatMemberStatus.ADMINISTRATOR and member.can_manage_chat


@dispatcher.edited_message()
async def edited(message: Message):
    await react(message, "👀")


@dispatcher.message(F.document)
async def document(message: Message):
    await message.reply(f"{message.document.file_name}: {message.caption}")


@dispatcher.inline_query()
async def inline(query: InlineQuery):
    content = InputTextMessageContent(message_text=f"<b>{query.query}</b>", parse_mode=ParseMode.HTML)
    article = InlineQueryResultArticle(id="1", title="Ferie", description="22", input_message_content=content)
    await query.answer([article], cache_time=0, is_personal=True)


@dispatcher.message(Command("faults"))
async def faults(message: Message, bot: Bot):
    await refused(message.answer("x"), exceptions.TelegramServerError, "Bad Gateway")
    await refused(message.answer("x"), exceptions.TelegramNetworkError)
    error = await refused(message.answer("x"), exceptions.TelegramRetryAfter, "Too Many Requests: retry after 3")
    assert error.retry_after == 3
    blocked = int(message.text.split()[1])
    await refused(bot.send_message(blocked, "x"), exceptions.TelegramForbiddenError, "bot was blocked by the user")
    upgraded = int(message.text.split()[2])
    error = await refused(bot.send_message(upgraded, "x"), exceptions.TelegramMigrateToChat)
    assert error.migrate_to_chat_id < -1_000_000_000_000
    await react(message, "👌")


@dispatcher.message(Command("flood"))
async def flood(message: Message):
    for index in range(3):
        await message.answer(f"{index}")
    error = await refused(message.answer("3"), exceptions.TelegramRetryAfter)
    assert error.retry_after == 1
    await react(message, "👌")


@dispatcher.message(Command("hook"))
async def hook(message: Message):
    await message.answer("dal webhook")


@dispatcher.message(Command("quit"))
async def quit_polling(_: Message, event_update: Update):
    seen["last_update"] = event_update.update_id
    seen["stopping"] = asyncio.create_task(dispatcher.stop_polling())


@dispatcher.message(Command("over"))
async def over(_: Message):
    seen["over"].set()


@dispatcher.error()
async def failed(event: ErrorEvent):
    traceback.print_exception(event.exception)
    os._exit(1)


async def react(message, emoji):
    await message.react([ReactionTypeEmoji(emoji=emoji)])


async def conflict(bot):
    """Of two that ask for updates the older one is sent away."""
    calls = {"offset": seen["last_update"] + 1, "timeout": 40}
    first = asyncio.create_task(bot.get_updates(**calls))
    second = asyncio.create_task(bot.get_updates(**calls))
    results = await asyncio.gather(first, second, return_exceptions=True)
    errors = [result for result in results if isinstance(result, Exception)]
    assert [type(error) for error in errors] == [exceptions.TelegramConflictError], results
    assert "terminated by other getUpdates request" in errors[0].message
    updates = next(result for result in results if isinstance(result, list))
    assert [update.message.text for update in updates] == ["ciao"]


async def webhook(bot):
    application = web.Application()
    SimpleRequestHandler(dispatcher, bot, secret_token=SECRET).register(application, path="/hook")
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    seen["over"] = asyncio.Event()
    await bot.set_webhook(f"http://127.0.0.1:{port}/hook", secret_token=SECRET, drop_pending_updates=True)
    await refused(bot.get_updates(), exceptions.TelegramConflictError, "can't use getUpdates method while webhook")
    await seen["over"].wait()
    info = await bot.get_webhook_info()
    assert info.url.endswith(f":{port}/hook") and not info.last_error_message, info
    await bot.delete_webhook()
    assert (await bot.get_webhook_info()).url == ""
    await runner.cleanup()


async def main():
    stranger = new_bot("1:AAstranger")
    await refused(stranger.get_me(), exceptions.TelegramUnauthorizedError, "Unauthorized")
    await stranger.session.close()
    bot = new_bot(TOKEN)
    me = await bot.get_me()
    assert me.username == "cervella_bot" and me.supports_inline_queries and not me.can_read_all_group_messages
    commands = [BotCommand(command="ask", description="Chiedi"), BotCommand(command="help", description="Aiuto")]
    await bot.set_my_commands(commands, language_code="it")
    assert dumped(await bot.get_my_commands(language_code="it")) == dumped(commands)
    await dispatcher.start_polling(bot, polling_timeout=30, handle_signals=False, close_bot_session=False)
    await conflict(bot)
    await webhook(bot)
    await bot.session.close()


asyncio.run(asyncio.wait_for(main(), 100))
