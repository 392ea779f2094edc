// The inline half of Markdown: emphasis, code, links, escapes. Links are shown as text: the page leads nowhere else.

import { element } from './elements.js';

const PUNCTUATION = /[\p{P}\p{S}]/u;
const ENTITIES = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0', hellip: '…', ndash: '–', mdash: '—', euro: '€' };

/**
 * Renders `source` as inline nodes. `options.mark(n)` makes the node of a citation mark `[n]`; without it such marks
 * are plain text.
 */
export function renderInline(source, options = {}) {
  const fragment = document.createDocumentFragment();
  fragment.append(...emphasised(scan(source, options)).map(nodeOf));
  fragment.normalize();
  return fragment;
}

/** Pieces of the source, in order: strings, nodes and runs of emphasis characters. */
function scan(source, options) {
  const pieces = [];
  let text = '';
  let at = 0;
  const push = (piece) => {
    if (text) pieces.push(text);
    text = '';
    pieces.push(piece);
  };
  while (at < source.length) {
    const found = specialAt(source, at, options);
    if (!found) {
      text += source[at];
      at += 1;
      continue;
    }
    // A citation mark does not begin a line.
    if (found.isMark) text = text.replace(/ $/, '\u00a0');
    if (typeof found.piece === 'string') text += found.piece;
    else push(found.piece);
    at = found.end;
  }
  if (text) pieces.push(text);
  return pieces;
}

/** `{ piece, end }` when something other than plain text starts at `at`. */
function specialAt(source, at, options) {
  switch (source[at]) {
    case '\\': return escapeAt(source, at);
    case '`': return codeAt(source, at);
    case '<': return angleAt(source, at);
    case '!': return source[at + 1] === '[' ? imageAt(source, at) : undefined;
    case '[': return bracketAt(source, at, options);
    case '&': return entityAt(source, at);
    case '*': case '_': case '~': return emphasisRunAt(source, at);
    case ' ': case '\n': return lineBreakAt(source, at);
    default: return undefined;
  }
}

function escapeAt(source, at) {
  const next = source[at + 1];
  if (next === '\n') return { piece: element('br'), end: at + 2 };
  return next && /[!-/:-@[-`{-~]/.test(next) ? { piece: next, end: at + 2 } : undefined;
}

function codeAt(source, at) {
  const [fence] = /^`+/.exec(source.slice(at));
  const closing = new RegExp(`(?<!\`)${fence}(?!\`)`, 'g');
  closing.lastIndex = at + fence.length;
  const close = closing.exec(source);
  if (!close) return { piece: fence, end: at + fence.length };
  let code = source.slice(at + fence.length, close.index).replaceAll('\n', ' ');
  if (/^ .*[^ ].* $/.test(code)) code = code.slice(1, -1);
  return { piece: element('code', {}, code), end: close.index + fence.length };
}

function angleAt(source, at) {
  const rest = source.slice(at);
  const address = /^<([a-z][a-z0-9+.-]{1,31}:[^\s<>]*|[^\s<>@]+@[^\s<>@]+)>/i.exec(rest);
  if (address) return { piece: address[1], end: at + address[0].length };
  const lineBreak = /^<br\s*\/?>/i.exec(rest);
  return lineBreak ? { piece: element('br'), end: at + lineBreak[0].length } : undefined;
}

function imageAt(source, at) {
  const link = linkAt(source, at + 1);
  return link && { piece: link.text, end: link.end };
}

function bracketAt(source, at, options) {
  const mark = options.mark && /^\[(\d{1,3})\](?!\()/.exec(source.slice(at));
  if (mark) return { piece: options.mark(Number(mark[1])), end: at + mark[0].length, isMark: true };
  const link = linkAt(source, at);
  if (!link) return undefined;
  const shown = element('span', { class: 'link-text', title: link.target || undefined });
  shown.append(renderInline(link.text, options));
  return { piece: shown, end: link.end };
}

/** `[text](target)` or `[text][reference]` from the bracket at `at`. */
function linkAt(source, at) {
  let depth = 0;
  let close = at;
  for (; close < source.length; close += 1) {
    if (source[close] === '\\') close += 1;
    else if (source[close] === '[') depth += 1;
    else if (source[close] === ']' && (depth -= 1) === 0) break;
  }
  if (depth !== 0 || close >= source.length) return undefined;
  const text = source.slice(at + 1, close);
  const after = source.slice(close + 1);
  const inline = /^\(\s*(?:<([^<>\n]*)>|((?:[^\s()\\]|\\.|\([^\s()]*\))*))(?:\s+(?:"[^"]*"|'[^']*'))?\s*\)/.exec(after);
  if (inline) return { text, target: inline[1] ?? inline[2], end: close + 1 + inline[0].length };
  const reference = /^\[[^\]\d][^\]]*\]/.exec(after);
  return reference ? { text, target: '', end: close + 1 + reference[0].length } : undefined;
}

function entityAt(source, at) {
  const entity = /^&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]+));/i.exec(source.slice(at));
  if (!entity) return undefined;
  const [whole, decimal, hexadecimal, name] = entity;
  const character = name ? ENTITIES[name] : characterOf(decimal ? Number(decimal) : parseInt(hexadecimal, 16));
  return character && { piece: character, end: at + whole.length };
}

function characterOf(codePoint) {
  return codePoint > 0 && codePoint <= 0x10ffff ? String.fromCodePoint(codePoint) : '\ufffd';
}

function lineBreakAt(source, at) {
  const hard = /^ {2,}\n/.exec(source.slice(at));
  return hard ? { piece: element('br'), end: at + hard[0].length } : undefined;
}

/** A run of `*`, `_` or `~` and what it may open or close (CommonMark 0.31, left- and right-flanking runs). */
function emphasisRunAt(source, at) {
  const character = source[at];
  let end = at;
  while (source[end] === character) end += 1;
  const before = source[at - 1] ?? ' ';
  const after = source[end] ?? ' ';
  const left = !/\s/.test(after) && (!PUNCTUATION.test(after) || /\s/.test(before) || PUNCTUATION.test(before));
  const right = !/\s/.test(before) && (!PUNCTUATION.test(before) || /\s/.test(after) || PUNCTUATION.test(after));
  const withinWord = character === '_' && left && right;
  const run = {
    character,
    count: end - at,
    canOpen: left && (!withinWord || PUNCTUATION.test(before)),
    canClose: right && (!withinWord || PUNCTUATION.test(after)),
  };
  return { piece: run, end };
}

/** Pairs the runs, innermost first, and wraps what lies between them. */
function emphasised(pieces) {
  for (let closeAt = 0; closeAt < pieces.length; closeAt += 1) {
    const closer = pieces[closeAt];
    if (!closer.canClose || closer.count === 0) continue;
    let openAt = closeAt - 1;
    while (openAt >= 0 && !pair(pieces[openAt], closer)) openAt -= 1;
    if (openAt < 0) continue;
    const opener = pieces[openAt];
    const used = Math.min(opener.count, closer.count, 2);
    const tag = closer.character === '~' ? 's' : used === 2 ? 'strong' : 'em';
    const inside = pieces.slice(openAt + 1, closeAt).map(nodeOf);
    pieces.splice(openAt + 1, closeAt - openAt - 1, element(tag, {}, ...inside));
    opener.count -= used;
    closer.count -= used;
    closeAt = openAt + 1; // The closer, which may have characters left, is next.
  }
  return pieces;
}

function pair(opener, closer) {
  if (!opener.canOpen || opener.count === 0 || opener.character !== closer.character) return false;
  if (opener.character === '~') return opener.count === 2 && closer.count === 2;
  const both = opener.canClose || closer.canOpen;
  return !(both && (opener.count + closer.count) % 3 === 0 && (opener.count % 3 !== 0 || closer.count % 3 !== 0));
}

function nodeOf(piece) {
  if (piece instanceof Node) return piece;
  return document.createTextNode(typeof piece === 'string' ? piece : piece.character.repeat(piece.count));
}
