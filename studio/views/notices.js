/**
 * Problems on the page: what happened and what to do, until it is solved or dismissed.
 */

import { alarm } from './announcer.js';
import { byId, make } from './element.js';

/** More at once would push the desk off the screen; the oldest goes. */
const MOST_NOTICES = 3;

const shown = new Map();

/**
 * @param {string} topic one notice a topic: a new one replaces the old
 * @param {import('../problems.js').Problem} problem
 * @param {{severity?: 'error' | 'warning', repeat?: boolean, action?: {label: string, run: () => void}}} [options] `repeat`: it was said before, so screen readers need not be told again
 */
export function showNotice(topic, { title, text }, { severity = 'error', repeat = false, action } = {}) {
  const body = make('div', { className: 'notice-body' }, make('strong', { text: title }), make('p', { text }));
  const notice = make('div', { className: `notice ${severity}` }, body);
  notice.dataset.topic = topic;
  if (action) notice.append(make('button', { className: 'button', type: 'button', text: action.label, onclick: action.run }));
  const dismiss = make('button', { className: 'icon-button', type: 'button', text: '×', onclick: () => clearNotice(topic) });
  dismiss.setAttribute('aria-label', `Dismiss: ${title}`);
  notice.append(dismiss);
  if (!repeat || !shown.has(topic)) alarm(`${title}. ${text}`);
  clearNotice(topic);
  byId('error').append(notice);
  shown.set(topic, notice);
  if (shown.size > MOST_NOTICES) clearNotice(shown.keys().next().value);
}

/** @param {string} topic */
export function clearNotice(topic) {
  shown.get(topic)?.remove();
  shown.delete(topic);
}
