/**
 * The state, in one word and one colour, with a line of help beside it.
 */

import { byId } from './element.js';

const STATES = {
  off: ['Off', 'Press Start to talk, or type'],
  connecting: ['Connecting', 'One moment'],
  listening: ['Listening', 'Ask about the news'],
  hearing: ['Hearing you', ''],
  thinking: ['Thinking', ''],
  speaking: ['Speaking', 'Talk over it to interrupt'],
  interrupted: ['Interrupted', 'The rest was not heard'],
};

/**
 * @param {keyof STATES} state
 * @param {string} [detail] said instead of the usual help
 */
export function drawState(state, detail) {
  const [name, help] = STATES[state];
  document.body.dataset.state = state;
  setText(byId('state'), name);
  setText(byId('state-detail'), detail ?? help);
}

/** @param {number | null} since when the microphone was opened, in milliseconds since the epoch */
export function drawClock(since) {
  const now = new Date();
  setText(byId('clock'), now.toLocaleTimeString([], { hour12: false }));
  byId('on-air-time').hidden = since === null;
  if (since === null) return;
  const seconds = Math.floor((now.getTime() - since) / 1000);
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  setText(byId('on-air-time'), parts.map((part) => String(part).padStart(2, '0')).join(':'));
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
