import assert from 'node:assert/strict';
import { test } from 'node:test';

import { EngineLog, isGood } from '../engine-log.js';

const notice = (text, what = 'switched_over') => ({ what, about: 'ollama', text, at_ms: 0 });
const texts = (notices) => notices.map(({ text }) => text);

test('the newest is a line of its own and the earlier follow it, newest first', () => {
  const log = new EngineLog();
  const { newest, earlier } = log.take({ total: 3, notices: [notice('one'), notice('two'), notice('three')] });
  assert.equal(newest.text, 'three');
  assert.deepEqual(texts(earlier), ['two', 'one']);
});

test('only what was not known is said aloud', () => {
  const log = new EngineLog();
  assert.deepEqual(log.take({ total: 0, notices: [] }), { newest: null, earlier: [], fresh: [] });
  assert.deepEqual(texts(log.take({ total: 1, notices: [notice('one')] }).fresh), ['one']);
  assert.deepEqual(texts(log.take({ total: 1, notices: [notice('one')] }).fresh), [], 'the line came back');
  assert.deepEqual(texts(log.take({ total: 3, notices: [notice('one'), notice('two'), notice('three')] }).fresh), ['two', 'three']);
  assert.deepEqual(texts(log.take({ total: 90, notices: [notice('a'), notice('b')] }).fresh), ['a', 'b'], 'more than are kept');
});

test('history is not said aloud, neither at first nor of a new server', () => {
  const log = new EngineLog();
  assert.deepEqual(log.take({ total: 7, notices: [notice('seven')] }).fresh, []);
  assert.deepEqual(log.take({ total: 2, notices: [notice('two')] }).fresh, []);
  assert.deepEqual(texts(log.take({ total: 3, notices: [notice('two'), notice('three')] }).fresh), ['three']);
});

test('what is back is good news', () => {
  assert.ok(isGood(notice('', 'switched_back')) && isGood(notice('', 'server_ready')));
  assert.ok(!isGood(notice('', 'switched_over')) && !isGood(notice('', 'server_lost')));
});
