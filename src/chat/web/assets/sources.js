// How a citation looks: the quoted passage, the mark in the text, the list below the answer.

import { element } from './elements.js';
import { label, labelAttribute } from './labels.js';
import { renderDocumentText } from './markdown-blocks.js';

/** The best passage with the line that says where it stands. */
export function quoteFigure(citation) {
  const source = element('button', { type: 'button', class: 'source-link', 'data-citation': citation.n },
    element('span', { class: 'source-title', lang: citation.language }, citation.title),
    citation.heading && element('span', { class: 'source-heading', lang: citation.language }, ` › ${citation.heading}`),
    citation.date && element('span', { class: 'source-heading' }, ` · ${citation.date}`));
  return element('figure', { class: 'quote' },
    element('figcaption', {}, label(element('span', { class: 'quote-label' }), 'fromDocument'), ' ', source),
    element('blockquote', { lang: citation.language }, renderDocumentText(citation.path, citation.quote)));
}

/** `[n]` in the text: a button once the citation is known. */
export function citationMark(n, citation) {
  if (!citation) return element('span', { class: 'citation' }, String(n));
  const mark = element('button', { type: 'button', class: 'citation', 'data-citation': n }, String(n));
  return labelAttribute(mark, 'aria-label', 'citation', { n, title: citation.title });
}

/** The list below an answer, under a heading from the labels. */
export function sourceList(citations, headingKey) {
  return element('section', { class: 'sources' },
    label(element('h3', { class: 'small-heading' }), headingKey),
    element('ol', { role: 'list' }, citations.map(sourceItem)));
}

function sourceItem(citation) {
  const { n, title, heading, date, path, language } = citation;
  const button = element('button', { type: 'button', class: 'source', 'data-citation': n },
    element('span', { class: 'citation', 'aria-hidden': 'true' }, String(n)),
    element('span', { class: 'source-names' },
      element('span', { class: 'source-line', lang: language },
        element('span', { class: 'source-title' }, title),
        heading && element('span', { class: 'source-heading' }, ` › ${heading}`)),
      element('span', { class: 'source-path' }, [path, date].filter(Boolean).join(' · '))),
    languageTag(language));
  return element('li', {}, button);
}

/** `IT` or `EN`; spoken as the language's name. */
export function languageTag(language) {
  const spoken = label(element('span', { class: 'visually-hidden' }), language === 'it' ? 'languageIt' : 'languageEn');
  return element('span', { class: 'language-tag' }, element('span', { 'aria-hidden': 'true' }, language.toUpperCase()), spoken);
}
