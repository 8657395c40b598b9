// Puts the page together: the token, what the program says, and the view that is shown.

import { Api, forgetToken, onNewToken, takeToken } from './api.js';
import { ChatsView } from './chats.js';
import { ConnectionsView } from './connections.js';
import { DoctorView } from './doctor.js';
import { el, icon, say, setText } from './dom.js';
import { ExitsView } from './exits.js';
import { chooseLanguage, clock, language, milliseconds, seconds, startLanguage, t, word } from './language.js';
import { Live } from './live.js';
import { LogView } from './log.js';
import { OverviewView } from './overview.js';
import { RulesView } from './rules.js';
import { Store } from './store.js';
import { Tabs } from './tabs.js';
import { UsageView } from './usage.js';

/**
 * A view is made with a context and the element it fills. `render()` draws what has changed, at most once a frame; `fetch()` asks for what does
 * not come by itself, when the view is opened and each `every` seconds; `leave()` is called when another one is chosen.
 */
const VIEWS = {
  overview: OverviewView,
  connections: ConnectionsView,
  chats: ChatsView,
  exits: ExitsView,
  rules: RulesView,
  usage: UsageView,
  log: LogView,
  doctor: DoctorView,
};
const THEMES = ['auto', 'light', 'dark'];

class Page {
  #store = new Store();
  #views = new Map();
  #tabs = new Tabs(Object.keys(VIEWS), (name) => this.#open(name));
  #shown = '';
  #drawing = false;
  /** null: not known yet. */
  #connected = null;
  #lastWord = 0;
  #lastFetch = 0;
  #said = '';
  #over = false;
  #token;
  #context;
  #live;

  constructor(token) {
    this.#token = token;
    const api = new Api(token, () => this.#refused());
    this.#context = { api, store: this.#store, attempt: (work) => attempt(work), draw: () => this.#draw(), kept: {} };
    this.#live = new Live(token, {
      message: (data, first) => this.#message(data, first),
      connected: () => this.#back(),
      lost: (pause) => this.#lost(pause),
      refused: () => this.#refused(),
    });
    document.querySelector('#lost button').addEventListener('click', () => this.#live.now());
    setInterval(() => this.#tick(), 1000);
  }

  start() {
    this.#tabs.name();
    this.#tabs.start();
    this.#live.start();
  }

  /** Everything anew, in another language. */
  translate() {
    this.#view()?.leave?.();
    this.#views.clear();
    for (const name of Object.keys(VIEWS)) this.#tabs.panel(name).replaceChildren();
    this.#tabs.name();
    this.#open(this.#shown);
    if (this.#over) this.#sayOver();
  }

  #view() {
    return this.#views.get(this.#shown);
  }

  #open(name) {
    if (name !== this.#shown) this.#view()?.leave?.();
    this.#shown = name;
    document.title = `${t(`tab.${name}`)} – Ropeway`;
    if (!this.#views.has(name)) this.#views.set(name, new VIEWS[name](this.#context, this.#tabs.panel(name)));
    this.#lastFetch = performance.now();
    this.#fetch();
    this.#draw();
  }

  #draw() {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      this.#pill();
      this.#view()?.render();
    });
  }

  #pill() {
    const pill = document.getElementById('pill');
    const state = this.#store.state;
    pill.hidden = !state && this.#connected !== false;
    if (this.#connected === false) {
      pill.className = 'pill down';
      setText(pill, t('state.lost'));
    } else if (state) {
      const { carrier } = state;
      const trip = carrier.state === 'up' && carrier.rtt_ms !== null ? ` · ${milliseconds(carrier.rtt_ms)}` : '';
      pill.className = `pill ${carrier.state}`;
      setText(pill, word('state', carrier.state) + trip);
      this.#tell(carrier.state);
    }
  }

  /** Only changes are said to those who listen. */
  #tell(state) {
    if (this.#said && this.#said !== state) document.getElementById('said').textContent = word('state', state);
    this.#said = state;
  }

  #tick() {
    if (document.hidden || !this.#connected) return;
    this.#draw();
    const every = this.#view()?.every;
    if (every && performance.now() - this.#lastFetch >= every * 1000) {
      this.#lastFetch = performance.now();
      this.#fetch();
    }
  }

  async #fetch() {
    if (this.#over) return;
    try {
      await this.#view()?.fetch?.();
    } catch (error) {
      if (error.status) say(t('failed', { why: error.message }), 'bad'); // no answer at all is said by the banner
    }
  }

  #message(data, first) {
    this.#lastWord = this.#store.now();
    this.#store.apply(data, first);
    this.#draw();
  }

  #back() {
    const was = document.getElementById('lost');
    if (!was.hidden) {
      document.getElementById('said').textContent = t('back.said');
      this.#fetch();
    }
    was.hidden = true;
    this.#connected = true;
  }

  #lost(pause) {
    const values = { time: clock(this.#lastWord), span: seconds(pause) };
    const banner = document.getElementById('lost');
    banner.querySelector('p').textContent = this.#lastWord ? t('lost.text', values) : t('lost.never', values);
    if (banner.hidden) document.getElementById('said').textContent = t('lost.said');
    banner.hidden = false;
    this.#connected = false;
    this.#draw();
  }

  /** What was shown stays where the program was started again; who was shut out while it ran sees nothing any more. */
  #refused() {
    if (this.#over) return;
    this.#over = true;
    this.#live.end();
    forgetToken(this.#token);
    if (this.#lastWord && !this.#connected) {
      this.#sayOver();
      return;
    }
    this.#view()?.leave?.();
    this.#shown = '';
    showDoor(true);
  }

  #sayOver() {
    const text = t('lost.over', { time: clock(this.#lastWord) });
    const banner = document.getElementById('lost');
    banner.querySelector('p').textContent = text;
    banner.querySelector('button').hidden = true;
    banner.hidden = false;
    document.getElementById('said').textContent = text;
  }
}

async function attempt(work) {
  try {
    await work();
    return true;
  } catch (error) {
    say(error.status === 0 ? t('unreachable') : t('failed', { why: error.message }), 'bad');
    return false;
  }
}

/** What is shown to who has no token. */
function showDoor(wrong) {
  document.body.classList.add('closed');
  const fill = (card) => card.replaceChildren(
    el('h2', {}, t('door.title')),
    wrong ? el('p', { class: 'bad' }, t('door.wrong')) : '',
    el('p', {}, t('door.text')),
    el('pre', {}, el('code', {}, 'ropeway dashboard')),
    el('p', { class: 'quiet' }, t('door.after')),
  );
  const card = el('section', { class: 'card door' });
  fill(card);
  document.getElementById('view').replaceChildren(card);
  translated = () => fill(card);
}

let translated = () => {};

function nameTheme() {
  const chosen = window.ropewayTheme.chosen();
  const box = document.getElementById('theme');
  box.querySelector('span').textContent = t(`theme.${chosen}`);
  box.querySelector('svg').replaceWith(icon(chosen));
  box.setAttribute('title', t(`theme.${chosen}`));
  box.setAttribute('aria-label', t(`theme.${chosen}`));
}

function startSwitches() {
  const box = document.getElementById('language');
  box.value = language();
  box.addEventListener('change', () => {
    chooseLanguage(box.value);
    nameTheme();
    translated();
  });
  document.getElementById('theme').addEventListener('click', () => {
    const next = (THEMES.indexOf(window.ropewayTheme.chosen()) + 1) % THEMES.length;
    window.ropewayTheme.choose(THEMES[next]);
    nameTheme();
  });
  nameTheme();
}

startLanguage();
startSwitches();
const token = takeToken();
if (token) {
  const page = new Page(token);
  translated = () => page.translate();
  page.start();
} else {
  showDoor(false);
}
// The address may be opened again with a new token, where the page is open already.
addEventListener('hashchange', () => location.hash.startsWith('#token=') && location.reload());
onNewToken(() => location.reload());
