// What the doctor finds, with the mend.

import { button, el, icon, setText } from './dom.js';
import { span, t, told, word } from './language.js';

const SYMBOLS = { ok: 'ok', note: 'warning', fault: 'fault' };
const FIRST = ['fault', 'note', 'ok'];

export class DoctorView {
  #context;
  #kept;
  #look;
  #progress = el('div', { class: 'progress', hidden: true });
  #passed = el('p', { id: 'looking' });
  #found = el('div', { class: 'findings' });

  constructor(context, panel) {
    this.#context = context;
    this.#kept = context.kept.doctor ??= { findings: null, begun: null };
    this.#look = button('', () => this.#start(), { kind: 'main', symbol: 'doctor' });
    this.#progress.append(el('progress', { 'aria-labelledby': 'looking' }), this.#passed, el('p', { class: 'quiet' }, t('doctor.long')));
    panel.append(el('div', { class: 'tools' }, el('p', { class: 'intro' }, t('doctor.intro')), this.#look), this.#progress, this.#found);
    this.#show();
  }

  render() {
    const { begun, findings } = this.#kept;
    this.#progress.hidden = begun === null;
    this.#look.disabled = begun !== null;
    setText(this.#look.lastChild, findings ? t('doctor.lookagain') : t('doctor.look'));
    if (begun !== null) setText(this.#passed, t('doctor.looking', { span: span((performance.now() - begun) / 1000) }));
  }

  async #start() {
    const { api, attempt, draw } = this.#context;
    this.#kept.begun = performance.now();
    this.#kept.findings = null;
    this.#found.replaceChildren();
    draw();
    await attempt(async () => {
      this.#kept.findings = (await api.post('doctor')).findings;
    });
    this.#kept.begun = null;
    // The page may be in another language by now, and another view of this kind be shown.
    this.#kept.shown?.();
    if (this.#kept.findings) document.getElementById('said').textContent = verdict(this.#kept.findings).text;
    draw();
  }

  #show() {
    this.#kept.shown = () => this.#show();
    const { findings } = this.#kept;
    if (!findings) return;
    const { worst, text } = verdict(findings);
    const sorted = [...findings].sort((a, b) => FIRST.indexOf(a.kind) - FIRST.indexOf(b.kind));
    const fine = sorted.filter((finding) => finding.kind === 'ok');
    this.#found.replaceChildren(
      el('h2', { class: `verdict ${worst}` }, icon(SYMBOLS[worst]), text),
      el('ul', {}, ...sorted.filter((finding) => finding.kind !== 'ok').map((finding) => row(finding, 'card'))),
      fine.length ? el('ul', { class: 'card' }, ...fine.map((finding) => row(finding, ''))) : '',
    );
  }
}

function verdict(findings) {
  const count = (kind) => findings.filter((finding) => finding.kind === kind).length;
  const parts = [count('fault') ? t('doctor.faults', { n: count('fault') }) : t('doctor.fine')];
  if (count('note')) parts.push(t('doctor.notes', { n: count('note') }));
  return { worst: count('fault') ? 'fault' : 'ok', text: parts.join(' ') };
}

/** What is between backticks is a command. */
function withCommands(text) {
  return text.split('`').map((part, index) => (index % 2 ? el('code', {}, part) : part));
}

function row({ check, kind, what, why, mend, words = {} }, look) {
  const more = [[t('doctor.why'), told(words.why, why)], [t('doctor.mend'), told(words.mend, mend)]].filter(([, text]) => text);
  return el('li', { class: `${look} finding ${kind}` },
    icon(SYMBOLS[kind] || 'warning'),
    el('div', {},
      el('h3', {}, told(check), el('span', { class: 'unseen' }, `: ${word('finding', kind)}`)),
      el('p', {}, ...withCommands(told(words.what, what))),
      more.length ? el('dl', {}, ...more.flatMap(([name, text]) => [el('dt', {}, name), el('dd', {}, ...withCommands(text))])) : null));
}
