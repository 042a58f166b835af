import assert from 'node:assert/strict';
import { test } from 'node:test';

import { PlayoutBuffer } from '../audio/playout.js';

const MS = 24;

const tone = (ms) => Int16Array.from({ length: ms * MS }, (_, n) => 16000 * Math.sin((2 * Math.PI * 440 * n) / 24000));

function read(buffer, ms) {
  const output = new Float32Array(ms * MS);
  buffer.read(output);
  return output;
}

const loudest = (samples) => samples.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0);
const kinds = (buffer) => buffer.takeEvents().map(({ kind }) => kind);

/** The largest step between neighbours: what the ear hears as a click. A 440 Hz tone at 0.49 steps by at most 0.057. */
const sharpest = (samples) => samples.reduce((step, sample, n) => (n ? Math.max(step, Math.abs(sample - samples[n - 1])) : 0), 0);

test('an answer starts after the wait and is counted to the sample', () => {
  const buffer = new PlayoutBuffer();
  buffer.push('a', tone(40));
  assert.equal(loudest(read(buffer, 20)), 0);
  buffer.push('a', tone(40));
  assert.ok(loudest(read(buffer, 20)) > 0.3);
  assert.deepEqual(buffer.current, { response: 'a', played: 20 * MS });
});

test('a short answer that is complete does not wait', () => {
  const buffer = new PlayoutBuffer();
  buffer.push('a', tone(10));
  buffer.end('a');
  assert.ok(loudest(read(buffer, 20)) > 0.3);
  assert.deepEqual(kinds(buffer), ['audible', 'finished']);
  assert.equal(buffer.current, null);
});

test('running dry is an underrun that lengthens the wait, and answers without one shorten it again', () => {
  const buffer = new PlayoutBuffer();
  const wait = buffer.wait;
  buffer.push('a', tone(100));
  read(buffer, 120);
  assert.deepEqual(kinds(buffer), ['audible', 'underrun']);
  assert.ok(buffer.wait > wait);
  buffer.push('a', tone(80));
  assert.equal(loudest(read(buffer, 20)), 0, 'too little for the longer wait');
  buffer.end('a');
  read(buffer, 100);
  const longer = buffer.wait;
  for (const id of ['b', 'c', 'd', 'e']) {
    buffer.push(id, tone(20));
    buffer.end(id);
    read(buffer, 40);
  }
  assert.ok(buffer.wait < longer && buffer.wait >= wait);
});

test('the wait never grows past what a paced server sends ahead', () => {
  const buffer = new PlayoutBuffer();
  for (let gap = 0; gap < 50; gap++) {
    buffer.push('a', tone(300));
    read(buffer, 400);
  }
  assert.ok(buffer.wait < 300 * MS);
});

test('a flush is silent after its fade, reports what was heard, and does not click', () => {
  const buffer = new PlayoutBuffer();
  buffer.push('a', tone(1000));
  buffer.push('b', tone(500));
  const before = read(buffer, 203);
  assert.deepEqual(buffer.flush(), [
    { response: 'a', played: 208 * MS },
    { response: 'b', played: 0 },
  ]);
  const after = read(buffer, 100);
  assert.equal(loudest(after.subarray(5 * MS)), 0);
  assert.ok(sharpest(Float32Array.of(...before, ...after)) < 0.06);
  assert.deepEqual(buffer.flush(), []);
});

test('sound pushed after a flush plays from its beginning', () => {
  const buffer = new PlayoutBuffer();
  buffer.push('a', tone(500));
  read(buffer, 100);
  buffer.flush();
  buffer.push('b', tone(100));
  assert.ok(loudest(read(buffer, 50)) > 0.3);
  assert.equal(buffer.current.response, 'b');
});

test('edges and gaps do not click', () => {
  const buffer = new PlayoutBuffer();
  buffer.push('a', tone(101));
  const gap = read(buffer, 150);
  buffer.push('a', tone(203));
  buffer.end('a');
  assert.ok(sharpest(Float32Array.of(...gap, ...read(buffer, 300))) < 0.06);
});

test('the buffer has a limit', () => {
  const buffer = new PlayoutBuffer();
  assert.equal(buffer.push('a', new Int16Array(119_000 * MS)), true);
  assert.equal(buffer.push('a', new Int16Array(2000 * MS)), false);
  assert.equal(buffer.push('a', new Int16Array(1000 * MS)), true);
});
