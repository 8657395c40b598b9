// Connections that stay: when something was last heard on them, and which of them wait for an answer.

import { el, search, setAttribute, setText } from './dom.js';
import { ago, appName, bytes, span, t } from './language.js';
import { networkMark, place, showNetwork } from './connections.js';
import { Table } from './table.js';

const ORDER_EVERY = 2000;
/** An answer that takes longer than this is worth a colour, and one longer than that is late. Seconds. */
const SLOW = 5;
const LATE = 30;

const alive = (entry) => Math.max(entry.last_up ?? entry.opened, entry.last_down ?? entry.opened);
const waiting = (entry) => entry.waiting_since ?? Infinity;

export class ChatsView {
  #context;
  #kept;
  #table;
  #shown = [];
  #ordered = 0;
  #count = el('p', { class: 'count quiet' });

  constructor(context, panel) {
    this.#context = context;
    this.#kept = context.kept.chats ??= { search: '' };
    this.#table = new Table({
      columns: this.#columns(),
      key: (item) => item.id,
      label: t('chats.table'),
      sort: { name: 'waiting', falling: false },
      changed: () => this.#again(),
    });
    const find = search(t('connections.search'), this.#kept.search, (value) => {
      this.#kept.search = value;
      this.#again();
    });
    panel.append(
      el('p', { class: 'intro' }, t('chats.intro')),
      el('div', { class: 'tools' }, find, this.#table.sorter(t('connections.sort'))),
      this.#count,
      this.#table.element,
    );
  }

  render() {
    const now = performance.now();
    if (now - this.#ordered >= ORDER_EVERY) {
      this.#order();
      this.#ordered = now;
    }
    const { open } = this.#context.store;
    this.#table.show(this.#shown.map((item) => open.get(item.id) || item), this.#kept.search ? t('connections.nothing') : t('chats.none'));
  }

  #again() {
    this.#ordered = 0;
    this.#table.top();
    this.#context.draw();
  }

  #order() {
    const wanted = this.#kept.search.toLowerCase().trim();
    const found = [];
    let waits = 0;
    for (const entry of this.#context.store.open.values()) {
      if (!entry.long || (wanted && !entry.text.includes(wanted) && !appName(entry.app).toLowerCase().includes(wanted))) continue;
      found.push(entry);
      if (entry.waiting_since !== null) waits += 1;
    }
    setText(this.#count, `${t('chats.count', { n: found.length })} · ${t('chats.waitingcount', { n: waits })}`);
    this.#shown = found.sort((a, b) => this.#table.compare(a, b) || alive(b) - alive(a) || b.id - a.id);
  }

  #columns() {
    const { store } = this.#context;
    const byName = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    return [
      { name: 'host', label: t('connections.host'), order: (a, b) => byName(a.host, b.host), make: (cell) => cell.append(networkMark(), el('bdi')), update: showHost },
      { name: 'app', label: t('connections.app'), order: (a, b) => byName(appName(a.app), appName(b.app)), text: (item) => (item.app ? appName(item.app) : '') },
      { name: 'alive', label: t('chats.alive'), order: (a, b) => alive(b) - alive(a), text: (item) => ago(alive(item), store.now()) },
      {
        name: 'waiting', label: t('chats.waiting'), order: (a, b) => waiting(a) - waiting(b) || 0,
        make: (cell) => cell.append(el('span')), update: (cell, item) => showWaiting(cell.firstChild, item, store.now()),
      },
      { name: 'down', label: t('connections.down'), order: (a, b) => a.down - b.down, falling: true, text: (item) => bytes(item.down) },
      { name: 'up', label: t('connections.up'), order: (a, b) => a.up - b.up, falling: true, text: (item) => bytes(item.up) },
      { name: 'age', label: t('connections.age'), order: (a, b) => b.opened - a.opened, text: (item) => span(store.now() - item.opened) },
    ];
  }
}

function showHost(cell, item) {
  showNetwork(cell.firstChild, item);
  setText(cell.lastChild, place(item));
  setAttribute(cell, 'title', place(item));
}

function showWaiting(box, item, now) {
  const since = item.waiting_since;
  const passed = since === null ? 0 : now - since;
  setText(box, since === null ? t('chats.notwaiting') : t('chats.for', { span: span(passed) }));
  setAttribute(box, 'class', since === null ? 'quiet' : passed >= LATE ? 'pill down' : passed >= SLOW ? 'pill connecting' : 'pill');
}
