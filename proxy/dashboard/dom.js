// Elements. Text is only ever set as text: host names, rules and lines of the log come from strangers.

const SVG = 'http://www.w3.org/2000/svg';

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === 'function') element.addEventListener(name.slice(2), value); // onclick: ...
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** An element; `onNAME` attributes are listeners, and children may be text. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

export function icon(name) {
  return svg('svg', { class: 'icon', 'aria-hidden': 'true' }, svg('use', { href: `#i-${name}` }));
}

export function button(label, onclick, { kind = '', symbol = '', ...others } = {}) {
  const text = el('span', {}, label);
  return el('button', { type: 'button', class: kind, onclick, ...others }, symbol ? icon(symbol) : null, text);
}

/** A button that shows only its symbol. */
export function iconButton(symbol, label, onclick, others = {}) {
  return el('button', { type: 'button', class: 'plain', 'aria-label': label, title: label, onclick, ...others }, icon(symbol));
}

export function option(value, label, selected) {
  return el('option', { value, selected }, label);
}

export function select(label, options, chosen, onchange) {
  const box = el('select', { onchange: () => onchange(box.value) },
    ...options.map(([value, text]) => option(value, text, value === chosen)));
  return el('label', { class: 'select' }, el('span', { class: 'unseen' }, label), box);
}

export function search(label, value, oninput) {
  const box = el('input', { type: 'search', placeholder: label, 'aria-label': label, autocomplete: 'off', spellcheck: 'false' });
  box.value = value;
  box.addEventListener('input', () => oninput(box.value));
  return el('div', { class: 'search' }, icon('search'), box);
}

/** Sets what is shown only where it differs: what stays the same costs no layout. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

export function pill(kind, text) {
  return el('span', { class: `pill ${kind}` }, text);
}

/** Something that is said once, also to those who listen to the page. */
export function say(text, kind = '') {
  document.getElementById('said').textContent = text;
  const toast = el('p', { class: `toast ${kind}` }, text);
  const toasts = document.getElementById('toasts');
  toasts.append(toast);
  while (toasts.children.length > 3) toasts.firstChild.remove();
  setTimeout(() => toast.remove(), 6000);
}

/** A dialog over the page with what `content` makes; it goes with Escape, its button, or `close()`. */
export function openDialog(title, closeLabel, content, onclose = () => {}) {
  const heading = el('h2', { id: 'dialog-title' }, title);
  const dialog = el('dialog', { 'aria-labelledby': 'dialog-title' });
  const close = () => dialog.close();
  dialog.append(el('div', { class: 'dialog-head' }, heading, iconButton('close', closeLabel, close)), ...content(close));
  dialog.addEventListener('close', () => {
    dialog.remove();
    onclose();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Whether it was said that it shall be done. */
export function confirmed(title, text, yes, no) {
  return new Promise((resolve) => {
    let answer = false;
    const content = (close) => [
      el('p', {}, text),
      el('div', { class: 'actions' },
        button(no, close),
        button(yes, () => {
          answer = true;
          close();
        }, { kind: 'danger' })),
    ];
    openDialog(title, no, content, () => resolve(answer));
  });
}
