// The rules in their order, how often each decided, and the mode.

import { el, say, search, select, setAttribute, setText } from './dom.js';
import { ago, number, t, word } from './language.js';
import { Table } from './table.js';

const MODES = ['home-direct', 'all'];

export class RulesView {
  every = 5;
  #context;
  #kept;
  #table;
  #said = null;
  #mode;
  #count = el('p', { class: 'count quiet' });

  constructor(context, panel) {
    this.#context = context;
    this.#kept = context.kept.rules ??= { search: '' };
    this.#mode = select(t('rules.mode'), MODES.map((mode) => [mode, `${t('rules.mode')}: ${word('mode', mode)}`]), '', (mode) => this.#change(mode));
    this.#table = new Table({
      columns: this.#columns(),
      key: (rule) => rule.number,
      label: t('rules.table'),
      sort: { name: 'number', falling: false },
      changed: () => context.draw(),
    });
    const find = search(t('rules.search'), this.#kept.search, (value) => {
      this.#kept.search = value;
      this.#table.top();
      context.draw();
    });
    panel.append(el('div', { class: 'tools' }, find, this.#mode), this.#count, this.#table.element);
  }

  async fetch() {
    this.#said = await this.#context.api.get('rules');
    this.#context.draw();
  }

  render() {
    if (!this.#said) return;
    const { mode, rules, count = rules.length, default: other } = this.#said;
    const box = this.#mode.querySelector('select');
    if (document.activeElement !== box && box.value !== mode) {
      if (!MODES.includes(mode)) box.append(el('option', { value: mode }, mode));
      box.value = mode;
    }
    const all = [...rules, { ...other, source: '', text: '' }].map((rule, index) => ({ ...rule, number: index + 1 }));
    const wanted = this.#kept.search.toLowerCase().trim();
    const found = wanted ? all.filter((rule) => rule.text.toLowerCase().includes(wanted)) : all;
    setText(this.#count, count ? t('rules.count', { n: count }) : t('rules.none'));
    this.#table.show(found.sort((a, b) => this.#table.compare(a, b) || a.number - b.number), t('log.nothing'));
  }

  async #change(mode) {
    const { api, attempt } = this.#context;
    if (await attempt(() => api.put('mode', { mode }))) say(t('rules.modeset', { mode: word('mode', mode) }));
    else this.#mode.querySelector('select').value = this.#said?.mode ?? '';
    await attempt(() => this.fetch());
  }

  #columns() {
    const { store } = this.#context;
    return [
      { name: 'number', label: t('rules.number'), order: (a, b) => a.number - b.number, text: (rule) => number(rule.number) },
      {
        name: 'text', label: t('rules.rule'), make: (cell) => cell.append(el('bdi')),
        update: (cell, rule) => {
          setText(cell.firstChild, rule.text || t('rules.default'));
          setAttribute(cell, 'title', rule.text);
        },
      },
      { name: 'source', label: t('rules.source'), text: ({ source = '' }) => (source.startsWith('mode ') ? t('rules.ofmode') : source && t('rules.own')) },
      {
        name: 'way', label: t('connections.route'), make: (cell) => cell.append(el('span')),
        update: (cell, rule) => {
          setText(cell.firstChild, word('route', rule.route));
          setAttribute(cell.firstChild, 'class', `way ${rule.route.split(':')[0]}`);
        },
      },
      { name: 'hits', label: t('rules.hits'), order: (a, b) => a.hits - b.hits, falling: true, text: (rule) => number(rule.hits) },
      { name: 'last', label: t('rules.last'), order: (a, b) => (a.last ?? 0) - (b.last ?? 0), falling: true, text: (rule) => ago(rule.last, store.now()) },
    ];
  }
}
