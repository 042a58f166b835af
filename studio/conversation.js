/**
 * The conversation as the studio knows it: reads the server's events, says what the page should show, and sees to it that
 * an interrupted answer is silent at once and remembered only as far as it was heard.
 *
 * It knows the Realtime API and the studio's own `anchor.*` events, but no page, no socket and no sound card: those are
 * handed in.
 *
 * Events: `state`; `story` (detail: {slug}), when the voice reaches a story; `story-end` (detail: {complete}), when the
 * answer on it ends; `interrupted`; `problem` (detail: Problem); `voice`, when it changed; `hello`, `rundown`, `engines`, `engine-notices`
 * (detail: the server's event).
 */

import { decodeBase64 } from './audio/pcm.js';
import { CaptionLog } from './caption-log.js';
import { heardLength, ReadingPace, wordEnd } from './heard.js';
import { failedAnswerProblem, serverProblem } from './problems.js';
import { TurnLog } from './turn-log.js';

/** Captions given back to the server after the line was lost: the recent talk is what a question can refer to. */
const CAPTIONS_GIVEN_BACK = 20;

/** Answers looked after at once; one is heard, one is written, and the cut ones wait for their accounts. */
const MOST_ANSWERS = 16;

/** "Interrupted" stands this long, so that it can be read even when the anchor is listening again at once. */
const INTERRUPTED_SHOWN_MS = 1200;

/** Name of the messages that settle an account. The server may have forgotten the item already; nobody need know. */
const ACCOUNT = 'studio_account';

/**
 * @typedef {object} Answer
 * @property {string} id the response
 * @property {string | null} item its item, once there is one
 * @property {boolean} cut no more of it is to be heard
 * @property {number | null} firstSoundAt when its first sound arrived
 * @property {string | null} story slug of the story on air
 * @property {{slug: string, from: number}[]} stories those the voice has not reached, and the characters before each
 */

export class Conversation extends EventTarget {
  captions = new CaptionLog();
  turns = new TurnLog();

  /** The anchor's voice from the next answer on. */
  voice = '';

  #send;
  #speaker;
  #answers = new Map();
  #active = null;
  #pace = new ReadingPace();
  #interruptible = true;
  #serverState = 'listening';
  #interruptedAt = null;
  #toGiveBack = [];
  #itemsMade = 0;

  /**
   * @param {(event: object) => boolean} send sends a client event; false when there is no line
   * @param {import('./speaker.js').Speaker} speaker
   */
  constructor(send, speaker) {
    super();
    this.#send = send;
    this.#speaker = speaker;
    speaker.addEventListener('heard', ({ detail }) => this.#heard(detail.response, detail.playedMs));
    speaker.addEventListener('audible', ({ detail }) => this.#audible(detail.response, detail.at));
    speaker.addEventListener('finished', ({ detail }) => this.#finished(detail.response));
  }

  /** What the anchor does: 'listening', 'hearing', 'thinking', 'speaking' or 'interrupted'. */
  get state() {
    if (this.#interruptedAt !== null) return 'interrupted';
    if (this.#speaker.busy && this.#serverState === 'listening') return 'speaking';
    return this.#serverState;
  }

  /** An answer is being prepared, given or heard. */
  get answering() {
    return this.#speaker.busy || (this.#active !== null && !this.#active.cut);
  }

  /**
   * A typed message. It takes the floor as speech does.
   * @param {string} text
   * @returns {boolean} false when there is no line and nothing was said
   */
  say(text) {
    this.stopAnswer();
    const item = this.#newItem('user', text);
    if (!this.#send({ type: 'conversation.item.create', item })) return false;
    this.#send({ type: 'response.create' });
    this.captions.change(this.captions.open(item.id, 'you'), { text, status: 'final', typed: true });
    return true;
  }

  /** Cuts the answer that is being given, if any. */
  stopAnswer() {
    if (!this.answering) return;
    if (this.#active) this.#send({ type: 'response.cancel' });
    if (this.#active) this.#active.cut = true;
    this.#cutAnswers();
  }

  /** The operator closed the microphone: the answer ends, and what was heard and not answered yet is forgotten. */
  goOff() {
    this.stopAnswer();
    this.#interruptedAt = null;
    this.#send({ type: 'input_audio_buffer.clear' });
    this.#closeInput();
    this.#emit('state');
  }

  /** @param {string} voice for the next answer on */
  useVoice(voice) {
    this.#send({ type: 'session.update', session: { type: 'realtime', audio: { output: { voice } } } });
  }

  /** The line is gone, and the server's memory with it. What was said is kept, to be given back. */
  lineLost() {
    this.#speaker.flush();
    this.#closeInput();
    for (const caption of this.captions.partials()) this.captions.change(caption, { status: 'interrupted' });
    this.#toGiveBack = this.captions.recent(CAPTIONS_GIVEN_BACK);
    this.#answers.clear();
    this.#active = null;
    this.#emit('story-end', { complete: false });
    this.#setState('listening');
  }

  /** @param {{type: string}} event a server event; those the studio has no use for are ignored */
  receive(event) {
    this.#handlers[event.type]?.(event);
  }

  #handlers = {
    'session.created': (event) => this.#sessionBegan(event),
    'session.updated': (event) => this.#sessionChanged(event),
    'anchor.hello': (event) => this.#emit('hello', event),
    'anchor.rundown': (event) => this.#emit('rundown', event),
    'anchor.engines': (event) => this.#emit('engines', event),
    'anchor.notices': (event) => this.#emit('engine-notices', event),
    'anchor.state': ({ state }) => this.#setState(state),
    'input_audio_buffer.speech_started': ({ item_id }) => this.#speechStarted(item_id),
    'input_audio_buffer.cleared': () => this.#closeInput(),
    'anchor.transcript.partial': ({ item_id, text }) => this.#understood(item_id, { text }),
    'conversation.item.input_audio_transcription.completed': ({ item_id, transcript }) =>
      this.#understood(item_id, { text: transcript.trim(), status: 'final' }),
    'conversation.item.input_audio_transcription.failed': ({ item_id, error }) =>
      this.#understood(item_id, { text: error?.message ?? '', status: 'failed' }),
    'response.created': ({ response }) => this.#answerCreated(response.id),
    'response.output_item.added': ({ response_id, item }) => this.#answerItem(response_id, item.id),
    'response.output_audio_transcript.delta': (event) => this.#answerText(event),
    'response.output_text.delta': (event) => this.#answerText(event),
    'response.output_audio.delta': (event) => this.#answerSound(event),
    'response.output_audio.done': ({ response_id }) => this.#speaker.end(response_id),
    'response.done': ({ response }) => this.#answerDone(response),
    'conversation.item.retrieved': ({ item }) => this.#itemAsHeard(item),
    'anchor.playout.cleared': () => this.#speaker.busy && this.#cutAnswers(),
    'anchor.story': ({ response_id, story }) => this.#storyAhead(response_id, story),
    'anchor.latency': (event) => this.turns.measured(event),
    error: ({ error }) => this.#refused(error ?? {}),
  };

  #sessionBegan(event) {
    this.#sessionChanged(event);
    for (const { speaker, text, status, heard } of this.#toGiveBack) {
      const said = status === 'interrupted' ? text.slice(0, heard) : text;
      const item = this.#newItem(speaker === 'you' ? 'user' : 'assistant', said);
      if (said) this.#send({ type: 'conversation.item.create', item });
    }
    this.#toGiveBack = [];
  }

  #sessionChanged({ session }) {
    this.#interruptible = session?.audio?.input?.turn_detection?.interrupt_response ?? false;
    this.voice = session?.audio?.output?.voice ?? '';
    this.#emit('voice');
  }

  #setState(state) {
    this.#serverState = state;
    if (state !== 'hearing') this.#forgetInterruption();
    this.#emit('state');
  }

  #speechStarted(item) {
    this.captions.open(item, 'you');
    if (this.#interruptible && this.#speaker.busy) this.#cutAnswers();
  }

  #understood(item, changes) {
    this.captions.change(this.captions.open(item, 'you'), changes);
  }

  #closeInput() {
    for (const caption of this.captions.partials()) {
      if (caption.speaker === 'you') this.captions.change(caption, { status: 'final' });
    }
  }

  #answerCreated(id) {
    this.#active = { id, item: null, cut: false, firstSoundAt: null, story: null, stories: [] };
    this.#answers.set(id, this.#active);
    if (this.#answers.size > MOST_ANSWERS) this.#answers.delete(this.#answers.keys().next().value);
  }

  /** @returns {import('./caption-log.js').Caption | undefined} */
  #answerItem(response, item) {
    const answer = this.#answers.get(response);
    if (!answer) return undefined;
    answer.item = item;
    const caption = this.captions.open(item, 'anchor');
    if (caption.story !== answer.story) this.captions.change(caption, { story: answer.story });
    return caption;
  }

  #answerText({ response_id, item_id, delta }) {
    const caption = this.#answerItem(response_id, item_id);
    if (caption) this.captions.change(caption, { text: caption.text + delta });
  }

  #answerSound({ response_id, item_id, delta }) {
    const answer = this.#answers.get(response_id);
    if (!answer || answer.cut) return;
    answer.item = item_id;
    answer.firstSoundAt ??= performance.now();
    try {
      const samples = decodeBase64(delta);
      this.#pace.received(response_id, samples.length);
      this.#speaker.push(response_id, samples);
    } catch (error) {
      this.#refused({ type: 'server_error', message: `It sent sound that cannot be read: ${error.message}` });
    }
  }

  #answerDone({ id, status, status_details: details }) {
    if (this.#active?.id === id) this.#active = null;
    this.#speaker.end(id);
    if (status === 'failed') this.#emit('problem', failedAnswerProblem(details));
    const answer = this.#answers.get(id);
    if (!answer) return;
    if (status === 'completed') this.#pace.complete(id, this.#captionOf(answer)?.text.length ?? 0);
    if (!this.#speaker.has(id)) this.#close(answer, status === 'completed');
    this.#emit('state');
  }

  /** Silence first, then the accounts: the server is told what was heard and asked for the words that were. */
  async #cutAnswers() {
    for (const answer of this.#answers.values()) answer.cut ||= this.#speaker.has(answer.id);
    const flushed = this.#speaker.flush();
    this.#interruptedAt = performance.now();
    this.#emit('interrupted');
    this.#emit('state');
    for (const { response, playedMs } of await flushed) this.#settle(this.#answers.get(response), playedMs);
  }

  #settle(answer, playedMs) {
    if (!answer?.item) return;
    this.#heard(answer.id, playedMs);
    this.#close(answer, false);
    const item = { event_id: ACCOUNT, item_id: answer.item };
    this.#send({ ...item, type: 'conversation.item.truncate', content_index: 0, audio_end_ms: playedMs });
    this.#send({ ...item, type: 'conversation.item.retrieve' });
  }

  /** Nothing more of this answer will be heard. */
  #close(answer, complete) {
    const caption = this.#captionOf(answer);
    if (caption?.status === 'partial') {
      const changes = complete ? { status: 'final', heard: caption.text.length } : { status: 'interrupted' };
      this.captions.change(caption, changes);
    }
    this.#emit('story-end', { complete });
  }

  /** The server knows to the word what was heard; until it says so, the pace of the voice is the estimate. */
  #itemAsHeard(item) {
    const caption = this.captions.get(item?.id);
    const text = item?.content?.[0]?.transcript;
    if (caption?.status !== 'interrupted' || typeof text !== 'string') return;
    const heard = heardLength(caption.text, text);
    if (heard !== null) this.captions.change(caption, { heard });
  }

  #heard(response, playedMs) {
    const answer = this.#answers.get(response);
    if (!answer) return;
    const caption = this.#captionOf(answer);
    this.#send({ type: 'anchor.playout', response_id: response, played_ms: playedMs });
    if (caption?.status !== 'partial') return;
    const heard = Math.max(caption.heard, wordEnd(caption.text, this.#pace.characters(response, playedMs)));
    if (heard !== caption.heard) this.captions.change(caption, { heard });
    this.#airStories(answer, heard);
  }

  #audible(response, at) {
    const answer = this.#answers.get(response);
    if (!answer) return;
    this.turns.heardAfter(response, at - answer.firstSoundAt);
    this.#airStories(answer, 0);
    this.#emit('state');
  }

  #finished(response) {
    const answer = this.#answers.get(response);
    if (!answer) return;
    this.#airStories(answer, Number.POSITIVE_INFINITY);
    this.#close(answer, true);
    this.#emit('state');
  }

  /** The text runs ahead of the voice: a story is on air when the voice gets there. */
  #storyAhead(response, slug) {
    const answer = this.#answers.get(response);
    if (!answer) return;
    const caption = this.#captionOf(answer);
    answer.stories.push({ slug, from: caption?.text.length ?? 0 });
    if (!this.#speaker.busy || this.#speaker.has(response)) this.#airStories(answer, caption?.heard ?? 0);
  }

  #airStories(answer, heard) {
    while (answer.stories.length && answer.stories[0].from <= heard) {
      const { slug } = answer.stories.shift();
      answer.story = slug;
      this.captions.change(this.#captionOf(answer), { story: slug });
      this.#emit('story', { slug });
    }
  }

  #forgetInterruption() {
    if (this.#interruptedAt === null) return;
    const left = this.#interruptedAt + INTERRUPTED_SHOWN_MS - performance.now();
    if (left <= 0) this.#interruptedAt = null;
    else setTimeout(() => this.#setState(this.#serverState), left);
  }

  #refused(error) {
    const problem = serverProblem(error);
    if (problem && error.event_id !== ACCOUNT) this.#emit('problem', problem);
  }

  #captionOf(answer) {
    return this.captions.get(answer.item);
  }

  #newItem(role, text) {
    this.#itemsMade += 1;
    const id = `studio_${this.#itemsMade}_${Math.random().toString(36).slice(2, 10)}`;
    const type = role === 'user' ? 'input_text' : 'output_text';
    return { id, type: 'message', role, content: [{ type, text }] };
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
