/**
 * @param {string} id
 * @returns {HTMLElement} the element of the page with this id
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no element with the id "${id}"`);
  return element;
}

/**
 * Makes an element. Text is always text: nothing that a server or a rundown says becomes markup.
 * @param {string} tag
 * @param {{className?: string, text?: string, [property: string]: unknown}} [properties]
 * @param {...(Node | string)} children
 */
export function make(tag, { className, text, ...properties } = {}, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  Object.assign(element, properties);
  element.append(...children);
  return element;
}

/** Words for screen readers alone. */
export function hidden(text) {
  return make('span', { className: 'visually-hidden', text });
}
