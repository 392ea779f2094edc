// The question box: grows with its text, sends on Enter, turns into a stop button while an answer is written.

import { label, labelAttribute } from './labels.js';

/** As the server counts: characters after trimming. */
const CHARACTERS_MAX = 4_000;

/** From here on the box tells how many characters are left. */
const CHARACTERS_WARN = 3_700;

export class Composer {
  #form = document.getElementById('composer');
  #question = document.getElementById('question');
  #send = document.getElementById('send');
  #stop = document.getElementById('stop');
  #hint = document.getElementById('composer-hint');
  #ready = false;
  #busy = false;

  /** `ask(text)` is called with a question, `stop()` when the answer is to be stopped. */
  constructor({ ask, stop }) {
    this.ask = ask;
    labelAttribute(this.#stop, 'title', 'stopHint');
    this.#stop.addEventListener('click', stop);
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#question.addEventListener('keydown', (event) => {
      // While an input method composes a character, Enter belongs to it.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    this.#question.addEventListener('input', () => this.#update());
    addEventListener('resize', () => this.#fit());
    this.#update();
  }

  focus() {
    this.#question.focus();
  }

  set ready(ready) {
    this.#ready = ready;
    this.#update();
  }

  /** An answer is being written. */
  set busy(busy) {
    const stopHadFocus = document.activeElement === this.#stop;
    this.#busy = busy;
    this.#stop.hidden = !busy;
    this.#send.hidden = busy;
    if (stopHadFocus && !busy) this.focus();
    this.#update();
  }

  #submit() {
    const text = this.#question.value.trim();
    if (!this.#ready || this.#busy || text === '' || [...text].length > CHARACTERS_MAX) return;
    this.#question.value = '';
    this.#update();
    this.ask(text);
  }

  #update() {
    const length = [...this.#question.value.trim()].length;
    const over = length - CHARACTERS_MAX;
    this.#question.setAttribute('aria-invalid', String(over > 0));
    this.#send.disabled = !this.#ready || length === 0 || over > 0;
    if (over > 0) label(this.#hint, 'charactersOver', { over });
    else if (length >= CHARACTERS_WARN) label(this.#hint, 'charactersLeft', { left: -over });
    else label(this.#hint, 'composerHint');
    this.#hint.classList.toggle('over', over > 0);
    this.#fit();
  }

  #fit() {
    this.#question.style.height = 'auto';
    this.#question.style.height = `${this.#question.scrollHeight}px`;
  }
}
