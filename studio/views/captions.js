/**
 * The captions: who said what, what is still provisional, and what of an interrupted answer nobody heard.
 */

import { announce } from './announcer.js';
import { byId, hidden, make } from './element.js';

const AT_THE_END_PX = 48;

/**
 * @param {import('../caption-log.js').CaptionLog} log
 * @param {{anchorName: () => string, readAloud: () => boolean}} options
 */
export function showCaptions(log, { anchorName, readAloud }) {
  const list = byId('captions');
  const toLatest = byId('to-latest');
  const rows = new Map();
  const announced = new Set();
  const following = () => list.scrollHeight - list.scrollTop - list.clientHeight < AT_THE_END_PX;
  const follow = () => list.scrollTo({ top: list.scrollHeight });

  log.addEventListener('caption', ({ detail: caption }) => {
    const follows = following();
    if (!rows.has(caption.id)) rows.set(caption.id, addRow(list, caption, anchorName()));
    drawCaption(rows.get(caption.id), caption);
    byId('captions-empty').hidden = true;
    if (follows) follow();
    else toLatest.hidden = false;
    if (caption.status !== 'partial' && !announced.has(caption.id) && readAloud()) {
      announced.add(caption.id);
      setTimeout(() => announce(spoken(caption, anchorName())), caption.status === 'interrupted' ? 600 : 0);
    }
  });
  log.addEventListener('dropped', ({ detail: { id } }) => {
    rows.get(id)?.remove();
    rows.delete(id);
    announced.delete(id);
  });
  list.addEventListener('scroll', () => {
    if (following()) toLatest.hidden = true;
  });
  toLatest.addEventListener('click', follow);
  new ResizeObserver(() => toLatest.hidden && follow()).observe(list);
}

/** A line across the captions, such as a reconnection. */
export function addCaptionRule(text) {
  const list = byId('captions');
  if (list.childElementCount === 0) return;
  list.append(make('li', { className: 'caption-rule' }, make('span', { text: `${text}, ${timeOfDay(new Date())}` })));
  list.scrollTop = list.scrollHeight;
}

function addRow(list, caption, anchorName) {
  const row = make('li', {});
  const time = make('time', {
    text: timeOfDay(caption.at),
    dateTime: caption.at.toISOString(),
  });
  const speaker = make('span', { className: 'speaker', text: caption.speaker === 'you' ? 'You' : anchorName });
  row.append(
    make('p', { className: 'caption-head' }, speaker, time, make('span', { className: 'caption-tags' })),
    make('p', { className: 'caption-text' }),
  );
  list.append(row);
  return row;
}

function timeOfDay(date) {
  return date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });
}

function drawCaption(row, caption) {
  row.className = `caption ${caption.speaker === 'you' ? 'user' : 'anchor'} ${caption.status}`;
  row.querySelector('.caption-text').replaceChildren(...textParts(caption));
  row.querySelector('.caption-tags').replaceChildren(...tags(caption).map((text) => make('span', { className: 'tag', text })));
}

function textParts({ speaker, text, status, heard }) {
  if (text === '') return [make('span', { className: 'wordless', text: wordless(speaker, status) })];
  if (status === 'failed') return [make('span', { className: 'wordless', text: `Not understood: ${text}` })];
  if (speaker === 'you') return [text];
  const said = text.slice(0, heard);
  const rest = text.slice(heard);
  if (status === 'partial') return [said, make('span', { className: 'ahead', text: rest })];
  if (status === 'interrupted' && rest.trim()) {
    return [said, make('span', { className: 'unheard' }, hidden(' Not heard: '), rest)];
  }
  return [text];
}

function wordless(speaker, status) {
  if (status === 'partial') return '…';
  if (status === 'failed') return 'Not understood';
  return speaker === 'you' ? 'No words recognised' : 'No answer';
}

function tags(caption) {
  const { status, typed, story } = caption;
  const tags = [];
  if (story) tags.push(story);
  if (typed) tags.push('typed');
  if (status === 'interrupted') tags.push(interruption(caption));
  return tags;
}

function interruption({ text, heard }) {
  if (heard >= text.length) return 'interrupted';
  return heard === 0 ? 'interrupted, not heard' : 'interrupted, rest not heard';
}

function spoken({ speaker, text, status, heard }, anchorName) {
  if (status === 'failed') return 'You were not understood.';
  if (speaker === 'you') return text ? `You: ${text}` : 'No words recognised.';
  if (status !== 'interrupted') return `${anchorName}: ${text}`;
  return `${anchorName}, interrupted: ${text.slice(0, heard)}. Not heard: ${text.slice(heard)}`;
}
