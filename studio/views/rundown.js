/**
 * The rundown: every story in running order, the one on air marked, those told ticked.
 */

import { byId, make } from './element.js';

/**
 * @param {import('../conversation.js').Conversation} conversation
 * @param {(text: string) => void} ask puts a question to the anchor
 */
export function showRundown(conversation, ask) {
  /** What became of each story so far: 'told' or 'cut'. Outlives edits of the rundown. */
  const told = new Map();
  let rundown = { title: '', stories: [], problem: null };
  let onAir = null;

  const draw = () => drawMarks(told, onAir);
  const leave = (outcome) => {
    if (onAir && told.get(onAir) !== 'told') told.set(onAir, outcome);
    onAir = null;
  };
  conversation.addEventListener('rundown', ({ detail }) => {
    rundown = detail;
    drawStories(rundown, ask);
    draw();
  });
  conversation.addEventListener('story', ({ detail: { slug } }) => {
    if (slug === onAir) return;
    leave('told');
    onAir = slug;
    draw();
    showOnAir();
  });
  conversation.addEventListener('story-end', ({ detail: { complete } }) => {
    leave(complete ? 'told' : 'cut');
    draw();
  });
}

function drawStories({ title, stories, problem }, ask) {
  const list = byId('rundown');
  const open = new Set([...list.querySelectorAll('details[open]')].map((details) => details.closest('li').dataset.slug));
  list.replaceChildren(...stories.map((story, index) => storyRow(story, index, open.has(story.slug), ask)));
  byId('rundown-title').textContent = title || 'Rundown';
  byId('rundown-summary').textContent = summary(stories);
  byId('rundown-empty').hidden = stories.length > 0;
  byId('rundown-empty').textContent = 'The rundown has no stories.';
  const warning = byId('rundown-problem');
  warning.hidden = problem === null;
  warning.textContent = problem === null ? '' : `The last edit was not taken, the rundown before it stays on air. ${problem}`;
}

function storyRow({ slug, heading, script, source, duration_seconds: seconds }, index, open, ask) {
  const head = make(
    'summary',
    {},
    make('span', { className: 'story-number', text: String(index + 1) }),
    make('span', { className: 'story-title' }, make('span', { className: 'story-heading', text: heading }), make('span', { className: 'story-slug', text: slug })),
    make('span', { className: 'story-mark' }),
    make('span', { className: 'story-length', text: seconds === null ? '' : duration(seconds) }),
  );
  const cue = make('button', { className: 'button small', type: 'button', text: 'Ask for it', onclick: () => ask(`Tell me about ${heading}`) });
  cue.setAttribute('aria-label', `Ask the anchor about ${heading}`);
  const foot = make('p', { className: 'story-foot' }, make('span', { text: source ? `Source: ${source}` : '' }), cue);
  const paragraphs = script.split(/\n\s*\n/).map((text) => make('p', { text }));
  const details = make('details', { open }, head, make('div', { className: 'story-script' }, ...paragraphs, foot));
  const row = make('li', { className: 'story' }, details);
  row.dataset.slug = slug;
  return row;
}

function drawMarks(told, onAir) {
  for (const row of byId('rundown').children) {
    const { slug } = row.dataset;
    const mark = slug === onAir ? 'on-air' : (told.get(slug) ?? '');
    row.dataset.mark = mark;
    if (mark === 'on-air') row.setAttribute('aria-current', 'true');
    else row.removeAttribute('aria-current');
    row.querySelector('.story-mark').textContent = { 'on-air': 'On air', told: 'Told', cut: 'Cut' }[mark] ?? '';
  }
}

/** Scrolls the list, never the page: on a phone that would pull the captions away from the reader. */
function showOnAir() {
  const list = byId('rundown');
  const row = list.querySelector('[aria-current]');
  if (!row || list.scrollHeight <= list.clientHeight) return;
  const [top, bottom] = [row.offsetTop - list.offsetTop, row.offsetTop - list.offsetTop + row.offsetHeight];
  if (top < list.scrollTop || bottom > list.scrollTop + list.clientHeight) list.scrollTop = top;
}

function summary(stories) {
  const seconds = stories.reduce((sum, story) => sum + (story.duration_seconds ?? 0), 0);
  const count = stories.length === 1 ? '1 story' : `${stories.length} stories`;
  return seconds > 0 ? `${count}, ${duration(seconds)}` : count;
}

function duration(seconds) {
  return `${Math.floor(seconds / 60)}:${String(Math.round(seconds % 60)).padStart(2, '0')}`;
}
