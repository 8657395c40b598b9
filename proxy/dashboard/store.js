// What the program has said so far. Messages are differences; they are put together here, and nothing is drawn.

const MOST_CLOSED = 200;
const MOST_LINES = 500;
/** Where no exit is in use yet. */
const NO_CARRIER = { exit: '', state: 'down', since: null, rtt_ms: null, carriers: 0, last_loss: null };

export class Store {
  /** What is open, by id. Entries also have `rateUp` and `rateDown`, bytes a second, and `text`, in which one searches. */
  open = new Map();
  closed = [];
  state = null;
  log = [];
  /** Seconds that the program's clock is ahead of the browser's. */
  #ahead = 0;
  #moving = new Set();
  #lastMessage = 0;

  /** Seconds since 1970 by the program's clock. */
  now() {
    return Date.now() / 1000 + this.#ahead;
  }

  apply(message, first) {
    const passed = first ? 0 : (performance.now() - this.#lastMessage) / 1000;
    this.#lastMessage = performance.now();
    if (message.state) {
      this.state = { ...message.state, carrier: message.state.carrier ?? NO_CARRIER };
      this.#ahead = message.state.now - Date.now() / 1000;
    }
    if (message.connections) this.#connections(message.connections, first, passed);
    if (message.log) this.addLines(message.log);
  }

  /** Lines that are not here yet. */
  addLines(lines) {
    const last = this.log.length ? this.log[this.log.length - 1].at : -Infinity;
    this.log.push(...lines.filter((line) => line.at > last));
    this.log.splice(0, this.log.length - MOST_LINES);
  }

  forget(id) {
    this.open.delete(id);
    this.#moving.delete(id);
  }

  forgetAll() {
    this.open.clear();
    this.#moving.clear();
  }

  #connections({ open = [], closed = [], gone = [] }, first, passed) {
    if (first) {
      this.forgetAll();
      this.closed = [];
    }
    for (const id of this.#moving) {
      const entry = this.open.get(id);
      entry.rateUp = entry.rateDown = 0;
    }
    this.#moving.clear();
    for (const id of gone) this.open.delete(id);
    for (const entry of open) this.#take(entry, passed);
    if (closed.length) this.#close(closed);
  }

  #take(entry, passed) {
    const before = this.open.get(entry.id);
    entry.rateUp = entry.rateDown = 0;
    if (passed > 0) {
      entry.rateUp = (entry.up - (before ? before.up : 0)) / passed;
      entry.rateDown = (entry.down - (before ? before.down : 0)) / passed;
      this.#moving.add(entry.id);
    }
    // An entry of UDP may show another destination later, and its program is known a moment after it.
    const same = before?.host === entry.host && before.port === entry.port && before.process === entry.process;
    entry.text = same ? before.text : searchText(entry);
    this.open.set(entry.id, entry);
  }

  #close(closed) {
    const now = new Set(closed.map((entry) => entry.id));
    for (const entry of closed) {
      this.forget(entry.id);
      entry.rateUp = entry.rateDown = 0;
      entry.text = searchText(entry);
    }
    const others = this.closed.filter((entry) => !now.has(entry.id));
    this.closed = [...closed, ...others].slice(0, MOST_CLOSED);
  }
}

function searchText({ app, process, host, port, rule, route, protocol }) {
  return `${app} ${process} ${host}:${port} ${rule} ${route} ${protocol}`.toLowerCase();
}
