// The last lines of the log.

import { button, el, search, select, setText } from './dom.js';
import { moment, t, word } from './language.js';

const CALM = new Set(['debug', 'info']);

export class LogView {
  #context;
  #kept;
  #list = el('ol', { class: 'lines' });
  #empty = el('p', { class: 'empty', hidden: true });
  #scroll;
  #drawn = '';

  constructor(context, panel) {
    this.#context = context;
    this.#kept = context.kept.log ??= { search: '', level: 'all', follow: true };
    const kept = this.#kept;
    const change = (name) => (value) => {
      kept[name] = value;
      context.draw();
    };
    const follow = button(t('log.follow'), () => {
      kept.follow = !kept.follow;
      follow.setAttribute('aria-pressed', String(kept.follow));
      this.#toEnd();
    }, { 'aria-pressed': String(kept.follow) });
    const levels = [['all', t('log.all')], ['warnings', t('log.warnings')]];
    this.#scroll = el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': t('log.lines') }, this.#list, this.#empty);
    panel.append(
      el('div', { class: 'tools' },
        search(t('log.search'), kept.search, change('search')), select(t('log.level'), levels, kept.level, change('level')), follow),
      el('div', { class: 'table' }, this.#scroll),
    );
  }

  async fetch() {
    const { api, store, draw } = this.#context;
    const { lines } = await api.get('log?most=500');
    store.log = [];
    store.addLines(lines);
    draw();
  }

  render() {
    const { log } = this.#context.store;
    const wanted = this.#kept.search.toLowerCase().trim();
    const last = log.length ? log[log.length - 1] : { at: 0, text: '' };
    const drawn = [wanted, this.#kept.level, log.length, last.at, last.text].join(' ');
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const shown = log.filter((line) => (this.#kept.level === 'all' || !CALM.has(line.level)) && line.text.toLowerCase().includes(wanted));
    this.#list.replaceChildren(...shown.map((line) => el('li', {},
      el('time', {}, moment(line.at)), el('span', { class: `level ${line.level}` }, word('level', line.level)), el('span', { class: 'said' }, line.text))));
    this.#empty.hidden = shown.length > 0;
    setText(this.#empty, log.length ? t('log.nothing') : t('log.none'));
    this.#toEnd();
  }

  #toEnd() {
    if (this.#kept.follow) this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }
}
