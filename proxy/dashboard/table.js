// A table of any length, of which only the rows that are seen are in the document.

import { el, select, setAttribute, setText } from './dom.js';

/** Rows above and below what is seen, so that scrolling and the Tab key find the next one there. */
const BEYOND = 8;

/**
 * A column: `name`, `label`, and `text(item)`, or `make(cell)` and `update(cell, item)` where it is more than text. With `order(a, b)` it
 * can be sorted by; `falling` says that its largest come first. `key(item)` is the row's own, `kind(item)` its class.
 */
export class Table {
  element;
  items = [];
  #columns;
  #key;
  #kind;
  #label;
  #sort;
  #changed;
  #body = el('tbody');
  #above = el('tr', { class: 'gap', 'aria-hidden': 'true' }, el('td'));
  #below = el('tr', { class: 'gap', 'aria-hidden': 'true' }, el('td'));
  #heads = new Map();
  #rows = new Map();
  #free = [];
  #scroll;
  #table;
  #empty = el('p', { class: 'empty', hidden: true });

  /** `changed()` is called when another order is wanted: whoever has the items sorts them, with `compare`. */
  constructor({ columns, key, label, sort, changed = () => {}, kind = () => '' }) {
    this.#columns = columns;
    this.#key = key;
    this.#kind = kind;
    this.#label = label;
    this.#sort = { ...sort };
    this.#changed = changed;
    const heads = columns.map((column) => this.#head(column));
    this.#body.append(this.#above, this.#below);
    this.#table = el('table', { role: 'table', 'aria-label': label },
      el('thead', { role: 'rowgroup' }, el('tr', { role: 'row', 'aria-rowindex': '1' }, ...heads)), this.#body);
    this.#body.setAttribute('role', 'rowgroup');
    this.#scroll = el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': label, onscroll: () => this.#soon() },
      this.#table, this.#empty);
    this.element = el('div', { class: 'table' }, this.#scroll);
    new ResizeObserver(() => this.#soon()).observe(this.#scroll);
    this.#mark();
  }

  /** For small screens, which show no heads of columns. */
  sorter(label) {
    const sortable = this.#columns.filter((column) => column.order);
    const box = select(label, sortable.map((column) => [column.name, `${label}: ${column.label}`]), this.#sort.name, (name) => this.#by(name));
    box.classList.add('narrow');
    return box;
  }

  /** In the order that was chosen; what is equal keeps its place. */
  compare(a, b) {
    const column = this.#columns.find((each) => each.name === this.#sort.name);
    const order = column ? column.order(a, b) : 0;
    return this.#sort.falling ? -order : order;
  }

  show(items, empty = '') {
    this.items = items;
    this.#empty.hidden = items.length > 0;
    setText(this.#empty, items.length ? '' : empty);
    this.render();
  }

  top() {
    this.#scroll.scrollTop = 0;
  }

  render() {
    const height = parseFloat(getComputedStyle(this.#table).getPropertyValue('--row')) || 40;
    const first = Math.max(Math.floor(this.#scroll.scrollTop / height) - BEYOND, 0);
    const last = Math.min(Math.ceil((this.#scroll.scrollTop + this.#scroll.clientHeight) / height) + BEYOND, this.items.length);
    setAttribute(this.#table, 'aria-rowcount', String(this.items.length + 1));
    this.#above.style.height = `${Math.min(first, this.items.length) * height}px`;
    this.#below.style.height = `${Math.max(this.items.length - last, 0) * height}px`;
    const focused = document.activeElement;
    const had = this.#body.contains(focused);
    this.#place(this.items.slice(first, last), first);
    if (had && document.activeElement !== focused) (focused.isConnected ? focused : this.#scroll).focus({ preventScroll: true });
  }

  #place(items, first) {
    const wanted = new Set(items.map((item) => this.#key(item)));
    for (const [key, row] of this.#rows) {
      if (wanted.has(key)) continue;
      row.remove();
      this.#rows.delete(key);
      this.#free.push(row);
    }
    let place = this.#above.nextSibling;
    items.forEach((item, index) => {
      const key = this.#key(item);
      let row = this.#rows.get(key);
      if (row === undefined) {
        row = this.#free.pop() || this.#make();
        this.#rows.set(key, row);
      }
      this.#update(row, item, first + index);
      if (row === place) place = place.nextSibling;
      else this.#body.insertBefore(row, place);
    });
    this.#free.length = Math.min(this.#free.length, 64);
  }

  #make() {
    const cells = this.#columns.map((column) => {
      const cell = el('td', { role: 'cell', class: `c-${column.name}` });
      column.make?.(cell);
      return cell;
    });
    return el('tr', { role: 'row' }, ...cells);
  }

  #update(row, item, index) {
    setAttribute(row, 'aria-rowindex', String(index + 2));
    setAttribute(row, 'class', `${index % 2 ? 'odd' : 'even'} ${this.#kind(item)}`);
    this.#columns.forEach((column, number) => {
      const cell = row.children[number];
      if (column.update) column.update(cell, item);
      else setText(cell, column.text(item));
    });
  }

  #head(column) {
    const head = el('th', { scope: 'col', role: 'columnheader', class: `c-${column.name}` });
    if (column.order) head.append(el('button', { type: 'button', onclick: () => this.#by(column.name) }, column.label));
    else head.append(el('span', { class: column.hidden ? 'unseen' : '' }, column.label));
    this.#heads.set(column.name, head);
    return head;
  }

  #by(name) {
    const column = this.#columns.find((each) => each.name === name);
    const again = this.#sort.name === name;
    this.#sort = { name, falling: again ? !this.#sort.falling : Boolean(column.falling) };
    this.#mark();
    this.#changed();
  }

  #mark() {
    for (const column of this.#columns) {
      if (!column.order) continue;
      const way = this.#sort.name !== column.name ? 'none' : this.#sort.falling ? 'descending' : 'ascending';
      this.#heads.get(column.name).setAttribute('aria-sort', way);
    }
  }

  #waiting = false;

  #soon() {
    if (this.#waiting) return;
    this.#waiting = true;
    requestAnimationFrame(() => {
      this.#waiting = false;
      this.render();
    });
  }
}
