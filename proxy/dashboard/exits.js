// The exits: which one is used, another first choice, and the link for the next device.

import { button, el, openDialog, pill, say, setText } from './dom.js';
import { ago, milliseconds, moment, seconds, t, word } from './language.js';

/** A link that is shown is a key that is shown. Seconds. */
const SHOWN_FOR = 60;

export class ExitsView {
  #context;
  #list = el('ul', { class: 'exit-list' });
  #drawn = '';
  #notes = new Map();

  constructor(context, panel) {
    this.#context = context;
    panel.append(this.#list);
  }

  render() {
    const { state } = this.#context.store;
    if (!state) return;
    // Only what changed is made anew: a button that somebody is about to press stays.
    const drawn = JSON.stringify([state.exits, state.carrier.exit]);
    if (drawn !== this.#drawn) {
      this.#drawn = drawn;
      this.#draw(state);
    }
    this.#note(state.carrier, this.#context.store.now());
  }

  #draw({ exits, carrier }) {
    const focused = document.activeElement?.dataset.does;
    this.#notes.clear();
    if (exits.length) this.#list.replaceChildren(...exits.map((exit) => this.#card(exit, exit.current ?? exit.name === carrier.exit, exits.length > 1)));
    else this.#list.replaceChildren(el('li', { class: 'card empty' }, t('exits.none')));
    if (focused) [...this.#list.querySelectorAll('[data-does]')].find((each) => each.dataset.does === focused)?.focus();
  }

  #card(exit, current, others) {
    const note = el('dl', { class: 'facts' });
    this.#notes.set(exit.name, note);
    return el('li', { class: `card exit ${exit.state}` },
      el('div', { class: 'exit-head' }, el('h2', {}, el('bdi', {}, exit.name)),
        exit.label ? el('bdi', { class: 'quiet' }, exit.label) : null, // what the user calls it
        pill(exit.state, word('state', exit.state)),
        current ? pill('', t('exits.current')) : null,
        exit.preferred ? pill('', t('exits.preferred')) : null),
      note,
      el('p', { class: 'quiet' }, `${t('exits.addresses', { n: exit.addresses.length })}: ${exit.addresses.join(', ')}`),
      el('div', { class: 'actions' },
        button(t('exits.join'), () => this.#join(exit.name), { symbol: 'qr', 'data-does': `join ${exit.name}` }),
        exit.preferred || !others ? null : button(t('exits.use'), () => this.#use(exit.name), { kind: 'main', 'data-does': `use ${exit.name}` })));
  }

  #note(carrier, now) {
    const note = this.#notes.get(carrier.exit);
    if (!note) return;
    const loss = carrier.last_loss;
    const rows = [
      ['exits.rtt', milliseconds(carrier.rtt_ms)],
      ['exits.since', carrier.since === null ? '–' : moment(carrier.since)],
      ['exits.loss', loss ? `${ago(loss.at, now)}: ${loss.reason}` : t('never')],
    ];
    if (note.children.length !== 2 * rows.length) {
      note.replaceChildren(...rows.flatMap(([key]) => [el('dt', {}, t(key)), el('dd')]));
    }
    rows.forEach(([, value], index) => setText(note.children[2 * index + 1], value));
  }

  async #use(name) {
    const { api, attempt } = this.#context;
    if (await attempt(() => api.post(`exits/${encodeURIComponent(name)}/use`))) say(t('exits.used', { exit: name }));
  }

  async #join(name) {
    const { api, attempt } = this.#context;
    let answer;
    if (!(await attempt(async () => {
      answer = await api.get(`exits/${encodeURIComponent(name)}/link`);
    }))) return;
    showLink(name, answer);
  }
}

/** As a file of its own: what stands in a page may leave out which kind of XML it is. */
function alone(svg) {
  return svg.includes('xmlns=') ? svg : svg.replace('<svg', '<svg xmlns="http://www.w3.org/2000/svg"');
}

function showLink(name, { link, svg }) {
  // As an image: a picture of the kind SVG runs no scripts there.
  const code = el('img', { class: 'qr', src: `data:image/svg+xml,${encodeURIComponent(alone(svg))}`, alt: t('join.alt', { exit: name }) });
  const left = el('p', { class: 'quiet' });
  const text = el('textarea', { readonly: true, rows: '3', 'aria-label': t('join.show'), hidden: true });
  text.value = link;
  let rest = SHOWN_FOR;
  const show = button(t('join.show'), () => {
    text.hidden = false;
    show.hidden = true;
    text.select();
  });
  const content = (close) => [
    el('p', {}, t('join.text')), code, text, left,
    el('div', { class: 'actions' }, show, button(t('join.hide'), close, { kind: 'main' })),
  ];
  const dialog = openDialog(t('join.title'), t('join.hide'), content, () => clearInterval(timer));
  const tick = () => {
    setText(left, t('join.hides', { span: seconds(rest) }));
    if (rest === 0) dialog.close();
    rest -= 1;
  };
  const timer = setInterval(tick, 1000);
  tick();
}
