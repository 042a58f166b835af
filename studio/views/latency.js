/**
 * How long the last answers took, each as a bar of its stages.
 */

import { medianTotal, STAGES, total } from '../turn-log.js';
import { byId, make } from './element.js';

const ROWS = 6;

/** The bars share one scale, at least this wide, so that a fast turn looks fast. */
const SHORTEST_SCALE_MS = 1000;

const NAMES = { endpointing: 'pause', stt: 'recogniser', llm: 'desk', tts: 'voice', page: 'page' };

/** @param {import('../turn-log.js').TurnLog} log */
export function showLatency(log) {
  log.addEventListener('turn', () => {
    const turns = log.turns.slice(0, ROWS);
    const scale = Math.max(SHORTEST_SCALE_MS, ...turns.map(total));
    byId('latency').replaceChildren(...turns.map((turn) => turnRow(turn, scale)));
    byId('latency-empty').hidden = true;
    byId('latency-median').textContent = `median ${Math.round(medianTotal(log.turns))} ms`;
  });
}

function turnRow(turn, scale) {
  const row = make('li', { className: 'turn' });
  const bar = make('span', { className: 'turn-bar' });
  bar.setAttribute('aria-hidden', 'true');
  const numbers = make('span', { className: 'turn-numbers' });
  for (const stage of STAGES) {
    if (turn[stage] === null) continue;
    const piece = make('span', {});
    piece.dataset.stage = stage;
    piece.style.setProperty('--share', String(turn[stage] / scale));
    bar.append(piece);
    const number = make('span', { text: String(Math.round(turn[stage])), title: NAMES[stage] });
    number.dataset.stage = stage;
    number.prepend(make('span', { className: 'visually-hidden', text: `${NAMES[stage]} ` }));
    numbers.append(number);
  }
  row.append(make('strong', { text: `${Math.round(total(turn))} ms` }), bar, numbers);
  return row;
}
