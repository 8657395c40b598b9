// The connections of apps: search, order, groups, and an end for one or all.

import { button, confirmed, el, icon, iconButton, openDialog, say, search, select, setAttribute, setText } from './dom.js';
import { ago, appName, bytes, clock, moment, number, rate, span, t, word } from './language.js';
import { Table } from './table.js';

/** Rows do not change their places more often, or nobody could read them. Milliseconds. */
const ORDER_EVERY = 2000;

const text = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

/** Where a group of an app stands in the table, in place of a connection. */
function group(app, entries) {
  const sum = { group: true, id: `app:${app}`, app, count: entries.length, up: 0, down: 0, rateUp: 0, rateDown: 0, opened: Infinity, state: '', host: '', rule: '' };
  for (const each of entries) {
    sum.up += each.up;
    sum.down += each.down;
    sum.rateUp += each.rateUp;
    sum.rateDown += each.rateDown;
    sum.opened = Math.min(sum.opened, each.opened);
  }
  return sum;
}

export function place(entry) {
  return `${entry.host}:${entry.port}`;
}

/** For what is not TCP. */
export function networkMark() {
  return el('span', { class: 'mark' });
}

export function showNetwork(mark, entry) {
  const udp = entry.protocol === 'udp';
  setText(mark, udp ? t('connections.udp') : '');
  setAttribute(mark, 'title', udp ? t('connections.udptitle') : '');
}

export class ConnectionsView {
  #context;
  #kept;
  #table;
  #shown = [];
  #ordered = 0;
  #count = el('p', { class: 'count quiet' });
  #endAll;
  #details = null;

  constructor(context, panel) {
    this.#context = context;
    this.#kept = context.kept.connections ??= { search: '', which: 'open', grouped: false, paused: false, unfolded: new Set() };
    this.#table = new Table({
      columns: this.#columns(),
      key: (item) => item.id,
      label: t('connections.table'),
      sort: { name: 'age', falling: false },
      changed: () => this.#again(),
      kind: (item) => (item.group ? 'group' : `${item.state} ${item.app || item.process ? '' : 'noapp'}`),
    });
    panel.append(this.#tools(), this.#count, this.#table.element);
  }

  render() {
    const now = performance.now();
    if (!this.#kept.paused && now - this.#ordered >= ORDER_EVERY) {
      this.#order();
      this.#ordered = now;
    }
    // What a row shows is of now, though its place may be older.
    this.#table.show(this.#shown.map((item) => this.#context.store.open.get(item.id) || item), this.#nothing());
    this.#details?.();
  }

  #nothing() {
    return this.#kept.search ? t('connections.nothing') : t('connections.none');
  }

  #order() {
    const { store } = this.#context;
    const wanted = this.#kept.search.toLowerCase().trim();
    const all = this.#kept.which === 'open' ? [...store.open.values()] : store.closed;
    const found = wanted ? all.filter((entry) => entry.text.includes(wanted) || appName(entry.app).toLowerCase().includes(wanted)) : [...all];
    setText(this.#count, t('connections.count', { n: found.length }));
    this.#endAll.hidden = this.#kept.which !== 'open' || !store.open.size;
    const compare = (a, b) => this.#table.compare(a, b) || b.id - a.id;
    this.#shown = this.#kept.grouped ? this.#grouped(found, compare) : found.sort(compare);
  }

  #grouped(found, compare) {
    const apps = new Map();
    for (const entry of found) {
      if (!apps.has(entry.app)) apps.set(entry.app, []);
      apps.get(entry.app).push(entry);
    }
    const groups = [...apps].map(([app, entries]) => group(app, entries));
    groups.sort((a, b) => this.#table.compare(a, b) || text(a.app, b.app));
    return groups.flatMap((each) => (this.#kept.unfolded.has(each.app) ? [each, ...apps.get(each.app).sort(compare)] : [each]));
  }

  /** At once, as somebody has asked for it. */
  #again() {
    this.#order();
    this.#ordered = performance.now();
    this.#table.top();
    this.#context.draw();
  }

  #tools() {
    const kept = this.#kept;
    const change = (name) => (value) => {
      kept[name] = value;
      this.#again();
    };
    const grouped = button(t('connections.group'), () => {
      kept.grouped = !kept.grouped;
      grouped.setAttribute('aria-pressed', String(kept.grouped));
      this.#again();
    }, { 'aria-pressed': String(kept.grouped) });
    const paused = button(t('connections.pause'), () => {
      kept.paused = !kept.paused;
      paused.setAttribute('aria-pressed', String(kept.paused));
      this.#again();
    }, { 'aria-pressed': String(kept.paused) });
    this.#endAll = button(t('connections.endall'), () => this.#end(null), { kind: 'danger', hidden: true });
    return el('div', { class: 'tools' },
      search(t('connections.search'), kept.search, change('search')),
      select(t('connections.show'), [['open', t('connections.open')], ['closed', t('connections.closed')]], kept.which, change('which')),
      this.#table.sorter(t('connections.sort')), grouped, paused, this.#endAll);
  }

  #columns() {
    const size = (name) => ({ name, label: t(`connections.${name}`), text: (item) => bytes(item[name]), order: (a, b) => a[name] - b[name], falling: true });
    const flow = (item) => item.rateUp + item.rateDown;
    const label = (name) => t(`connections.${name}`);
    return [
      { name: 'host', label: label('host'), order: (a, b) => text(a.host, b.host), make: (cell) => this.#makeHost(cell), update: (cell, item) => this.#showHost(cell, item) },
      { name: 'app', label: label('app'), order: (a, b) => text(appName(a.app), appName(b.app)), text: (item) => (item.group ? number(item.count) : item.app ? appName(item.app) : item.process) },
      { name: 'rule', label: label('rule'), order: (a, b) => text(a.rule, b.rule), make: makeRule, update: showRule },
      size('down'),
      size('up'),
      { name: 'rate', label: label('rate'), order: (a, b) => flow(a) - flow(b), falling: true, text: (item) => (flow(item) >= 1 ? rate(flow(item)) : '') },
      { name: 'age', label: label('age'), order: (a, b) => b.opened - a.opened, text: (item) => span((item.closed ?? this.#context.store.now()) - item.opened) },
      { name: 'state', label: label('state'), order: (a, b) => text(a.state, b.state), make: makeState, update: showState },
      { name: 'end', label: t('close'), hidden: true, make: (cell) => this.#makeEnd(cell), update: showEnd },
    ];
  }

  #makeHost(cell) {
    const link = el('button', { type: 'button', class: 'link' }, networkMark(), el('bdi'));
    link.addEventListener('click', () => this.#chosen(cell.item));
    link.prepend(icon('chevron'));
    cell.append(link);
  }

  #showHost(cell, item) {
    cell.item = item;
    const link = cell.firstChild;
    showNetwork(link.children[1], item);
    setText(link.lastChild, item.group ? appName(item.app) : place(item));
    if (item.group) {
      setAttribute(link, 'aria-label', `${appName(item.app)}: ${t('connections.count', { n: item.count })}`);
      setAttribute(link, 'aria-expanded', String(this.#kept.unfolded.has(item.app)));
      return;
    }
    link.removeAttribute('aria-expanded');
    link.removeAttribute('aria-label');
    setAttribute(link, 'title', place(item));
  }

  #chosen(item) {
    if (!item.group) {
      this.#open(item);
      return;
    }
    const { unfolded } = this.#kept;
    if (!unfolded.delete(item.app)) unfolded.add(item.app);
    this.#order();
    this.#context.draw();
  }

  #makeEnd(cell) {
    cell.append(iconButton('close', t('close'), () => this.#end(cell.item)));
  }

  async #end(item) {
    const { api, attempt, store } = this.#context;
    if (item) {
      if (!(await attempt(() => api.delete(`connections/${encodeURIComponent(item.id)}`)))) return;
      store.forget(item.id);
      say(t('connections.ended', { host: place(item) }));
    } else {
      const sure = t('connections.sureText', { n: store.open.size });
      if (!(await confirmed(t('connections.sure'), sure, t('connections.endall'), t('cancel')))) return;
      if (!(await attempt(() => api.delete('connections')))) return;
      store.forgetAll();
      say(t('connections.endedall'));
    }
    this.#order();
    this.#context.draw();
  }

  #open(item) {
    const list = el('dl', { class: 'facts' });
    this.#details = () => {
      const now = this.#context.store;
      const entry = now.open.get(item.id) || now.closed.find((each) => each.id === item.id) || item;
      list.replaceChildren(...facts(entry, now.now()).flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]));
    };
    this.#details();
    const content = (close) => [
      list,
      el('div', { class: 'actions' },
        item.state === 'closed' ? null : button(t('details.endit'), () => {
          close();
          this.#end(item);
        }, { kind: 'danger' })),
    ];
    openDialog(place(item), t('close'), content, () => {
      this.#details = null;
    });
  }
}

function makeRule(cell) {
  cell.append(el('span', { class: 'way' }), el('bdi', { class: 'quiet' }));
}

function showRule(cell, item) {
  setText(cell.firstChild, item.group ? '' : word('route', item.route));
  setAttribute(cell.firstChild, 'class', `way ${item.group ? '' : item.route.split(':')[0]}`);
  setText(cell.lastChild, item.group ? '' : item.rule || t('connections.defaultrule'));
  setAttribute(cell, 'title', item.rule || '');
}

function makeState(cell) {
  cell.append(el('span'));
}

function showState(cell, item) {
  setText(cell.firstChild, item.group ? '' : word('state', item.state));
  setAttribute(cell.firstChild, 'class', `dot ${item.state}`);
}

function showEnd(cell, item) {
  cell.item = item;
  const box = cell.firstChild;
  box.hidden = Boolean(item.group) || item.state === 'closed';
  if (!box.hidden) setAttribute(box, 'aria-label', t('connections.end', { host: place(item) }));
}

function facts(entry, now) {
  const all = [
    [t('connections.app'), appName(entry.app)],
    [t('details.process'), entry.process || t('details.unknown')],
    [t('connections.route'), word('route', entry.route)],
    [t('connections.rule'), entry.rule || t('connections.defaultrule')],
    [t('details.protocol'), entry.protocol.toUpperCase()],
    [t('connections.state'), word('state', entry.state)],
    [t('connections.down'), bytes(entry.down)],
    [t('connections.up'), bytes(entry.up)],
    [t('details.opened'), moment(entry.opened)],
    [t('details.lastup'), ago(entry.last_up, now)],
    [t('details.lastdown'), ago(entry.last_down, now)],
  ];
  if (entry.waiting_since !== null) all.push([t('details.waiting'), t('chats.for', { span: span(now - entry.waiting_since) })]);
  if (entry.closed !== null) all.push([t('details.closed'), clock(entry.closed)]);
  if (entry.reason) all.push([t('details.reason'), entry.reason]);
  return all;
}
