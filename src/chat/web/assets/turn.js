// One question and its reply in the conversation: what is shown while it comes into being and when it is over.

import { element, icon, replaceChangedChildren } from './elements.js';
import { label } from './labels.js';
import { renderMarkdown } from './markdown-blocks.js';
import { citationMark, quoteFigure, sourceList } from './sources.js';

/** A quote that is higher than this is folded, in pixels. */
const QUOTE_HEIGHT_MAX = 220;

/** A question with more characters than this is set in smaller type. */
const QUESTION_LONG = 240;

/**
 * `handlers`: `retry(turn)` asks again, `open(citation, opener)` shows a citation in its document,
 * `copy(text, button)` copies the answer.
 */
export class Turn {
  constructor(question, ordinal, handlers) {
    this.question = question;
    this.handlers = handlers;
    const size = question.length > QUESTION_LONG ? 'question long' : 'question';
    this.heading = element('h2', { class: size, id: `question-${ordinal}` }, question);
    this.reply = element('div', { class: 'reply' });
    this.element = element('article', { class: 'turn', 'aria-labelledby': this.heading.id }, this.heading, this.reply);
    this.element.addEventListener('click', (event) => this.#openCitation(event));
    this.restart();
  }

  /** Back to the state in which the question has just been asked. */
  restart() {
    this.citations = new Map();
    this.streamed = '';
    this.searching = element('p', { class: 'progress' }, element('span', { class: 'dots', 'aria-hidden': 'true' }),
      label(element('span'), 'searching'));
    this.figure = undefined;
    this.best = undefined;
    this.answer = element('div', { class: 'answer', hidden: true });
    this.reply.replaceChildren(this.searching, this.answer);
    this.#become('searching');
  }

  started({ language }) {
    this.language = language;
    this.heading.lang = language;
    this.answer.lang = language;
  }

  /** The best passage, before the model has written a word. */
  quoted(citation) {
    this.citations.set(citation.n, citation);
    this.best = citation;
    this.figure = quoteFigure(citation);
    this.searching.before(this.figure);
    this.#foldQuote();
    label(this.searching.lastChild, 'answerComing');
    this.#become('writing');
  }

  /** Others are served before: so many, and it takes about so long until this answer is begun. */
  waiting(place) {
    label(this.searching.lastChild, 'waiting', place);
  }

  /** Text to be appended. The browser draws at most once a frame, however fast the tokens come. */
  wrote(delta) {
    this.streamed += delta;
    label(this.searching.lastChild, 'answerComing');
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.#show(this.streamed);
    });
    this.#become('writing');
  }

  /** The whole answer; its text takes the place of what was streamed. */
  done(answer) {
    this.#cancelFrame();
    this.searching.remove();
    for (const citation of answer.citations) this.citations.set(citation.n, citation);
    this.streamed = answer.answer;
    this.answer.lang = answer.language;
    this.#show(answer.answer);
    // The best quote may stand in the answer itself.
    if (this.best && answer.answer.includes(`> ${this.best.quote.split('\n')[0]}`)) this.figure.remove();
    const abstained = answer.verdict === 'abstained';
    if (abstained) {
      this.answer.before(label(element('h3', { class: 'verdict' }), 'noAnswerHeading'));
      if (this.figure) label(this.figure.querySelector('.quote-label'), 'closestPassage');
    }
    if (answer.citations.length > 0) {
      this.reply.append(sourceList(answer.citations, abstained ? 'closestDocuments' : 'sources'));
    }
    this.reply.append(this.#meta(answer));
    this.#become(abstained ? 'abstained' : 'answered');
  }

  stopped() {
    this.#end('stopped', [label(element('p'), 'stopped')], 'askAgain');
  }

  /** The connection was lost; `started` tells whether there ever was one. */
  lost(started) {
    this.#end('lost', [label(element('p'), started ? 'lost' : 'unreachable')]);
  }

  refused(sentence) {
    this.#end('failed', [element('p', {}, sentence)]);
  }

  failed({ message, trace_id: trace }) {
    this.#end('failed', [
      label(element('h3', { class: 'verdict' }), 'failedHeading'),
      element('p', { lang: this.language }, message),
      element('p', { class: 'trace' }, label(element('span'), 'trace'), ' ', element('code', {}, trace)),
    ]);
  }

  /** The reply is over without an answer: what was written stays, `content` says why it ended. */
  #end(state, content, retryLabel = 'retry') {
    this.#cancelFrame();
    this.#show(this.streamed);
    this.searching.remove();
    const retry = element('button', { type: 'button', class: 'quiet-button retry' }, icon('retry'), label(element('span'), retryLabel));
    retry.addEventListener('click', () => this.handlers.retry(this));
    this.reply.append(element('div', { class: 'notice' }, element('div', { class: 'notice-text' }, content), retry));
    this.#become(state);
  }

  #show(text) {
    const fragment = renderMarkdown(text, { mark: (n) => citationMark(n, this.citations.get(n)) });
    replaceChangedChildren(this.answer, fragment);
    this.answer.hidden = text === '';
  }

  #become(state) {
    this.element.dataset.state = state;
    this.element.setAttribute('aria-busy', String(state === 'searching' || state === 'writing'));
  }

  #cancelFrame() {
    cancelAnimationFrame(this.frame);
    this.frame = undefined;
  }

  #meta(answer) {
    const { first_text: first, total } = answer.timings_ms;
    const copy = element('button', { type: 'button', class: 'quiet-button copy' }, icon('copy'), label(element('span'), 'copy'));
    copy.addEventListener('click', () => this.handlers.copy(plainAnswer(answer), copy));
    return element('footer', { class: 'meta' }, label(element('p', { class: 'times' }), 'times', { first, total }), copy);
  }

  /** A long quote is folded, so that the answer below it is in sight. */
  #foldQuote() {
    const quote = this.figure.querySelector('blockquote');
    requestAnimationFrame(() => {
      if (quote.scrollHeight <= QUOTE_HEIGHT_MAX) return;
      quote.id = `${this.heading.id}-quote`;
      quote.classList.add('folded');
      const unfold = label(
        element('button', { type: 'button', class: 'quiet-button unfold', 'aria-expanded': 'false', 'aria-controls': quote.id }),
        'showAll');
      unfold.addEventListener('click', () => {
        const folded = quote.classList.toggle('folded');
        unfold.setAttribute('aria-expanded', String(!folded));
        label(unfold, folded ? 'showAll' : 'showLess');
      });
      quote.after(unfold);
    });
  }

  #openCitation(event) {
    const opener = event.target.closest('[data-citation]');
    const citation = opener && this.citations.get(Number(opener.dataset.citation));
    if (citation) this.handlers.open(citation, opener);
  }
}

/** The answer and its sources as plain text, to be pasted elsewhere. */
function plainAnswer(answer) {
  const sources = answer.citations.map(({ n, title, heading, date, path }) =>
    `[${n}] ${[title, heading].filter(Boolean).join(' › ')} (${[path, date].filter(Boolean).join(', ')})`);
  return [answer.answer, sources.join('\n')].filter(Boolean).join('\n\n');
}
