// What apps have used, by day; whether it is counted, and an end to what was.

import { button, confirmed, el, say, setAttribute, setText } from './dom.js';
import { appName, bytes, day, number, t } from './language.js';

const ALL = '';

function sum(apps) {
  return apps.reduce((total, { up, down, connections }) => {
    total.up += up;
    total.down += down;
    total.connections += connections;
    return total;
  }, { up: 0, down: 0, connections: 0 });
}

/** Of all days, an app once. */
function together(days) {
  const apps = new Map();
  for (const each of days.flatMap((one) => one.apps)) {
    const before = apps.get(each.app) || { app: each.app, up: 0, down: 0, connections: 0 };
    apps.set(each.app, { app: each.app, ...sum([before, each]) });
  }
  return [...apps.values()];
}

function bar(part) {
  const box = el('div', { class: 'bar', 'aria-hidden': 'true' });
  box.style.setProperty('--part', String(part));
  return box;
}

function table(label, heads, rows) {
  return el('table', { class: 'plain-table', 'aria-label': label },
    el('thead', {}, el('tr', {}, ...heads.map((head, index) => el('th', { scope: 'col', class: index ? 'number' : '' }, head)))),
    el('tbody', {}, ...rows));
}

export class UsageView {
  every = 30;
  #context;
  #usage = null;
  #chosen = ALL;
  #drawn = null;
  #days = el('div', { class: 'card' });
  #apps = el('div', { class: 'card' });
  #note = el('p', { class: 'intro' });
  #switch;
  #wipe;

  constructor(context, panel) {
    this.#context = context;
    this.#switch = button(t('usage.count'), () => this.#turn(), { role: 'switch', 'aria-checked': 'false', hidden: true });
    this.#wipe = button(t('usage.wipe'), () => this.#wipeAll(), { kind: 'danger', hidden: true });
    panel.append(el('div', { class: 'tools' }, this.#note, this.#switch, this.#wipe), el('div', { class: 'pair' }, this.#days, this.#apps));
  }

  async fetch() {
    this.#usage = await this.#context.api.get('usage');
    this.#context.draw();
  }

  render() {
    if (!this.#usage || this.#drawn === this.#usage) return;
    this.#drawn = this.#usage;
    this.#draw();
  }

  #draw() {
    const { kept, days } = this.#usage;
    setText(this.#note, !kept ? t(days.length ? 'usage.offkept' : 'usage.off') : days.length ? t('usage.note') : t('usage.none'));
    this.#switch.hidden = false;
    setAttribute(this.#switch, 'aria-checked', String(kept));
    this.#wipe.hidden = !days.length;
    this.#days.hidden = this.#apps.hidden = !days.length;
    if (!days.some((each) => each.day === this.#chosen)) this.#chosen = ALL;
    this.#drawDays(days);
    this.#drawApps(this.#chosen === ALL ? together(days) : days.find((each) => each.day === this.#chosen).apps);
  }

  #drawDays(days) {
    const focused = this.#days.contains(document.activeElement) ? document.activeElement.dataset.day : null;
    const sums = days.map((each) => ({ day: each.day, ...sum(each.apps) }));
    const most = Math.max(...sums.map(({ up, down }) => up + down), 1);
    const rows = [{ day: ALL, ...sum(sums) }, ...sums].map((each) => {
      const choice = el('button', {
        type: 'button', class: 'link', 'aria-pressed': String(each.day === this.#chosen), 'data-day': each.day,
        onclick: () => {
          this.#chosen = each.day;
          this.#draw();
        },
      }, each.day === ALL ? t('usage.alldays') : day(each.day));
      return el('tr', { class: each.day === this.#chosen ? 'chosen' : '' },
        el('th', { scope: 'row' }, choice, each.day === ALL ? '' : bar((each.up + each.down) / most)),
        el('td', { class: 'number' }, bytes(each.down)), el('td', { class: 'number' }, bytes(each.up)));
    });
    this.#days.replaceChildren(el('h2', {}, t('usage.days')),
      table(t('usage.days'), [t('usage.day'), t('connections.down'), t('connections.up')], rows));
    if (focused !== null) [...this.#days.querySelectorAll('[data-day]')].find((each) => each.dataset.day === focused)?.focus();
  }

  #drawApps(apps) {
    const sorted = [...apps].sort((a, b) => b.up + b.down - a.up - a.down);
    const most = sorted.length ? Math.max(sorted[0].up + sorted[0].down, 1) : 1;
    const rows = sorted.map((each) => el('tr', {},
      el('th', { scope: 'row' }, appName(each.app), bar((each.up + each.down) / most)),
      el('td', { class: 'number' }, bytes(each.down)), el('td', { class: 'number' }, bytes(each.up)),
      el('td', { class: 'number' }, number(each.connections))));
    const title = this.#chosen === ALL ? t('usage.alldays') : day(this.#chosen);
    this.#apps.replaceChildren(el('h2', {}, `${t('usage.apps')} · ${title}`),
      table(t('usage.apps'), [t('usage.app'), t('connections.down'), t('connections.up'), t('usage.connections')], rows));
  }

  async #turn() {
    const { api, attempt } = this.#context;
    const kept = !this.#usage.kept;
    if (await attempt(() => api.put('usage', { kept }))) say(t(kept ? 'usage.turnedon' : 'usage.turnedoff'));
    await attempt(() => this.fetch());
  }

  async #wipeAll() {
    const { api, attempt } = this.#context;
    if (!(await confirmed(t('usage.sure'), t('usage.sureText'), t('usage.wipe'), t('cancel')))) return;
    if (await attempt(() => api.delete('usage'))) say(t('usage.wiped'));
    await attempt(() => this.fetch());
  }
}
