// The views and their tabs (WAI-ARIA Authoring Practices, "Tabs"): one stop for the Tab key, arrows go from tab to tab.

import { el, icon } from './dom.js';
import { t } from './language.js';

const KEY = 'ropeway.view';
/** As in views.css: from here on the tabs stand below each other. */
const wide = matchMedia('(min-width: 60rem)');

export class Tabs {
  #names;
  #shown;
  #tabs = new Map();
  #panels = new Map();
  #list = document.getElementById('tabs');

  /** `shown(name, panel)` is called with each view that is chosen. */
  constructor(names, shown) {
    this.#names = names;
    this.#shown = shown;
    const main = document.getElementById('view');
    for (const name of names) {
      const tab = el('button', {
        type: 'button', role: 'tab', id: `tab-${name}`, 'aria-controls': `panel-${name}`, onclick: () => this.choose(name),
      }, icon(name), el('span'));
      // What is in it may have nothing that takes the focus, and it has to be scrolled by keys.
      const panel = el('section', {
        role: 'tabpanel', id: `panel-${name}`, class: `panel ${name}`, 'aria-labelledby': `tab-${name}`, tabindex: '0', hidden: true,
      });
      this.#tabs.set(name, tab);
      this.#panels.set(name, panel);
      this.#list.append(tab);
      main.append(panel);
    }
    this.#list.addEventListener('keydown', (event) => this.#key(event));
    wide.addEventListener('change', () => this.#turn());
    this.#turn();
  }

  panel(name) {
    return this.#panels.get(name);
  }

  /** The view of last time, or the first. */
  start() {
    const kept = localStorage.getItem(KEY);
    this.choose(this.#names.includes(kept) ? kept : this.#names[0]);
  }

  name() {
    for (const [name, tab] of this.#tabs) tab.lastChild.textContent = t(`tab.${name}`);
  }

  choose(name) {
    localStorage.setItem(KEY, name);
    for (const [each, tab] of this.#tabs) {
      tab.setAttribute('aria-selected', String(each === name));
      tab.tabIndex = each === name ? 0 : -1;
      this.#panels.get(each).hidden = each !== name;
    }
    this.#tabs.get(name).scrollIntoView({ block: 'nearest', inline: 'center' });
    this.#shown(name);
  }

  #turn() {
    this.#list.setAttribute('aria-orientation', wide.matches ? 'vertical' : 'horizontal');
  }

  #key(event) {
    const last = this.#names.length - 1;
    const at = this.#names.findIndex((name) => this.#tabs.get(name) === document.activeElement);
    const [forward, back] = wide.matches ? ['ArrowDown', 'ArrowUp'] : ['ArrowRight', 'ArrowLeft'];
    const to = { [forward]: at === last ? 0 : at + 1, [back]: at === 0 ? last : at - 1, Home: 0, End: last }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    this.choose(this.#names[to]);
    this.#tabs.get(this.#names[to]).focus();
  }
}
