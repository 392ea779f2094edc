// Finds a quote in a rendered passage and marks it. The quote is source text and the page shows it rendered, so the
// two are compared by their letters and digits alone.

import { element } from './elements.js';

/** Pieces of a quote with fewer letters than this are not looked for by themselves: they would match anywhere. */
const PIECE_LETTERS_MIN = 10;

/**
 * Marks `quote` inside `root` and returns the marks in the order of the page; none when it is not there. `render`
 * turns source text into nodes in the way in which `root` was made.
 */
export function highlightQuote(root, quote, render) {
  const page = lettersOf(root);
  const ranges = wholeQuote(page, quote, render) ?? pieces(page, quote, render);
  // From the last to the first, so that splitting a text node leaves the positions before it valid.
  return ranges.sort((a, b) => b.start - a.start).flatMap((range) => markRange(page, range)).reverse();
}

function wholeQuote(page, quote, render) {
  const range = find(page, lettersOf(render(quote)).text);
  return range && [range];
}

/** A quote that is cut in the middle of markup, or left something out: line by line and sentence by sentence. */
function pieces(page, quote, render) {
  const ranges = [];
  let from = 0;
  for (const piece of quote.split(/\n+|…|\.{3}|(?<=[.!?;])\s+/)) {
    const wanted = lettersOf(render(piece)).text;
    if (wanted.length < PIECE_LETTERS_MIN) continue;
    const range = find(page, wanted, from) ?? find(page, wanted);
    if (!range || ranges.some((other) => range.start < other.end && other.start < range.end)) continue;
    ranges.push(range);
    from = range.end;
  }
  return ranges;
}

function find(page, wanted, from = 0) {
  const start = wanted ? page.text.indexOf(wanted, from) : -1;
  return start < 0 ? undefined : { start, end: start + wanted.length };
}

/** The letters and digits below `root`, folded, and for each of them the text node and the place that it came from. */
function lettersOf(root) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const places = [];
  let text = '';
  while (walker.nextNode()) {
    const node = walker.currentNode;
    let offset = 0;
    for (const character of node.data) {
      for (const unit of character.normalize('NFKC').toLowerCase().replace(/[^\p{L}\p{N}]/gu, '')) {
        text += unit;
        // One place for each UTF-16 unit, as `indexOf` counts.
        for (let i = 0; i < unit.length; i += 1) places.push({ node, offset, end: offset + character.length });
      }
      offset += character.length;
    }
  }
  return { text, places };
}

/** Wraps the letters of `range` and what stands between them and closes them; one mark for each text node. */
function markRange(page, { start, end }) {
  const spans = [];
  for (const place of page.places.slice(start, end)) {
    const last = spans.at(-1);
    if (last?.node === place.node) last.end = place.end;
    else spans.push({ ...place });
  }
  // Between the letters of two nodes there is no other letter, so the marks may touch.
  for (const span of spans.slice(1)) span.offset = 0;
  for (const span of spans.slice(0, -1)) span.end = span.node.data.length;
  const closing = spans.at(-1);
  closing.end += /^[.,;:!?…)\]»”’"']*/.exec(closing.node.data.slice(closing.end))[0].length;
  return spans.reverse().map(({ node, offset, end: spanEnd }) => {
    const rest = node.splitText(offset);
    rest.splitText(spanEnd - offset);
    const mark = element('mark');
    rest.replaceWith(mark);
    mark.append(rest);
    return mark;
  });
}
