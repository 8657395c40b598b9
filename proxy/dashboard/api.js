// Requests to the program, with the token. It is good for as long as the program runs, so whoever reads it later has nothing.

const KEY = 'ropeway.token';

/** The token from `#token=` of the address, which forgets it, or the one that was kept. */
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (given) {
    history.replaceState(null, '', location.pathname + location.search);
    localStorage.setItem(KEY, given);
  }
  return given || localStorage.getItem(KEY) || '';
}

/** Another one may be kept by now. */
export function forgetToken(token) {
  if (localStorage.getItem(KEY) === token) localStorage.removeItem(KEY);
}

/** `act` is called when another page has got a token. */
export function onNewToken(act) {
  addEventListener('storage', (event) => event.key === KEY && event.newValue && act());
}

/** `status` is 0 where there was no answer. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export class Api {
  /** `refused()` is called when the token is not accepted. */
  constructor(token, refused) {
    this.token = token;
    this.refused = refused;
  }

  get(path) {
    return this.#ask('GET', path);
  }

  post(path) {
    return this.#ask('POST', path);
  }

  put(path, content) {
    return this.#ask('PUT', path, content);
  }

  delete(path) {
    return this.#ask('DELETE', path);
  }

  async #ask(method, path, content) {
    const headers = { Authorization: `Bearer ${this.token}` };
    const options = { method, headers, cache: 'no-store', credentials: 'omit' };
    if (content !== undefined) {
      headers['Content-Type'] = 'application/json';
      options.body = JSON.stringify(content);
    }
    let response;
    try {
      response = await fetch(`/api/v1/${path}`, options);
    } catch (error) {
      throw new ApiError(0, String(error.message));
    }
    if (response.status === 401) this.refused();
    if (!response.ok) throw new ApiError(response.status, await reason(response));
    return response.status === 204 ? null : response.json();
  }
}

async function reason(response) {
  try {
    return String((await response.json()).error);
  } catch {
    return `HTTP ${response.status}`;
  }
}
