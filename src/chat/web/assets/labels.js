// The words of the page in Italian and English, and the switch between them.

import { readPreference, writePreference } from './preferences.js';

const LABELS = {
  it: {
    skipToQuestion: 'Vai alla domanda',
    pageLanguage: 'Lingua della pagina',
    switchTheme: 'Cambia tra chiaro e scuro',
    conversation: 'Conversazione',
    welcomeTitle: 'Chiedi ai tuoi documenti',
    welcomeText: 'Rispondo in italiano e in inglese, soltanto con quello che è scritto nei documenti, e mostro dove.',
    samplesTitle: 'Per cominciare',
    question: 'La tua domanda',
    questionPlaceholder: 'Fai una domanda…',
    send: 'Invia la domanda',
    stop: 'Ferma',
    stopHint: 'Ferma la risposta (Esc)',
    composerHint: 'Invio per chiedere · Maiusc+Invio per andare a capo',
    charactersLeft: ({ left }) => `Ancora ${number(left)} caratteri`,
    charactersOver: ({ over }) => `${number(over)} caratteri di troppo: accorcia la domanda`,
    serviceReaching: 'Mi collego a Cervella…',
    serviceLoading: 'Il modello si sta caricando: tra poco si può chiedere.',
    serviceUnreachable: 'Cervella non risponde: riprovo tra poco.',
    serviceEmpty: ({ model }) => `${model} · nessun documento indicizzato`,
    serviceReady: ({ model, documents }) => `${model} · ${count(documents, 'documento', 'documenti')}`,
    searching: 'Cerco nei documenti…',
    fromDocument: 'Dal documento',
    closestPassage: 'Il passo più vicino',
    answerComing: 'Scrivo la risposta…',
    waiting: ({ ahead, seconds: wait }) => `In coda dopo ${ahead}: comincio tra circa ${Math.ceil(wait)} s`,
    noAnswerHeading: 'Nei documenti non c’è una risposta',
    closestDocuments: 'I documenti più vicini',
    sources: 'Fonti',
    showAll: 'Mostra tutto',
    showLess: 'Mostra meno',
    citation: ({ n, title }) => `Fonte ${n}: ${title}`,
    times: ({ first, total }) => `Primo testo dopo ${seconds(first)} · risposta completa in ${seconds(total)}`,
    copy: 'Copia',
    copied: 'Copiata',
    stopped: 'Risposta interrotta.',
    lost: 'La connessione si è interrotta prima della fine della risposta.',
    unreachable: 'Non riesco a raggiungere Cervella. È ancora in funzione?',
    failedHeading: 'Qualcosa è andato storto',
    trace: 'Codice da riferire:',
    retry: 'Riprova',
    askAgain: 'Chiedi di nuovo',
    closeDocument: 'Chiudi il documento',
    loadingDocument: 'Apro il documento…',
    citedPassage: 'Passo citato',
    documentUnreachable: 'Non riesco ad aprire il documento: la connessione si è interrotta.',
    languageIt: 'Italiano',
    languageEn: 'Inglese',
    announceAsked: 'Domanda inviata.',
    announceQuote: ({ title }) => `Dal documento ${title}:`,
    announceAnswer: ({ sources }) => `Risposta completa, ${count(sources, 'fonte', 'fonti')}:`,
  },
  en: {
    skipToQuestion: 'Skip to the question',
    pageLanguage: 'Language of the page',
    switchTheme: 'Switch between light and dark',
    conversation: 'Conversation',
    welcomeTitle: 'Ask your documents',
    welcomeText: 'I answer in Italian and English, only with what the documents say, and show where they say it.',
    samplesTitle: 'To begin with',
    question: 'Your question',
    questionPlaceholder: 'Ask a question…',
    send: 'Send the question',
    stop: 'Stop',
    stopHint: 'Stop the answer (Esc)',
    composerHint: 'Enter to ask · Shift+Enter for a new line',
    charactersLeft: ({ left }) => `${number(left)} characters left`,
    charactersOver: ({ over }) => `${number(over)} characters too many: please shorten the question`,
    serviceReaching: 'Connecting to Cervella…',
    serviceLoading: 'The model is loading: you can ask in a moment.',
    serviceUnreachable: 'Cervella does not respond: trying again shortly.',
    serviceEmpty: ({ model }) => `${model} · no documents indexed`,
    serviceReady: ({ model, documents }) => `${model} · ${count(documents, 'document', 'documents')}`,
    searching: 'Searching the documents…',
    fromDocument: 'From',
    closestPassage: 'The closest passage',
    answerComing: 'Writing the answer…',
    waiting: ({ ahead, seconds: wait }) => `Behind ${ahead} in the queue: about ${Math.ceil(wait)} s until I begin`,
    noAnswerHeading: 'The documents hold no answer',
    closestDocuments: 'The closest documents',
    sources: 'Sources',
    showAll: 'Show all',
    showLess: 'Show less',
    citation: ({ n, title }) => `Source ${n}: ${title}`,
    times: ({ first, total }) => `First text after ${seconds(first)} · whole answer in ${seconds(total)}`,
    copy: 'Copy',
    copied: 'Copied',
    stopped: 'Answer stopped.',
    lost: 'The connection was lost before the answer was complete.',
    unreachable: 'Cervella cannot be reached. Is it still running?',
    failedHeading: 'Something went wrong',
    trace: 'Code to report:',
    retry: 'Try again',
    askAgain: 'Ask again',
    closeDocument: 'Close the document',
    loadingDocument: 'Opening the document…',
    citedPassage: 'Cited passage',
    documentUnreachable: 'The document cannot be opened: the connection was lost.',
    languageIt: 'Italian',
    languageEn: 'English',
    announceAsked: 'Question sent.',
    announceQuote: ({ title }) => `From ${title}:`,
    announceAnswer: ({ sources }) => `Answer complete, ${count(sources, 'source', 'sources')}:`,
  },
};

const ATTRIBUTES = ['aria-label', 'title', 'placeholder'];

/** What each label was made with, to make it again in the other language. */
const valuesOf = new WeakMap();

let language = readPreference('language', Object.keys(LABELS)) ?? browserLanguage();

export function pageLanguage() {
  return language;
}

export function switchLanguage(wanted) {
  language = wanted;
  writePreference('language', wanted);
  relabel();
}

/** The words for `key` in the language of the page. */
export function words(key, values = {}) {
  const label = LABELS[language][key];
  return typeof label === 'function' ? label(values) : label;
}

/** Makes `key` the text of `target`, now and after a switch of the language. Returns `target`. */
export function label(target, key, values = {}) {
  target.dataset.label = key;
  valuesOf.set(target, values);
  target.textContent = words(key, values);
  return target;
}

/** The same for an attribute: `aria-label`, `title` or `placeholder`. */
export function labelAttribute(target, attribute, key, values = {}) {
  target.setAttribute(`data-${attribute}`, key);
  valuesOf.set(target, values);
  target.setAttribute(attribute, words(key, values));
  return target;
}

/** Writes every label of the page in the current language. */
export function relabel() {
  document.documentElement.lang = language;
  for (const target of document.querySelectorAll('[data-label]')) {
    target.textContent = words(target.dataset.label, valuesOf.get(target));
  }
  for (const attribute of ATTRIBUTES) {
    for (const target of document.querySelectorAll(`[data-${attribute}]`)) {
      target.setAttribute(attribute, words(target.getAttribute(`data-${attribute}`), valuesOf.get(target)));
    }
  }
  for (const button of document.querySelectorAll('[data-language]')) {
    button.setAttribute('aria-pressed', String(button.dataset.language === language));
  }
}

/** The first language of the browser that the page speaks. */
function browserLanguage() {
  const codes = (navigator.languages ?? [navigator.language]).map((tag) => tag.slice(0, 2).toLowerCase());
  return codes.find((code) => code in LABELS) ?? 'en';
}

function number(value) {
  return new Intl.NumberFormat(language).format(value);
}

function count(value, one, many) {
  return `${number(value)} ${value === 1 ? one : many}`;
}

function seconds(milliseconds) {
  if (milliseconds < 100) return `${number(Math.round(milliseconds))}\u00a0ms`;
  const digits = milliseconds < 9_950 ? 1 : 0;
  const format = new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return `${format.format(milliseconds / 1000)}\u00a0s`;
}
