// Words, numbers, times and sizes in the language of the reader.

import { zhFindings } from './findings_zh.js';
import { en } from './words_en.js';
import { zh } from './words_zh.js';

const KEY = 'ropeway.language';
const LANGUAGES = { en: { words: en, findings: {}, tag: 'en' }, zh: { words: zh, findings: zhFindings, tag: 'zh-Hans' } };
const KILO = 1000;
const UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'];
const SPANS = [['day', 86_400], ['hour', 3600], ['minute', 60], ['second', 1]];

let chosen = 'en';
let words = en;
let made = new Map();

/** The locale of numbers: the browser's own where it is of the same language, as en-GB writes other dates than en-US. */
function locale() {
  const tag = LANGUAGES[chosen].tag;
  return navigator.languages.find((each) => each.toLowerCase().split('-')[0] === chosen) || tag;
}

/** Formatters are slow to make, and few. */
function formatter(kind, options) {
  const name = kind.name + JSON.stringify(options);
  if (!made.has(name)) made.set(name, new kind(locale(), options));
  return made.get(name);
}

export function language() {
  return chosen;
}

/** What was chosen here, or the first of the browser's languages that there is. */
export function startLanguage() {
  const kept = localStorage.getItem(KEY);
  const wanted = [kept || '', ...navigator.languages].map((tag) => tag.toLowerCase().split('-')[0]);
  use(wanted.find((tag) => tag in LANGUAGES) || 'en');
}

export function chooseLanguage(tag) {
  localStorage.setItem(KEY, tag);
  use(tag);
}

function use(tag) {
  chosen = tag;
  words = LANGUAGES[tag].words;
  made = new Map();
  document.documentElement.lang = LANGUAGES[tag].tag;
  for (const element of document.querySelectorAll('[data-t]')) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll('[data-t-label]')) element.setAttribute('aria-label', t(element.dataset.tLabel));
}

/** The words for `key`, with `{name}` replaced. Where there are several by number, `n` says which. */
export function t(key, values = {}) {
  let text = words[key] ?? en[key] ?? key;
  if (typeof text === 'object') text = text[formatter(Intl.PluralRules, {}).select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (_, name) => (name === 'n' ? number(values.n) : String(values[name])));
}

/** Words where there may be none for it: a state that a newer program has is shown as it is. */
export function word(group, value) {
  const key = `${group}.${value}`;
  return key in words ? t(key) : value;
}

/** What the doctor says, by the words that it is made of (docs/api.md); in English where there are none for it. */
export function told(words, english) {
  if (typeof words === 'string') return foundWords(words) ?? words;
  const pattern = words && (foundWords(words.pattern) ?? (english === undefined ? words.pattern : undefined));
  return pattern ? pattern.replace(/\{(\w+)\}/g, (_, name) => told(words.values[name])) : english;
}

function foundWords(pattern) {
  const { findings } = LANGUAGES[chosen];
  return Object.hasOwn(findings, pattern) ? findings[pattern] : undefined;
}

export function appName(app) {
  return app ? word('app', app) : t('app.other');
}

export function number(value) {
  return formatter(Intl.NumberFormat, { maximumFractionDigits: 0 }).format(value);
}

function sized(value, per) {
  let step = 0;
  while (value >= KILO * 0.9995 && step < UNITS.length - 1) {
    value /= KILO;
    step += 1;
  }
  const digits = step === 0 || value >= 99.95 ? 0 : 1;
  const options = {
    style: 'unit', unit: UNITS[step] + per, unitDisplay: step ? 'short' : 'narrow', minimumFractionDigits: digits, maximumFractionDigits: digits,
  };
  return formatter(Intl.NumberFormat, options).format(value).replace(/(\d)B/, '$1 B');
}

export function bytes(value) {
  return sized(value, '');
}

export function rate(value) {
  return sized(value, '-per-second');
}

export function milliseconds(value) {
  if (value === null || value === undefined) return '–';
  return formatter(Intl.NumberFormat, { style: 'unit', unit: 'millisecond', unitDisplay: 'short', maximumFractionDigits: 0 }).format(value);
}

export function seconds(value) {
  return formatter(Intl.NumberFormat, { style: 'unit', unit: 'second', unitDisplay: 'short', maximumFractionDigits: 0 }).format(value);
}

/** A length of time in its two largest units. */
export function span(value) {
  let left = Math.max(Math.round(value), 0);
  const parts = [];
  for (const [unit, size] of SPANS) {
    if (parts.length === 2 || (left < size && !parts.length && unit !== 'second')) continue;
    const count = Math.floor(left / size);
    left -= count * size;
    if (count || !parts.length) parts.push(formatter(Intl.NumberFormat, { style: 'unit', unit, unitDisplay: 'narrow' }).format(count));
  }
  return parts.join(' ');
}

/** "12 seconds ago"; `null` is never. */
export function ago(at, now) {
  if (at === null || at === undefined) return t('never');
  const passed = Math.max(now - at, 0);
  if (passed < 1) return t('now');
  const [unit, size] = SPANS.find(([, each]) => passed >= each);
  return formatter(Intl.RelativeTimeFormat, { numeric: 'always', style: 'short' }).format(-Math.floor(passed / size), unit);
}

export function clock(at) {
  return formatter(Intl.DateTimeFormat, { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false }).format(at * 1000);
}

export function hour(at) {
  return formatter(Intl.DateTimeFormat, { hour: '2-digit', minute: '2-digit', hour12: false }).format(at * 1000);
}

/** The time, and the day where it is not today. */
export function moment(at) {
  if (new Date(at * 1000).toDateString() === new Date().toDateString()) return clock(at);
  return formatter(Intl.DateTimeFormat, { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hour12: false }).format(at * 1000);
}

/** A day that is written YYYY-MM-DD. */
export function day(text) {
  const [year, month, date] = text.split('-').map(Number);
  return formatter(Intl.DateTimeFormat, { weekday: 'short', month: 'short', day: 'numeric' }).format(new Date(year, month - 1, date));
}
