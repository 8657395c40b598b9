// Is it up, how fast is it, and who uses it.

import { el, icon, setText } from './dom.js';
import { ago, appName, bytes, clock, milliseconds, moment, number, rate, span, t, word } from './language.js';
import { Plot, underLoad } from './plot.js';

const MOST_APPS = 6;
/** Frames come often, and counting thousands of connections by app is for people, who look once a second. */
const COUNT_EVERY = 1000;

export class OverviewView {
  every = 5;
  #context;
  #plot = new Plot();
  #load = '';
  #counted = 0;
  #state = el('h2', { class: 'state' });
  #through = el('p', { class: 'through' });
  #loss = el('p', { class: 'quiet' });
  #hero = el('div', { class: 'card hero' });
  #tiles = {};
  #apps = el('ul', { class: 'bars' });
  #facts = {};

  constructor(context, panel) {
    this.#context = context;
    const tiles = [['down', 'down'], ['up', 'up'], ['rtt', 'clock'], ['open', 'connections']];
    this.#hero.append(el('div', { class: 'lamp', 'aria-hidden': 'true' }), el('div', {}, this.#state, this.#through, this.#loss));
    panel.append(
      this.#hero,
      el('dl', { class: 'tiles' }, ...tiles.map(([name, symbol]) => this.#tile(name, symbol))),
      el('div', { class: 'card' }, el('h2', {}, t('overview.hour')), this.#plot.element),
      el('div', { class: 'pair' },
        el('div', { class: 'card' }, el('h2', {}, t('overview.apps')), this.#apps),
        el('div', { class: 'card' }, el('h2', {}, t('overview.program')),
          el('dl', { class: 'facts' }, ...['listen', 'mode', 'running', 'memory', 'version'].flatMap((name) => this.#fact(name))))),
    );
  }

  async fetch() {
    const history = await this.#context.api.get('history');
    this.#plot.show(history);
    const { quiet, busy } = underLoad(history);
    this.#load = busy === null ? t('overview.noload') : t('overview.load', { idle: milliseconds(quiet), busy: milliseconds(busy) });
    this.#context.draw();
  }

  render() {
    const { store } = this.#context;
    const { state } = store;
    if (!state) return;
    this.#renderCarrier(state.carrier, store.now());
    this.#set('down', rate(state.rate.down), t('overview.total', { total: bytes(state.total.down) }));
    this.#set('up', rate(state.rate.up), t('overview.total', { total: bytes(state.total.up) }));
    this.#set('rtt', milliseconds(state.carrier.rtt_ms), this.#load);
    this.#set('open', number(state.open), t('overview.all', { n: state.connections }));
    setText(this.#facts.listen, state.listen.join(', '));
    setText(this.#facts.mode, word('mode', state.mode));
    setText(this.#facts.running, span(store.now() - state.started));
    setText(this.#facts.memory, state.memory === null ? '–' : bytes(state.memory));
    setText(this.#facts.version, state.version);
    if (performance.now() - this.#counted < COUNT_EVERY) return;
    this.#counted = performance.now();
    this.#renderApps(store.open.values());
  }

  #renderCarrier(carrier, now) {
    this.#hero.className = `card hero ${carrier.state}`;
    setText(this.#state, word('state', carrier.state));
    const parts = [];
    if (carrier.exit) parts.push(t('overview.through', { exit: carrier.exit }));
    if (carrier.since !== null) parts.push(t('overview.since', { time: moment(carrier.since), span: span(now - carrier.since) }));
    setText(this.#through, parts.join(' · '));
    const loss = carrier.last_loss;
    const lost = loss ? t('overview.loss', { time: clock(loss.at), ago: ago(loss.at, now), why: loss.reason }) : t('overview.noloss');
    setText(this.#loss, `${lost} · ${t('overview.carriers', { n: carrier.carriers })}`);
  }

  #renderApps(entries) {
    const apps = new Map();
    for (const { app, up, down } of entries) {
      const sum = apps.get(app) || { app, count: 0, size: 0 };
      sum.count += 1;
      sum.size += up + down;
      apps.set(app, sum);
    }
    const most = [...apps.values()].sort((a, b) => b.size - a.size).slice(0, MOST_APPS);
    if (!most.length) {
      this.#apps.replaceChildren(el('li', { class: 'quiet' }, t('overview.noapps')));
      return;
    }
    this.#apps.replaceChildren(...most.map(({ app, count, size }) => {
      const bar = el('div', { class: 'bar', 'aria-hidden': 'true' });
      bar.style.setProperty('--part', String(size / Math.max(most[0].size, 1)));
      return el('li', {}, el('span', {}, appName(app)),
        el('span', { class: 'quiet' }, t('connections.count', { n: count })), el('span', { class: 'number' }, bytes(size)), bar);
    }));
  }

  #tile(name, symbol) {
    const value = el('dd', { class: 'value' }, '–');
    const note = el('dd', { class: 'quiet' });
    this.#tiles[name] = { value, note };
    return el('div', { class: `card tile ${name}` }, el('dt', {}, icon(symbol), t(`overview.${name}`)), value, note);
  }

  #set(name, value, note) {
    setText(this.#tiles[name].value, value);
    setText(this.#tiles[name].note, note);
  }

  #fact(name) {
    this.#facts[name] = el('dd');
    return [el('dt', {}, t(`overview.${name}`)), this.#facts[name]];
  }
}
