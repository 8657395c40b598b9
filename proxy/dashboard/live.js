// What the program says once a second. A connection that is lost comes back by itself.

const MESSAGES = ['state', 'connections', 'log'];
const WRONG_TOKEN = 4401;
/** Between two tries, in seconds: never less than the first. */
const PAUSES = [5, 5, 10, 20, 30];
/** A page that nobody sees stops listening after so many seconds. */
const UNSEEN = 30;
/** The program speaks once a second; after so many without a word the connection is dead. */
const SILENT = 15;

export class Live {
  #token;
  #told;
  #socket = null;
  #tries = 0;
  #lastTry = 0;
  #timer = 0;
  #watchdog = 0;
  #over = false;

  /** `told` has message(data, isFirst), lost(secondsToNextTry), connected() and refused(). */
  constructor(token, told) {
    this.#token = token;
    this.#told = told;
    document.addEventListener('visibilitychange', () => this.#seen());
    addEventListener('online', () => this.#socket === null && this.now());
    addEventListener('pagehide', () => this.stop());
    addEventListener('pageshow', (event) => event.persisted && this.now());
  }

  start() {
    this.#lastTry = performance.now();
    const socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/api/v1/live`);
    this.#socket = socket;
    let first = true;
    socket.onopen = () => {
      socket.send(JSON.stringify({ token: this.#token, watch: MESSAGES }));
      this.#listen();
    };
    socket.onmessage = (event) => {
      if (socket !== this.#socket) return;
      if (first) {
        this.#tries = 0;
        this.#told.connected();
      }
      this.#told.message(JSON.parse(event.data), first);
      first = false;
      this.#listen();
    };
    socket.onclose = (event) => socket === this.#socket && this.#ended(event.code);
  }

  /** Tries again, as soon as 5 s after the last try. */
  now() {
    const passed = (performance.now() - this.#lastTry) / 1000;
    this.#again(Math.max(PAUSES[0] - passed, 0));
  }

  stop() {
    clearTimeout(this.#timer);
    clearTimeout(this.#watchdog);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  /** For good. */
  end() {
    this.#over = true;
    this.stop();
  }

  #listen() {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => {
      const socket = this.#socket;
      this.#ended(0);
      socket?.close();
    }, SILENT * 1000);
  }

  #ended(code) {
    this.#socket = null;
    clearTimeout(this.#watchdog);
    if (code === WRONG_TOKEN) {
      this.end();
      this.#told.refused();
      return;
    }
    const pause = PAUSES[Math.min(this.#tries, PAUSES.length - 1)];
    this.#tries += 1;
    this.#told.lost(pause);
    this.#again(pause);
  }

  #again(seconds) {
    clearTimeout(this.#timer);
    if (this.#over) return;
    this.#timer = setTimeout(() => this.start(), seconds * 1000);
  }

  #seen() {
    if (document.hidden) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.stop(), UNSEEN * 1000);
    } else if (this.#socket === null) this.now();
    else clearTimeout(this.#timer);
  }
}
