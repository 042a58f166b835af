/**
 * The state, in one word and one colour, with a line of help beside it.
 */

import { byId } from './element.js';

const STATES = {
  off: ['Off', 'Press Start to talk, or type'],
  connecting: ['Connecting', 'One moment'],
  listening: ['Listening', 'Ask about the news'],
  hearing: ['Hearing you', 'Pause to get the answer'],
  thinking: ['Thinking', 'Finding the answer'],
  speaking: ['Speaking', 'Talk over it to interrupt'],
  interrupted: ['Interrupted', 'The rest was not heard'],
};

/**
 * @param {keyof STATES} state
 * @param {{voice: 'off' | 'opening' | 'live', muted: boolean}} onAir
 */
export function drawState(state, { voice, muted }) {
  const [name, help] = STATES[state];
  Object.assign(document.body.dataset, { state, voice, muted });
  setText(byId('state'), name);
  setText(byId('state-detail'), muted ? 'You are muted' : help);
}

/** @param {{voice: 'off' | 'opening' | 'live', muted: boolean, answering: boolean}} desk */
export function drawControls({ voice, muted, answering }) {
  setButton(byId('start'), voice === 'off' ? 'Start' : 'Stop', voice === 'off' ? 'icon-start' : 'icon-end');
  setButton(byId('mute'), muted ? 'Unmute' : 'Mute', muted ? 'icon-muted' : 'icon-microphone');
  byId('mute').disabled = voice !== 'live';
  byId('stop-answer').disabled = !answering;
  byId('meter-you').classList.toggle('muted', muted);
}

/**
 * @param {'connecting' | 'up' | 'down'} condition
 * @param {string} text
 */
export function drawLine(condition, text) {
  byId('line').dataset.line = condition;
  setText(byId('line-text'), text);
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

function setButton(button, label, icon) {
  setText(button.querySelector('span'), label);
  const [use] = button.getElementsByTagName('use');
  if (use.getAttribute('href') !== `#${icon}`) use.setAttribute('href', `#${icon}`);
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
