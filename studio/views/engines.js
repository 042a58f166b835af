/**
 * The engines behind the anchor and how they are.
 */

import { byId, make } from './element.js';

const KINDS = { stt: 'Recogniser', llm: 'Answers', tts: 'Voice', vad: 'Speech detector' };

/** @param {{engines: {kind: string, name: string, state: string, problem: string | null, in_use: boolean}[]}} event */
export function drawEngines({ engines }) {
  byId('engines').replaceChildren(...engines.map(engineRow));
  byId('engines-empty').hidden = engines.length > 0;
}

/** What stands by is not needed now, so that it does not matter whether it is loaded. */
function stateShown(state, inUse) {
  return !inUse && (state === 'ready' || state === 'idle') ? 'stands by' : state;
}

function engineRow({ kind, name, state, problem, in_use: inUse }) {
  const dot = make('span', { className: 'dot' });
  dot.setAttribute('aria-hidden', 'true');
  const row = make(
    'li',
    { className: 'engine' },
    make('span', { className: 'engine-kind', text: KINDS[kind] ?? kind }),
    make('span', { className: 'engine-name', text: name }),
    make('span', { className: 'engine-state' }, dot, stateShown(state, inUse)),
  );
  row.dataset.state = state;
  row.dataset.inUse = String(inUse);
  if (problem) row.append(make('p', { className: 'engine-problem', text: problem }));
  return row;
}
