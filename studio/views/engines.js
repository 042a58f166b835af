/**
 * The engines behind the anchor and how they are.
 */

import { byId, make } from './element.js';

const KINDS = { stt: 'Recogniser', llm: 'Desk', tts: 'Voice', vad: 'Speech detector' };

/** @param {{engines: {kind: string, name: string, state: string, problem: string | null}[]}} event */
export function drawEngines({ engines }) {
  byId('engines').replaceChildren(...engines.map(engineRow));
  byId('engines-empty').hidden = engines.length > 0;
}

function engineRow({ kind, name, state, problem }) {
  const dot = make('span', { className: 'dot' });
  dot.setAttribute('aria-hidden', 'true');
  const row = make(
    'li',
    { className: 'engine' },
    make('span', { className: 'engine-kind', text: KINDS[kind] ?? kind }),
    make('span', { className: 'engine-name', text: name }),
    make('span', { className: 'engine-state' }, dot, state),
  );
  row.dataset.state = state;
  if (problem) row.append(make('p', { className: 'engine-problem', text: problem }));
  return row;
}
