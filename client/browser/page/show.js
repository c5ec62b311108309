// Small pieces of the page. Everything a stranger wrote goes through `harmless` into text nodes.

// Control, bidirectional and invisible characters, shown instead of obeyed.
function harmless(text) {
  const hidden = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
  return String(text).replace(hidden, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
}

// An element with attributes (or listeners, as functions) and children (elements or texts).
function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(key, value);
    else if (value === true) element.setAttribute(key, '');
    else if (value !== false && value !== null) element.setAttribute(key, value);
  }
  element.append(...children.flat(Infinity).map((c) => (c instanceof Node ? c : harmless(c))));
  return element;
}

const count = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

function size(bytes) {
  if (bytes < 1000) return count(bytes, 'byte');
  const [divisor, unit] = bytes < 1e6 ? [1e3, 'kB'] : bytes < 1e9 ? [1e6, 'MB'] : [1e9, 'GB'];
  return `${(bytes / divisor).toPrecision(3)} ${unit}`;
}

const instant = (seconds) =>
  new Date(seconds * 1000).toISOString().replace('T', ' ').replace('.000Z', ' UTC');

const rfc3339 = (seconds) => new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');

const took = (milliseconds) =>
  milliseconds < 1000 ? `${Math.max(1, Math.round(milliseconds))} ms` : `${(milliseconds / 1000).toFixed(1)} s`;

// Long hex and base64 words break anywhere and are set in a fixed width.
const isCode = (text) => /^(sha(256|384|512):|0x)?[0-9a-f]{16,}$|^[0-9A-Za-z+/_=-]{40,}$/.test(text);

function value(text) {
  const shown = String(text);
  // A remark about each of several devices: one line each.
  if (shown.length > 120 && shown.includes('; ')) return el('span', { class: 'lines' }, shown.replaceAll('; ', ';\n'));
  return isCode(shown) ? el('code', { class: 'hex' }, shown) : el('span', {}, shown);
}

// Keeps `content` as a file on this machine.
function keep(name, content, type = 'application/json') {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = el('a', { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

const keepButton = (text, name, content) =>
  el('button', { type: 'button', class: 'small', click: () => keep(name, content()) }, text);

const plainName = (name) => name.replace(/[^A-Za-z0-9._-]+/g, '-').replace(/^[-.]+/, '') || 'evidence';

async function copy(text, button) {
  let done = false;
  try {
    await navigator.clipboard.writeText(text);
    done = true;
  } catch {
    const field = el('textarea', { class: 'hidden' });
    field.value = text;
    document.body.append(field);
    field.select();
    done = document.execCommand('copy');
    field.remove();
  }
  const before = button.textContent;
  button.textContent = done ? 'Copied' : 'Copy by hand';
  setTimeout(() => { button.textContent = before; }, 1500);
}

const copyButton = (text) =>
  el('button', { type: 'button', class: 'copy', click: (event) => copy(text, event.currentTarget) }, 'Copy');

const RESULTS = {
  pass: { mark: '✓', word: 'pass' },
  fail: { mark: '✕', word: 'fail' },
  unknown: { mark: '?', word: 'unknown' },
  not_required: { mark: '–', word: 'not required' },
};

// `pass`, `fail`, `unknown`, `not_required`; the audit writes the last with a hyphen.
const resultOf = (check) => check.result.replace('-', '_');

function badge(result) {
  const { mark, word } = RESULTS[result];
  return el('span', { class: `badge ${result}` }, el('span', { 'aria-hidden': 'true' }, mark), ` ${word}`);
}

function tally(checks) {
  const found = { pass: 0, fail: 0, unknown: 0, not_required: 0 };
  checks.forEach((check) => { found[resultOf(check)] += 1; });
  return found;
}

// Which rows of a table are shown, by result; a button per result with its count.
function filters(table, checks) {
  const found = tally(checks);
  const buttons = Object.entries(found).filter(([, n]) => n > 0).map(([result, n]) =>
    el('button', {
      type: 'button', class: `filter ${result}`, 'aria-pressed': 'true',
      click: ({ currentTarget: button }) => {
        const shown = button.getAttribute('aria-pressed') !== 'true';
        button.setAttribute('aria-pressed', String(shown));
        table.classList.toggle(`without-${result}`, !shown);
      },
    }, `${n} ${RESULTS[result].word}`));
  return el('div', { class: 'filters', role: 'group', 'aria-label': 'Checks shown' }, buttons);
}

const simulatedStrip = () =>
  el('p', { class: 'simulated' }, el('strong', {}, 'SIMULATED'), ' No hardware protects anything here.');

const inTerminal = (command) => el('details', { class: 'command' }, el('summary', {}, 'The same in a terminal'),
  el('p', {}, el('code', { class: 'hex' }, command), ' ', copyButton(command)));
