import assert from 'node:assert/strict';
import { test } from 'node:test';

import { heardLength, ReadingPace, wordEnd } from '../heard.js';

test('the heard words are found in the text, whatever the white space', () => {
  const text = 'The bridge  closes on Monday. Buses run.';
  assert.equal(heardLength(text, 'The bridge closes'), 'The bridge  closes'.length);
  assert.equal(heardLength(text, ' The bridge closes on Monday. '), 'The bridge  closes on Monday.'.length);
  assert.equal(heardLength(text, ''), 0);
  assert.equal(heardLength(text, text), text.length);
  assert.equal(heardLength('Grüße 👋 an alle', 'Grüße 👋'), 'Grüße 👋'.length);
});

test('what is not the beginning of the text is not guessed', () => {
  assert.equal(heardLength('The bridge closes', 'A bridge'), null);
  assert.equal(heardLength('The bridge', 'The bridge closes'), null);
});

test('the pace is learnt from answers that were complete', () => {
  const pace = new ReadingPace();
  assert.equal(pace.characters('a', 2000), 30);
  pace.received('a', 10 * 24000);
  pace.complete('a', 200);
  assert.equal(pace.characters('a', 2000), 40, 'this answer is known');
  const next = pace.characters('b', 2000);
  assert.ok(next > 30 && next < 40, 'the next one is expected to be a little faster');
});

test('estimates end with a word', () => {
  assert.deepEqual([0, 1, 3, 5, 9, 40].map((at) => wordEnd('The bridge', at)), [0, 3, 3, 10, 10, 10]);
});
