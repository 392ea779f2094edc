// The page: connects the question box, the conversation, the document panel and the service.

import { answerEvents, ConnectionLost, Refused } from './answer-stream.js';
import { Composer } from './composer.js';
import { element, icon } from './elements.js';
import { label, pageLanguage, relabel, switchLanguage, words } from './labels.js';
import { DocumentPanel } from './panel.js';
import { writePreference } from './preferences.js';
import { watchService } from './service-status.js';
import { Turn } from './turn.js';

/** Closer to the end of the page than this the reader follows the answer, in pixels. */
const END_NEAR = 120;

/** How long the copy button says that it has copied. */
const COPIED_MS = 2_000;

const log = document.getElementById('log');
const welcome = document.getElementById('welcome');
const samples = document.getElementById('samples');
const announcer = document.getElementById('announcer');
const service = document.getElementById('service');
const serviceText = document.getElementById('service-text');

const panel = new DocumentPanel();
const composer = new Composer({ ask, stop });
let running;
let turns = 0;

function ask(question) {
  if (running) return;
  welcome.hidden = true;
  turns += 1;
  const turn = new Turn(question, turns, { retry, open: (citation, opener) => panel.open(citation, opener), copy });
  log.append(turn.element);
  scrollToEnd();
  run(turn);
}

function retry(turn) {
  if (running) return;
  turn.restart();
  composer.focus();
  run(turn);
}

function stop() {
  running?.abort();
}

async function run(turn) {
  running = new AbortController();
  composer.busy = true;
  announce(words('announceAsked'));
  try {
    await follow(turn, running.signal);
  } catch (error) {
    const follows = isAtEnd();
    if (error instanceof ConnectionLost) turn.lost(error.started);
    else if (error instanceof Refused) turn.refused(error.message);
    else throw error;
    announce(turn.element.querySelector('.notice-text').textContent);
    if (follows) scrollToEnd();
    lookAgain();
  } finally {
    running = undefined;
    composer.busy = false;
  }
}

/** Shows the events of one answer as they arrive. */
async function follow(turn, signal) {
  for await (const { name, data } of answerEvents(turn.question, pageLanguage(), signal)) {
    keepingEnd(() => show(turn, name, data));
  }
  if (signal.aborted) {
    keepingEnd(() => turn.stopped());
    announce(words('stopped'));
  }
}

function show(turn, name, data) {
  if (name === 'started') {
    turn.started(data);
  } else if (name === 'quote') {
    turn.quoted(data.citation);
    announce(words('announceQuote', data.citation), turn.figure.querySelector('blockquote'));
  } else if (name === 'waiting') {
    turn.waiting(data);
  } else if (name === 'text') {
    turn.wrote(data.delta);
  } else if (name === 'done') {
    turn.done(data);
    const introduction = data.verdict === 'abstained' ? words('noAnswerHeading') : words('announceAnswer', { sources: data.citations.length });
    announce(introduction, turn.answer);
  } else if (name === 'failed') {
    turn.failed(data);
    announce(`${words('failedHeading')}. ${data.message}`);
  }
}

/** Tells a screen reader: words of the page, then the text of `content` in its own language. */
function announce(introduction, content) {
  announcer.replaceChildren(element('p', {}, introduction),
    ...(content ? [element('p', { lang: content.lang }, content.textContent)] : []));
}

function isAtEnd() {
  const { scrollTop, scrollHeight, clientHeight } = document.scrollingElement;
  return scrollHeight - clientHeight - scrollTop < END_NEAR;
}

function scrollToEnd() {
  document.scrollingElement.scrollTop = document.scrollingElement.scrollHeight;
}

/** Changes the conversation; a reader who was at its end stays there, any other is left where they are. */
function keepingEnd(change) {
  if (!isAtEnd()) return change();
  change();
  scrollToEnd();
  // Streamed text is drawn with the next frame.
  requestAnimationFrame(() => requestAnimationFrame(scrollToEnd));
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    return;
  }
  button.replaceChildren(icon('copied'), label(element('span'), 'copied'));
  announce(words('copied'));
  setTimeout(() => button.replaceChildren(icon('copy'), label(element('span'), 'copy')), COPIED_MS);
}

function showService(state, status) {
  composer.ready = state === 'ready';
  service.dataset.state = state;
  if (state === 'unreachable') label(serviceText, 'serviceUnreachable');
  else if (state === 'loading') label(serviceText, 'serviceLoading');
  else label(serviceText, status.documents > 0 ? 'serviceReady' : 'serviceEmpty', status);
  if (status) showSamples(status.samples);
  for (const button of samples.querySelectorAll('button')) button.disabled = state !== 'ready';
}

function showSamples(questions) {
  samples.hidden = questions.length === 0;
  samples.querySelector('ul').replaceChildren(...questions.map(({ text, language }) => {
    const button = element('button', { type: 'button', class: 'sample' }, element('span', { lang: language }, text), icon('arrow'));
    button.addEventListener('click', () => {
      ask(text);
      composer.focus();
    });
    return element('li', {}, button);
  }));
}

function switchTheme() {
  const system = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
  const root = document.documentElement;
  const wanted = (root.dataset.theme ?? system) === 'dark' ? 'light' : 'dark';
  // Back at what the system says, the page follows the system again.
  if (wanted === system) delete root.dataset.theme;
  else root.dataset.theme = wanted;
  writePreference('theme', root.dataset.theme);
}

document.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape' || event.defaultPrevented) return;
  if (panel.isOpen) panel.close();
  else stop();
});
document.getElementById('theme-switch').addEventListener('click', switchTheme);
for (const button of document.querySelectorAll('[data-language]')) {
  button.addEventListener('click', () => switchLanguage(button.dataset.language));
}

label(serviceText, 'serviceReaching');
relabel();
const lookAgain = watchService(showService);
composer.focus();
