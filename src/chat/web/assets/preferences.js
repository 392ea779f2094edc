// What the reader chose, remembered in this browser; where storage is switched off it lasts as long as the page.

const PREFIX = 'cervella.';

/** The remembered value if it is one of `allowed`, else `undefined`. */
export function readPreference(name, allowed) {
  try {
    const value = localStorage.getItem(PREFIX + name);
    return allowed.includes(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Remembers `value`; `undefined` forgets. */
export function writePreference(name, value) {
  try {
    if (value === undefined) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, value);
  } catch {
    // Not remembered; the page works all the same.
  }
}
