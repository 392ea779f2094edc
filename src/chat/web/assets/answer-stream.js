// The wire: one question out, the events of its answer in.

/** The server keeps an idle stream alive every 10 seconds: silence for so long means that the connection is gone. */
const SILENCE_MAX_MS = 35_000;

/** The stream ended before the answer did. `started` tells whether the server was reached at all. */
export class ConnectionLost extends Error {
  constructor(started) {
    super('the connection was lost');
    this.started = started;
  }
}

/** The server took no question; the message is a sentence for the reader. */
export class Refused extends Error {}

/**
 * Asks `question` and yields `{ name, data }` for each event. Ends after `done` or `failed`, or without either once
 * `signal` is aborted.
 */
export async function* answerEvents(question, pageLanguage, signal) {
  const silence = new AbortController();
  let started = false;
  try {
    const response = await fetch('/api/ask', {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'accept-language': pageLanguage },
      // The language of the answer follows the question, not the page.
      body: JSON.stringify({ question, language: null }),
      signal: AbortSignal.any([signal, silence.signal]),
    });
    started = true;
    if (!response.ok) throw new Refused(await refusalOf(response));
    for await (const event of serverSentEvents(response.body, silence)) {
      yield event;
      if (event.name === 'done' || event.name === 'failed') return;
    }
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof Refused) throw error;
    throw new ConnectionLost(started);
  }
  if (!signal.aborted) throw new ConnectionLost(started);
}

async function refusalOf(response) {
  try {
    return (await response.json()).error;
  } catch {
    return `HTTP ${response.status}`;
  }
}

async function* serverSentEvents(body, silence) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let unread = '';
  for (;;) {
    const timer = setTimeout(() => silence.abort(), SILENCE_MAX_MS);
    const { value, done } = await reader.read().finally(() => clearTimeout(timer));
    if (done) return;
    const events = (unread + value).split('\n\n');
    unread = events.pop();
    for (const event of events) {
      const parsed = parseEvent(event);
      if (parsed) yield parsed;
    }
  }
}

/** `undefined` for a comment. */
function parseEvent(text) {
  let name = 'message';
  const data = [];
  for (const line of text.split('\n')) {
    const [, field, value] = /^([a-z]+): ?(.*)$/.exec(line) ?? [];
    if (field === 'event') name = value;
    if (field === 'data') data.push(value);
  }
  return data.length > 0 ? { name, data: JSON.parse(data.join('\n')) } : undefined;
}
