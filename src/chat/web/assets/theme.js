// Runs before the page is drawn, so that a chosen theme does not flash in late. The switch itself is in chat.js.
'use strict';
try {
  const chosen = localStorage.getItem('cervella.theme');
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
} catch {
  // Storage is switched off: the theme of the system it is.
}
