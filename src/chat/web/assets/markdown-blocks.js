// The block half of Markdown, and the text of documents that are not Markdown.
// A safe subset: everything is built node by node, raw HTML stays text.

import { element } from './elements.js';
import { renderInline } from './markdown-inline.js';

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:\s+(.*?))?(?:\s+#+)?\s*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-+*]|\d{1,9}[.)])(\s+|$)/;
const INDENTED = /^(?: {4}|\t)/;
const UNDERLINE = /^ {0,3}(=+|-{2,})\s*$/;
const TABLE_RULE = /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;
/** Rows that a quote took out of their table, the last one with its citation mark. */
const LONE_ROW = /^\s*\|.*\|(?:\s*\[\d+\])*\s*$/;
const COMMENT = /^ {0,3}<!--/;

/** Nesting beyond this is shown as text: no document needs it, and a hostile one must not exhaust the stack. */
const DEPTH_MAX = 12;

/**
 * Renders Markdown. Options: `mark(n)` makes the node of a citation mark, `headingLevel` is the level that a first
 * level heading gets on the page.
 */
export function renderMarkdown(source, options = {}) {
  const fragment = document.createDocumentFragment();
  renderLines(source.replaceAll('\r\n', '\n').split('\n'), fragment, { headingLevel: 3, depth: 0, ...options });
  return fragment;
}

/** Renders the text of the document at `path`: Markdown by its rules, everything else line by line. */
export function renderDocumentText(path, text) {
  return /\.(md|markdown|mdx)$/i.test(path) ? renderMarkdown(text, { headingLevel: 2 }) : renderPlainText(text);
}

/** Paragraphs between blank lines; lines with tabs are the rows of a table. */
export function renderPlainText(text) {
  const fragment = document.createDocumentFragment();
  for (const paragraph of text.replaceAll('\r\n', '\n').split(/\n\s*\n/)) {
    let lines = [];
    const flush = () => {
      if (lines.some((line) => line.trim())) fragment.append(element('p', { class: 'plain' }, lines.join('\n')));
      lines = [];
    };
    let rows;
    for (const line of paragraph.split('\n')) {
      if (!line.trim().includes('\t')) {
        rows = undefined;
        lines.push(line);
        continue;
      }
      flush();
      if (!rows) {
        rows = element('tbody');
        fragment.append(scrolling(element('table', {}, rows)));
      }
      rows.append(element('tr', {}, line.split('\t').map((cell) => element('td', {}, cell.trim()))));
    }
    flush();
  }
  return fragment;
}

function renderLines(lines, into, options) {
  let at = 0;
  while (at < lines.length) {
    at = lines[at].trim() === '' ? at + 1 : renderBlock(lines, at, into, options);
  }
}

/** Renders the block that starts at line `at` and returns the line after it. */
function renderBlock(lines, at, into, options) {
  const line = lines[at];
  if (options.depth > DEPTH_MAX) return renderParagraph(lines, at, into, options);
  if (FENCE.test(line)) return renderFence(lines, at, into);
  if (COMMENT.test(line)) return afterComment(lines, at);
  if (HEADING.test(line)) {
    const [, marks, text = ''] = HEADING.exec(line);
    into.append(heading(marks.length, text, options));
    return at + 1;
  }
  if (RULE.test(line)) {
    into.append(element('hr'));
    return at + 1;
  }
  if (QUOTE.test(line)) return renderQuote(lines, at, into, options);
  if (ITEM.test(line)) return renderList(lines, at, into, options);
  if (isTable(lines, at)) return renderTable(lines, at, into, options);
  if (LONE_ROW.test(line)) return renderLoneRows(lines, at, into, options);
  if (INDENTED.test(line)) return renderIndentedCode(lines, at, into);
  return renderParagraph(lines, at, into, options);
}

function heading(level, text, options) {
  return element(`h${Math.min(options.headingLevel + level - 1, 6)}`, {}, renderInline(text, options));
}

function renderFence(lines, at, into) {
  const [, fence, language] = FENCE.exec(lines[at]);
  const indent = /^ */.exec(lines[at])[0].length;
  const closing = new RegExp(`^ {0,3}${fence[0]}{${fence.length},}\\s*$`);
  let end = at + 1;
  while (end < lines.length && !closing.test(lines[end])) end += 1;
  const code = lines.slice(at + 1, end).map((line) => line.slice(Math.min(indent, /^ */.exec(line)[0].length)));
  into.append(codeBlock(code.join('\n'), language.trim().split(/\s/)[0]));
  return end + 1;
}

function renderIndentedCode(lines, at, into) {
  let end = at;
  while (end < lines.length && (INDENTED.test(lines[end]) || lines[end].trim() === '')) end += 1;
  into.append(codeBlock(lines.slice(at, end).map((line) => line.replace(INDENTED, '')).join('\n').trimEnd()));
  return end;
}

function codeBlock(code, language) {
  // Focusable, because what is wider than the page is scrolled inside.
  return element('pre', { tabindex: 0, 'data-code': language || undefined }, element('code', {}, code));
}

function afterComment(lines, at) {
  let end = at;
  while (end < lines.length && !lines[end].includes('-->')) end += 1;
  return end + 1;
}

function renderQuote(lines, at, into, options) {
  let end = at;
  const inside = [];
  while (end < lines.length && (QUOTE.test(lines[end]) || (continuesParagraph(lines, end) && inside.at(-1)?.trim()))) {
    inside.push(lines[end].replace(QUOTE, ''));
    end += 1;
  }
  const quote = element('blockquote');
  renderLines(inside, quote, { ...options, depth: options.depth + 1 });
  into.append(quote);
  return end;
}

function renderList(lines, at, into, options) {
  const [, , firstMarker] = ITEM.exec(lines[at]);
  const isOrdered = /\d/.test(firstMarker);
  const start = parseInt(firstMarker, 10);
  const items = [];
  let isLoose = false;
  let next = at;
  while (next < lines.length) {
    const marker = ITEM.exec(lines[next]);
    if (!marker || RULE.test(lines[next]) || kindOf(marker[2]) !== kindOf(firstMarker)) break;
    const { inside, end } = itemAt(lines, next, marker);
    isLoose ||= inside.some((line, index) => line.trim() === '' && inside.slice(index).some((later) => later.trim()));
    items.push(inside);
    next = end;
    while (next < lines.length && lines[next].trim() === '' && ITEM.test(lines[nextFilled(lines, next)] ?? '')) {
      const following = ITEM.exec(lines[nextFilled(lines, next)]);
      if (kindOf(following[2]) !== kindOf(firstMarker)) break;
      isLoose = true;
      next = nextFilled(lines, next);
    }
  }
  const list = element(isOrdered ? 'ol' : 'ul', { start: isOrdered && start !== 1 ? start : undefined });
  for (const inside of items) list.append(listItem(inside, { ...options, tight: !isLoose, depth: options.depth + 1 }));
  into.append(list);
  return next;
}

/** Lists end where the bullet character or the delimiter after the number changes. */
function kindOf(marker) {
  return marker.at(-1);
}

function nextFilled(lines, at) {
  let next = at;
  while (next < lines.length && lines[next].trim() === '') next += 1;
  return next;
}

/** The lines of one item without their indentation, and the line after it. */
function itemAt(lines, at, [whole, indent, marker, gap]) {
  const width = indent.length + marker.length + (gap.length > 4 || gap === '' ? 1 : gap.length);
  const inside = [lines[at].slice(Math.min(width, whole.length))];
  let end = at + 1;
  for (; end < lines.length; end += 1) {
    const line = lines[end].replace(/^\t+/, (tabs) => '    '.repeat(tabs.length));
    const depth = /^ */.exec(line)[0].length;
    if (line.trim() === '') {
      const following = lines[nextFilled(lines, end)] ?? '';
      if (/^\s*/.exec(following)[0].replaceAll('\t', '    ').length < width || following === '') break;
      inside.push('');
    } else if (depth >= width || (depth >= indent.length + 2 && ITEM.test(line))) {
      // Two spaces are enough for a list within a list, as many people write it.
      inside.push(line.slice(Math.min(depth, width)));
    } else if (!ITEM.test(line) && continuesParagraph(lines, end) && inside.at(-1).trim()) {
      inside.push(line.trimStart());
    } else {
      break;
    }
  }
  return { inside, end };
}

function listItem(lines, options) {
  const item = element('li');
  const task = /^\[([ xX])\]\s+/.exec(lines[0]);
  if (task) item.append(task[1] === ' ' ? '☐ ' : '☑ ');
  renderLines(task ? [lines[0].slice(task[0].length), ...lines.slice(1)] : lines, item, options);
  return item;
}

function isTable(lines, at) {
  const rule = lines[at + 1];
  return lines[at].includes('|') && rule !== undefined && rule.includes('-') && TABLE_RULE.test(rule)
    && cellsOf(lines[at]).length === cellsOf(rule).length;
}

function renderTable(lines, at, into, options) {
  const alignment = cellsOf(lines[at + 1]).map((rule) => {
    if (rule.endsWith(':')) return rule.startsWith(':') ? 'center' : 'end';
    return undefined;
  });
  const row = (line, tag) => {
    const cells = cellsOf(line);
    return element('tr', {}, alignment.map((align, column) =>
      element(tag, { class: align && `align-${align}`, scope: tag === 'th' ? 'col' : undefined },
        renderInline(cells[column] ?? '', options))));
  };
  const body = element('tbody');
  let end = at + 2;
  while (end < lines.length && lines[end].includes('|') && lines[end].trim() !== '') {
    body.append(row(lines[end], 'td'));
    end += 1;
  }
  into.append(scrolling(element('table', {}, element('thead', {}, row(lines[at], 'th')), body)));
  return end;
}

function renderLoneRows(lines, at, into, options) {
  const body = element('tbody');
  let end = at;
  while (end < lines.length && LONE_ROW.test(lines[end])) {
    body.append(element('tr', {}, cellsOf(lines[end]).map((cell) => element('td', {}, renderInline(cell, options)))));
    end += 1;
  }
  into.append(scrolling(element('table', {}, body)));
  return end;
}

/** Citation marks behind a row belong to its last cell. */
function cellsOf(line) {
  const inner = line.trim().replace(/\s*\|\s*((?:\[\d+\])+)$/, ' $1').replace(/^\|/, '').replace(/(?<!\\)\|$/, '');
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll('\\|', '|'));
}

function scrolling(table) {
  return element('div', { class: 'table-scroll', tabindex: 0 }, table);
}

function renderParagraph(lines, at, into, options) {
  let end = at + 1;
  while (end < lines.length && continuesParagraph(lines, end)) end += 1;
  const text = lines.slice(at, end).map((line) => line.trimStart()).join('\n').trimEnd();
  if (end < lines.length && UNDERLINE.test(lines[end])) {
    into.append(heading(lines[end].trim().startsWith('=') ? 1 : 2, text, options));
    return end + 1;
  }
  const inline = renderInline(text, options);
  into.append(options.tight ? inline : element('p', {}, inline));
  return end;
}

/** Whether line `at` belongs to a paragraph that began above it. */
function continuesParagraph(lines, at) {
  const line = lines[at];
  if (line.trim() === '' || UNDERLINE.test(line)) return false;
  const item = ITEM.exec(line);
  // A number at the start of a wrapped line is not a list unless it starts one.
  const startsList = item && item[3] !== '' && (!/\d/.test(item[2]) || parseInt(item[2], 10) === 1);
  const startsBlock = [FENCE, HEADING, RULE, QUOTE, LONE_ROW].some((block) => block.test(line));
  return !(startsList || startsBlock || isTable(lines, at));
}
