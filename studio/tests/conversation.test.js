import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { encodeBase64 } from '../audio/pcm.js';
import { Conversation } from '../conversation.js';

/** A speaker that plays nothing; the test says what was heard. */
class SilentSpeaker extends EventTarget {
  open = new Map();
  get busy() {
    return this.open.size > 0;
  }
  has(response) {
    return this.open.has(response);
  }
  push(response) {
    this.open.set(response, this.open.get(response) ?? 0);
  }
  end() {}
  flush() {
    const cut = [...this.open].map(([response, playedMs]) => ({ response, playedMs }));
    this.open.clear();
    return Promise.resolve(cut);
  }
  hear(response, playedMs) {
    this.open.set(response, playedMs);
    this.#emit('heard', { response, playedMs });
  }
  audible(response, at) {
    this.#emit('audible', { response, at });
  }
  finish(response) {
    this.open.delete(response);
    this.#emit('finished', { response });
  }
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

const SECOND = encodeBase64(new Int16Array(24000));
const TEXT = 'The bridge closes on Monday. Buses run by the old mill.';

let speaker, sent, conversation, stories;

beforeEach(() => {
  speaker = new SilentSpeaker();
  sent = [];
  stories = [];
  conversation = new Conversation((event) => sent.push(event) > 0, speaker);
  conversation.addEventListener('story', ({ detail }) => stories.push(detail.slug));
  conversation.addEventListener('story-end', ({ detail }) => stories.push(detail.complete ? 'told' : 'cut'));
  begin();
});

function begin(interrupt_response = true) {
  tell('session.created', { session: { audio: { input: { turn_detection: { type: 'server_vad', interrupt_response } } } } });
}

function tell(type, fields) {
  conversation.receive({ type, event_id: 'event_1', ...fields });
}

function answer(id = 'R', item = 'A', text = TEXT) {
  tell('response.created', { response: { id } });
  tell('response.output_item.added', { response_id: id, item: { id: item, type: 'message', role: 'assistant' } });
  tell('anchor.story', { response_id: id, story: 'bridge' });
  tell('response.output_audio_transcript.delta', { response_id: id, item_id: item, delta: text });
  tell('response.output_audio.delta', { response_id: id, item_id: item, delta: SECOND });
  tell('anchor.state', { state: 'speaking' });
}

const settled = () => new Promise((resolve) => setImmediate(resolve));
const sentTypes = () => sent.map(({ type }) => type).filter((type) => type !== 'anchor.playout');

test('a turn is provisional until it is transcribed', () => {
  tell('input_audio_buffer.speech_started', { item_id: 'U' });
  tell('anchor.transcript.partial', { item_id: 'U', text: 'what is' });
  tell('anchor.transcript.partial', { item_id: 'U', text: 'what about the bridge' });
  assert.deepEqual([conversation.captions.get('U').text, conversation.captions.get('U').status], ['what about the bridge', 'partial']);
  tell('conversation.item.input_audio_transcription.completed', { item_id: 'U', transcript: 'What about the bridge? ' });
  assert.deepEqual([conversation.captions.get('U').text, conversation.captions.get('U').status], ['What about the bridge?', 'final']);
});

test('speech over the answer cuts it, tells the server what was heard and shows what was not', async () => {
  answer();
  speaker.hear('R', 800);
  tell('input_audio_buffer.speech_started', { item_id: 'U2' });
  assert.equal(speaker.busy, false, 'silent before anything else happens');
  assert.equal(conversation.state, 'interrupted');
  await settled();
  assert.deepEqual(sentTypes(), ['conversation.item.truncate', 'conversation.item.retrieve']);
  assert.deepEqual(sent.find(({ type }) => type === 'conversation.item.truncate'), {
    type: 'conversation.item.truncate',
    event_id: 'studio_account',
    item_id: 'A',
    content_index: 0,
    audio_end_ms: 800,
  });
  tell('conversation.item.retrieved', { item: { id: 'A', content: [{ type: 'output_audio', transcript: 'The bridge closes' }] } });
  const { status, heard } = conversation.captions.get('A');
  assert.deepEqual([status, TEXT.slice(heard)], ['interrupted', ' on Monday. Buses run by the old mill.']);
  assert.deepEqual(stories, ['bridge', 'cut']);
});

test('sound of an answer that was cut is not played, be it late or more of it', async () => {
  answer();
  tell('input_audio_buffer.speech_started', { item_id: 'U2' });
  tell('response.output_audio.delta', { response_id: 'R', item_id: 'A', delta: SECOND });
  tell('anchor.playout.cleared', {});
  await settled();
  assert.equal(speaker.busy, false);
  assert.equal(sentTypes().length, 2, 'one account, not two');
});

test('speech does not cut the answer where the session says so', () => {
  begin(false);
  answer();
  tell('input_audio_buffer.speech_started', { item_id: 'U2' });
  assert.equal(speaker.busy, true);
});

test('stopping cancels what is being made, and only silences what is already made', async () => {
  answer();
  tell('response.done', { response: { id: 'R', status: 'completed' } });
  conversation.stopAnswer();
  await settled();
  assert.deepEqual(sentTypes(), ['conversation.item.truncate', 'conversation.item.retrieve']);
  sent.length = 0;
  answer('R2', 'A2');
  conversation.stopAnswer();
  await settled();
  assert.deepEqual(sentTypes(), ['response.cancel', 'conversation.item.truncate', 'conversation.item.retrieve']);
  sent.length = 0;
  conversation.stopAnswer();
  assert.deepEqual(sent, [], 'nothing is being said');
});

test('closing the microphone ends the answer and forgets what was half said', () => {
  answer();
  tell('input_audio_buffer.speech_started', { item_id: 'U' });
  tell('anchor.transcript.partial', { item_id: 'U', text: 'and what' });
  conversation.goOff();
  assert.ok(sentTypes().includes('input_audio_buffer.clear'));
  assert.equal(conversation.captions.get('U').status, 'final');
  assert.notEqual(conversation.state, 'interrupted');
});

test('a typed message takes the floor', () => {
  answer();
  conversation.say('And the storm?');
  assert.deepEqual(sentTypes().slice(0, 3), ['response.cancel', 'conversation.item.create', 'response.create']);
  const [caption] = conversation.captions.recent(1);
  assert.deepEqual([caption.text, caption.speaker, caption.typed], ['And the storm?', 'you', true]);
});

test('an answer heard to its end is final, and its story told', () => {
  answer();
  tell('response.done', { response: { id: 'R', status: 'completed' } });
  assert.equal(conversation.captions.get('A').status, 'partial', 'it is still being heard');
  speaker.hear('R', 500);
  assert.ok(conversation.captions.get('A').heard > 0);
  speaker.finish('R');
  const { status, heard } = conversation.captions.get('A');
  assert.deepEqual([status, heard], ['final', TEXT.length]);
  assert.deepEqual(stories, ['bridge', 'told']);
});

test('a caption names its story, also when the story is known first', () => {
  tell('response.created', { response: { id: 'R' } });
  tell('anchor.story', { response_id: 'R', story: 'bridge' });
  tell('response.output_item.added', { response_id: 'R', item: { id: 'A', type: 'message', role: 'assistant' } });
  assert.equal(conversation.captions.get('A').story, 'bridge');
});

test('a story is on air when the voice reaches it, not when its text arrives', () => {
  answer();
  tell('anchor.story', { response_id: 'R', story: 'storm' });
  tell('response.output_audio_transcript.delta', { response_id: 'R', item_id: 'A', delta: ' A storm is coming.' });
  speaker.audible('R', 0);
  speaker.hear('R', 1000);
  assert.deepEqual(stories, ['bridge']);
  speaker.hear('R', 6000);
  assert.deepEqual(stories, ['bridge', 'storm']);
});

test('after the line was lost the talk is given back, without what nobody heard', async () => {
  conversation.say('What about the bridge?');
  answer();
  speaker.hear('R', 800);
  conversation.lineLost();
  await settled();
  const { status, heard } = conversation.captions.get('A');
  assert.equal(status, 'interrupted');
  sent.length = 0;
  begin();
  assert.deepEqual(
    sent.map(({ item }) => [item.role, item.content[0].text]),
    [
      ['user', 'What about the bridge?'],
      ['assistant', TEXT.slice(0, heard)],
    ],
  );
  sent.length = 0;
  begin();
  assert.deepEqual(sent, [], 'once');
});

test('the page adds its own share to the measured turn, whichever is known first', () => {
  answer();
  tell('anchor.latency', { response_id: 'R', endpointing_ms: 450, stt_ms: 5, llm_ms: 2, tts_ms: 30, total_ms: 487 });
  assert.equal(conversation.turns.turns[0].page, null);
  speaker.audible('R', performance.now() + 70);
  const { page } = conversation.turns.turns[0];
  assert.ok(page >= 70 && page < 90, `${page} ms`);
});

test('problems are told in words, needless ones are not told', () => {
  const problems = [];
  conversation.addEventListener('problem', ({ detail }) => problems.push(detail.text));
  tell('error', { error: { type: 'invalid_request_error', code: 'response_cancel_not_active', message: 'no' } });
  tell('error', { error: { type: 'invalid_request_error', code: 'unknown_voice', message: 'There is no voice "bob".' } });
  tell('response.created', { response: { id: 'R' } });
  tell('response.done', { response: { id: 'R', status: 'failed', status_details: { error: { message: 'The voice failed.' } } } });
  assert.deepEqual(problems, ['There is no voice "bob".', 'The voice failed. Ask again; if it happens twice, look at Engines.']);
});

test('events of no use, and broken ones, harm nothing', () => {
  tell('rate_limits.updated', {});
  tell('response.output_audio.delta', { response_id: 'nobody', item_id: 'X', delta: '!!' });
  answer();
  tell('response.output_audio.delta', { response_id: 'R', item_id: 'A', delta: '!!' });
  assert.equal(conversation.state, 'speaking');
});
