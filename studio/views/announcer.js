/**
 * Speaks to screen readers, in whole sentences and one at a time. The captions themselves are no live region: partial
 * words, revised ten times a second, would drown everything.
 */

import { byId, make } from './element.js';

/** Long enough for every screen reader to have taken it, short enough not to be found by browsing. */
const KEPT_MS = 8000;

/** @param {string} text when the screen reader has time */
export function announce(text) {
  put(byId('announcer'), text);
}

/** @param {string} text at once */
export function alarm(text) {
  put(byId('alarm'), text);
}

function put(region, text) {
  const line = make('p', { text });
  region.append(line);
  setTimeout(() => line.remove(), KEPT_MS);
}
