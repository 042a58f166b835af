import assert from 'node:assert/strict';
import { test } from 'node:test';

import { LevelMeter, toDbfs } from '../audio/level.js';
import { decodeBase64, encodeBase64, toInt16 } from '../audio/pcm.js';

test('samples survive the wire, little-endian', () => {
  const samples = Int16Array.of(0, 1, -1, 258, 32767, -32768);
  assert.equal(encodeBase64(samples.subarray(3, 4)), 'AgE=');
  assert.deepEqual(decodeBase64(encodeBase64(samples)), samples);
  const long = Int16Array.from({ length: 24000 }, (_, n) => (n * 7919) % 32768);
  assert.deepEqual(decodeBase64(encodeBase64(long)), long);
});

test('an odd byte is dropped, nonsense is an error', () => {
  assert.deepEqual(decodeBase64(btoa('\x01\x00\x07')), Int16Array.of(1));
  assert.throws(() => decodeBase64('~~~'));
});

test('what is too loud is clipped, what is no number is silence', () => {
  assert.deepEqual([1.5, -1.5, 1, -1, Number.NaN, Number.POSITIVE_INFINITY].map(toInt16), [32767, -32768, 32767, -32768, 0, 32767]);
});

test('levels are those of the samples since the last question', () => {
  const meter = new LevelMeter();
  for (const sample of [0.5, -0.5, 0.5, -0.5]) meter.add(sample);
  assert.deepEqual(meter.take(), { peak: 0.5, rms: 0.5 });
  assert.deepEqual(meter.take(), { peak: 0, rms: 0 });
  assert.equal(toDbfs(1), 0);
  assert.ok(Math.abs(toDbfs(0.5) + 6.02) < 0.01);
  assert.equal(toDbfs(0), -96);
});
