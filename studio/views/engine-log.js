/**
 * The newest of what happened to the engines as a line in their panel, and what came before it on request.
 */

import { EngineLog, isGood } from '../engine-log.js';
import { announce } from './announcer.js';
import { byId, make } from './element.js';

/** @param {import('../conversation.js').Conversation} conversation */
export function showEngineLog(conversation) {
  const log = new EngineLog();
  conversation.addEventListener('engine-notices', ({ detail }) => {
    const { newest, earlier, fresh } = log.take(detail);
    const line = byId('engine-notice');
    line.hidden = newest === null;
    if (newest) fill(line, newest);
    const history = byId('engine-history');
    history.hidden = earlier.length === 0;
    byId('engine-history-list').replaceChildren(...earlier.map((notice) => fill(make('li', { className: 'engine-notice' }), notice)));
    for (const { text } of fresh) announce(text);
  });
}

function fill(element, notice) {
  const at = new Date(notice.at_ms);
  const time = make('time', { className: 'engine-notice-time', text: at.toLocaleTimeString(), dateTime: at.toISOString() });
  element.replaceChildren(time, ` ${notice.text}`);
  element.dataset.good = String(isGood(notice));
  return element;
}
