/**
 * The API key of a server that others can reach. It comes behind the page's address, as `#key=KEY`: what stands there is
 * never sent to a server. It is kept while the tab is open, and taken out of the address, so that nobody reads it there.
 */

const NAME = 'anchor.key';

/**
 * @param {Location} location
 * @param {History} history
 * @param {Storage} storage
 * @returns {string | null} the key, if there is one
 */
export function takeKey(location, history, storage) {
  const given = new URLSearchParams(location.hash.slice(1)).get('key');
  if (given) {
    storage.setItem(NAME, given);
    history.replaceState(history.state, '', location.pathname + location.search);
  }
  return storage.getItem(NAME);
}

/**
 * Where a page can put a key for a WebSocket: among the subprotocols, of which the server chooses the first.
 * @param {string | null} key
 */
export function protocols(key) {
  return key ? ['realtime', `openai-insecure-api-key.${key}`] : [];
}
