// The document behind a citation: beside the conversation on a wide window, over it on a narrow one.

import { element } from './elements.js';
import { label, pageLanguage } from './labels.js';
import { renderDocumentText } from './markdown-blocks.js';
import { highlightQuote } from './quote-highlight.js';
import { languageTag } from './sources.js';

/** What stays in sight of the text above the cited passage, in pixels. */
const CITED_ABOVE = 72;

export class DocumentPanel {
  #dialog = document.getElementById('document-panel');
  #title = document.getElementById('document-title');
  #path = document.getElementById('document-path');
  #language = document.getElementById('document-language');
  #body = document.getElementById('document-body');
  #wide = matchMedia('(min-width: 64rem)');
  #opener;
  #loading;

  constructor() {
    document.getElementById('document-close').addEventListener('click', () => this.close());
    // Escape in a modal dialog; a click on what lies behind it.
    this.#dialog.addEventListener('cancel', (event) => {
      event.preventDefault();
      this.close();
    });
    this.#dialog.addEventListener('click', (event) => {
      if (event.target === this.#dialog) this.close();
    });
    this.#wide.addEventListener('change', () => {
      if (!this.isOpen) return;
      this.#dialog.close();
      this.#reveal();
    });
  }

  get isOpen() {
    return this.#dialog.open;
  }

  /** Shows the document of `citation`; the focus goes back to `opener` when the panel is closed. */
  async open(citation, opener) {
    this.#loading?.abort();
    this.#loading = new AbortController();
    this.#opener = opener;
    this.#head(citation);
    this.#body.replaceChildren(label(element('p', { class: 'progress' }), 'loadingDocument'));
    if (!this.isOpen) this.#reveal();
    this.#title.focus({ preventScroll: true });
    const { signal } = this.#loading;
    const content = await documentContent(citation, signal);
    if (signal.aborted) return;
    this.#body.replaceChildren(...content);
    this.#body.scrollTop = 0;
    this.#showCited();
  }

  close() {
    if (!this.isOpen) return;
    this.#loading?.abort();
    this.#dialog.close();
    const opener = this.#opener?.isConnected ? this.#opener : document.getElementById('question');
    opener.focus();
  }

  #reveal() {
    if (this.#wide.matches) this.#dialog.show();
    else this.#dialog.showModal();
  }

  #head({ title, path, link, language }) {
    this.#title.textContent = title;
    this.#title.lang = language;
    this.#path.replaceChildren(/^https?:\/\//.test(link ?? '')
      ? element('a', { href: link, target: '_blank', rel: 'noopener noreferrer' }, path)
      : path);
    this.#language.replaceWith(this.#language = languageTag(language));
  }

  /** Scrolls to the cited passage; further, to the quote in it, if that is still out of sight. */
  #showCited() {
    const cited = this.#body.querySelector('.cited');
    if (!cited) return;
    this.#scrollTo(cited, CITED_ABOVE);
    const quote = cited.querySelector('mark');
    const view = this.#body.getBoundingClientRect();
    if (quote && quote.getBoundingClientRect().bottom > view.bottom) this.#scrollTo(quote, view.height / 4);
  }

  #scrollTo(target, above) {
    this.#body.scrollTop += target.getBoundingClientRect().top - this.#body.getBoundingClientRect().top - above;
  }
}

/** The nodes that the panel shows: the passages, or a sentence about why there are none. */
async function documentContent(citation, signal) {
  try {
    const response = await fetch(`/api/documents/${citation.passage_id}`, {
      headers: { 'accept-language': pageLanguage() },
      signal,
    });
    const body = await response.json();
    if (!response.ok) return [element('p', { class: 'panel-notice' }, body.error), quoteAlone(citation)];
    return passages(body, citation);
  } catch {
    return [label(element('p', { class: 'panel-notice' }), 'documentUnreachable'), quoteAlone(citation)];
  }
}

function quoteAlone({ path, quote, language }) {
  return element('div', { class: 'passage cited', lang: language }, renderDocumentText(path, quote));
}

function passages({ path, title, language, passages: all }, citation) {
  const render = (text) => renderDocumentText(path, text);
  let headingAbove = title;
  return all.map(({ heading, text, cited }) => {
    const content = element('div', { class: 'passage-text' }, render(text));
    const shown = heading !== headingAbove && !repeatsHeading(content, heading);
    // The panel's own head says the title already.
    if (headingAbove === title && repeatsHeading(content, title)) content.firstElementChild.remove();
    headingAbove = heading;
    const passage = element('section', { class: cited ? 'passage cited' : 'passage', lang: language },
      cited && label(element('p', { class: 'cited-label', lang: pageLanguage() }), 'citedPassage'),
      shown && heading && element('h3', { class: 'passage-heading' }, heading),
      content);
    if (cited) highlightQuote(content, citation.quote, render);
    return passage;
  });
}

/** Whether the text itself begins with the innermost heading, as Markdown passages may. */
function repeatsHeading(content, heading) {
  const first = content.firstElementChild;
  return /^H[1-6]$/.test(first?.tagName ?? '') && heading.endsWith(first.textContent.trim());
}
