/**
 * What the studio remembers on this machine. Works without storage, then it just forgets.
 */

const PREFIX = 'anchor.';

/**
 * @param {string} name
 * @param {string} fallback
 * @returns {string}
 */
export function recall(name, fallback = '') {
  try {
    return localStorage.getItem(PREFIX + name) ?? fallback;
  } catch {
    return fallback;
  }
}

/**
 * @param {string} name
 * @param {string} value
 */
export function remember(name, value) {
  try {
    localStorage.setItem(PREFIX + name, value);
  } catch {
    // Storage is blocked or full; the choice holds until the page is closed.
  }
}

/**
 * Keeps a checkbox in step with what is remembered.
 * @param {HTMLInputElement} box
 * @param {string} name
 */
export function rememberCheckbox(box, name) {
  box.checked = recall(name, String(box.defaultChecked)) === 'true';
  box.addEventListener('change', () => remember(name, String(box.checked)));
}
