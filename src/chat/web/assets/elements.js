// Safe building of DOM nodes: text enters the page only as text, never as markup.

const SVG = 'http://www.w3.org/2000/svg';

/**
 * An element with attributes and children. `undefined`, `null` and `false` attributes and children are left out;
 * strings become text nodes.
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return made;
}

const ICON_PATHS = {
  retry: 'M15.8 10a5.8 5.8 0 1 1-1.9-4.3M14.2 2.6v3.5h-3.5',
  copy: 'M7.5 7.5h8v8h-8zM12.5 7.5v-3h-8v8h3',
  copied: 'm4.5 10.5 3.6 3.6 7.4-8',
  arrow: 'M4 10h12M11 5l5 5-5 5',
};

/** A line icon that says nothing to a screen reader: the button around it carries the words. */
export function icon(name) {
  const drawing = document.createElementNS(SVG, 'svg');
  drawing.setAttribute('class', 'icon');
  drawing.setAttribute('viewBox', '0 0 20 20');
  drawing.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', ICON_PATHS[name]);
  drawing.append(path);
  return drawing;
}

/**
 * Makes the children of `parent` those of `fragment` and leaves the leading ones that are already the same alone, so
 * that focus and selection in them survive while text is appended.
 */
export function replaceChangedChildren(parent, fragment) {
  const wanted = [...fragment.childNodes];
  let same = 0;
  while (same < wanted.length && parent.childNodes[same]?.isEqualNode(wanted[same])) same += 1;
  while (parent.childNodes.length > same) parent.lastChild.remove();
  parent.append(...wanted.slice(same));
}
