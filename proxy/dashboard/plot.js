// Throughput of the last hour, and below it the round trips on the same axis of time: what a load does to them is seen.

import { el, setText, svg } from './dom.js';
import { hour, milliseconds, rate, t } from './language.js';

const HEIGHTS = { rates: 150, trips: 90 };
const LEFT = 68;
const RIGHT = 8;
const TOP = 14;
const GAP = 34;
const BOTTOM = 22;
const HEIGHT = TOP + HEIGHTS.rates + GAP + HEIGHTS.trips + BOTTOM;
/** The last hour, or as much of it as there is, and 5 minutes at least. */
const LEAST = 300;
/** Seconds between two times below the plot. */
const TICKS = [60, 120, 300, 600, 1200];
const TICK_WIDTH = 70;

/** The next round number, of which the half is round too. */
function round(value, least) {
  const size = Math.max(value, least);
  const ten = 10 ** Math.floor(Math.log10(size));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * ten >= size) * ten;
}

/** Steps without a value leave a gap. */
function line(values, x, y) {
  let path = '';
  let pen = false;
  values.forEach((value, index) => {
    if (value !== null) path += `${pen ? 'L' : 'M'}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = value !== null;
  });
  return path;
}

function area(values, x, y) {
  if (!values.length) return '';
  return `${line(values.map((value) => value ?? 0), x, y)}L${x(values.length - 1).toFixed(1)} ${y(0)}L${x(0).toFixed(1)} ${y(0)}Z`;
}

export class Plot {
  element;
  #history = null;
  #picture = svg('svg', { class: 'plot', role: 'img' });
  #readout = el('p', { class: 'readout', 'aria-hidden': 'true' });
  #point = el('input', { type: 'range', min: '0', step: '1' });
  #cross = svg('line', { class: 'cross' });
  #x = () => 0;
  #width = 0;

  constructor() {
    this.#picture.setAttribute('aria-label', t('overview.hour'));
    this.#point.setAttribute('aria-label', t('overview.point'));
    this.#point.addEventListener('input', () => this.#read(Number(this.#point.value)));
    this.#point.addEventListener('blur', () => this.#read(null));
    const frame = el('div', { class: 'plot-frame' }, this.#picture, this.#point);
    frame.addEventListener('pointermove', (event) => this.#pointed(event));
    frame.addEventListener('pointerleave', () => this.#read(null));
    const keys = ['down', 'up', 'rtt'].map((name) => el('li', { class: `key ${name}` }, t(`overview.${name}`)));
    this.element = el('div', {}, el('div', { class: 'plot-head' }, el('ul', { class: 'keys' }, ...keys), this.#readout), frame);
    new ResizeObserver(() => {
      if (this.#history && frame.clientWidth && frame.clientWidth !== this.#width) this.#draw(frame.clientWidth);
    }).observe(frame);
  }

  show(history) {
    this.#history = history;
    this.#point.max = String(Math.max(history.down.length - 1, 0));
    const width = this.#picture.parentNode.clientWidth;
    if (width) this.#draw(width);
  }

  #draw(width) {
    this.#width = width;
    const { up, down, rtt_ms: trips, step, end } = this.#history;
    const most = round(Math.max(...down, ...up, 0), 10_000);
    const slowest = round(Math.max(...trips.map((trip) => trip ?? 0), 0), 50);
    const count = Math.max(LEAST / step, down.length);
    const x = (index) => LEFT + ((index + count - down.length) / (count - 1)) * (width - LEFT - RIGHT);
    const floor = TOP + HEIGHTS.rates;
    const bottom = floor + GAP + HEIGHTS.trips;
    const y = (value) => floor - (value / most) * HEIGHTS.rates;
    const late = (value) => bottom - (value / slowest) * HEIGHTS.trips;
    this.#x = x;
    this.#picture.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
    this.#picture.setAttribute('height', HEIGHT);
    this.#picture.setAttribute('aria-label', t('overview.summary', { down: rate(Math.max(...down, 0)), up: rate(Math.max(...up, 0)) }));
    this.#cross.setAttribute('y1', TOP);
    this.#cross.setAttribute('y2', bottom);
    this.#picture.replaceChildren(
      ...this.#across([0, most / 2, most], y, width, rate),
      ...this.#across([0, slowest / 2, slowest], late, width, milliseconds),
      ...this.#times(end - (count - 1) * step, end, width, bottom),
      svg('path', { class: 'down area', d: area(down, x, y) }),
      svg('path', { class: 'down line', d: line(down, x, y) }),
      svg('path', { class: 'up line', d: line(up, x, y) }),
      svg('path', { class: 'rtt line', d: line(trips, x, late) }),
      this.#cross,
    );
    this.#read(null);
  }

  #across(values, y, width, format) {
    return values.flatMap((value) => [
      svg('line', { class: 'grid', x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
      svg('text', { x: LEFT - 8, y: y(value) + 4, 'text-anchor': 'end' }, format(value)),
    ]);
  }

  #times(begin, end, width, bottom) {
    const marks = [];
    const most = (width - LEFT - RIGHT) / TICK_WIDTH;
    const every = TICKS.find((tick) => (end - begin) / tick <= most) || TICKS[TICKS.length - 1];
    for (let at = Math.ceil(begin / every) * every; at <= end; at += every) {
      const x = LEFT + ((at - begin) / (end - begin)) * (width - LEFT - RIGHT);
      if (x < LEFT + 18 || x > width - RIGHT - 18) continue;
      marks.push(svg('text', { x, y: bottom + 17, 'text-anchor': 'middle' }, hour(at)));
    }
    return marks;
  }

  #pointed(event) {
    if (!this.#history) return;
    const count = this.#history.down.length;
    const left = this.#picture.getBoundingClientRect().left;
    const index = Math.round(((event.clientX - left - this.#x(0)) / (this.#x(count - 1) - this.#x(0))) * (count - 1));
    this.#read(index >= 0 && index < count ? index : null);
  }

  #read(index) {
    this.#cross.classList.toggle('shown', index !== null);
    if (index === null) {
      setText(this.#readout, '');
      return;
    }
    const { end, step, up, down, rtt_ms: trips } = this.#history;
    const values = {
      time: hour(end - (down.length - 1 - index) * step), down: rate(down[index] ?? 0), up: rate(up[index] ?? 0), rtt: milliseconds(trips[index]),
    };
    const said = t('overview.at', values);
    setText(this.#readout, said);
    this.#point.setAttribute('aria-valuetext', said);
    this.#cross.setAttribute('x1', this.#x(index));
    this.#cross.setAttribute('x2', this.#x(index));
  }
}

/** The median round trips of quiet and of busy steps, or null: busy is what carries a fifth of the most that was, and of 50 KB/s at least. */
export function underLoad({ up, down, rtt_ms: trips }) {
  const rates = down.map((value, index) => Math.max(value, up[index] ?? 0));
  const busyFrom = Math.max(Math.max(...rates, 0) / 5, 50_000);
  const quiet = [];
  const busy = [];
  trips.forEach((trip, index) => trip !== null && (rates[index] >= busyFrom ? busy : quiet).push(trip));
  return { quiet: median(quiet), busy: median(busy) };
}

function median(values) {
  if (!values.length) return null;
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
}
