/**
 * Keys of the studio. Letters act only while no field has the focus, and can be turned off altogether (WCAG 2.1.4);
 * Escape acts always.
 */

/** Holding longer than this is a cough, not a press. */
const HOLD_MS = 350;

/**
 * @param {{start: () => void, stopAnswer: () => void, type: () => void, help: () => void, mute: MuteKey,
 *   enabled: () => boolean}} actions
 */
export function listenForShortcuts({ start, stopAnswer, type, help, mute, enabled }) {
  const keys = { s: start, t: type, '?': help };
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
    if (event.key === 'Escape') return stopAnswer();
    if (event.repeat || !enabled() || isField(event.target)) return;
    const key = event.key.toLowerCase();
    if (key === 'm') return mute.press();
    if (!keys[key]) return;
    event.preventDefault();
    keys[key]();
  });
  addEventListener('keyup', (event) => {
    if (event.key.toLowerCase() === 'm') mute.release();
  });
  addEventListener('blur', () => mute.release());
}

/** A key or button that toggles when pressed and, when held, changes things only while it is held. */
export class MuteKey {
  #toggle;
  #pressedAt = null;

  /** @param {() => void} toggle */
  constructor(toggle) {
    this.#toggle = toggle;
  }

  press() {
    if (this.#pressedAt !== null) return;
    this.#pressedAt = performance.now();
    this.#toggle();
  }

  release() {
    if (this.#pressedAt === null) return;
    const held = performance.now() - this.#pressedAt > HOLD_MS;
    this.#pressedAt = null;
    if (held) this.#toggle();
  }

  /** @param {HTMLElement} button works the same under a finger; a screen reader's click toggles */
  attach(button) {
    button.addEventListener('pointerdown', () => this.press());
    for (const type of ['pointerup', 'pointerleave', 'pointercancel']) button.addEventListener(type, () => this.release());
    button.addEventListener('click', ({ detail }) => {
      if (detail === 0) this.#toggle();
    });
  }
}

function isField(target) {
  return target instanceof Element && target.closest('input:not([type=checkbox]), select, textarea') !== null;
}
