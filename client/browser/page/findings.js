// The card of one audit: verdict, counts, findings, what was checked.

const AUDIT_WORDS = [
  ['Clean', 'affirmed', '✓', 'Nothing is wrong in what this bundle shows.'],
  ['Errors found', 'refused', '✕', 'Something is wrong: each finding names its record.'],
  ['Unreadable', 'refused', '✕', 'The bundle could not be read to its end: what follows is incomplete.'],
];
const MAX_SHOWN_FINDINGS = 200;

// A record in words, its digests and ids beside it.
function recordOf({ kind, ...rest }) {
  const parts = Object.entries(rest).map(([name, inner]) =>
    el('span', { class: 'part' }, `${name} `, value(inner)));
  return [el('strong', {}, kind.replaceAll('-', ' ')), ' ', parts];
}

const findingItem = ({ severity, check, record, message }) =>
  el('li', { class: severity },
    el('p', {}, el('span', { class: `badge ${severity === 'error' ? 'fail' : 'unknown'}` }, severity), ' ',
      el('code', {}, check), ' ', el('span', { class: 'message' }, message)),
    el('p', { class: 'record' }, recordOf(record)));

function findingList(report) {
  const all = report.findings;
  if (all.length === 0) return [el('p', { class: 'none' }, 'No findings.')];
  const list = el('ol', { class: 'findings', 'aria-label': 'Findings' }, all.slice(0, MAX_SHOWN_FINDINGS).map(findingItem));
  const left = all.length - MAX_SHOWN_FINDINGS + report.findings_left_out;
  return left > 0 ? [list, el('p', { class: 'faint' }, `${left} more findings: save the report to read those it lists.`)] : [list];
}

function countTiles(counts) {
  const tiles = Object.entries(counts).filter(([, n]) => n > 0).map(([name, n]) =>
    el('div', {}, el('dt', {}, name), el('dd', {}, n.toLocaleString('en'))));
  return el('dl', { class: 'tiles', 'aria-label': 'What was read' }, tiles);
}

function auditTable(checks) {
  const rows = checks.map((check) => {
    const result = resultOf(check);
    return el('tr', { class: result }, el('td', {}, badge(result)),
      el('th', { scope: 'row' }, el('code', {}, check.name)), el('td', {}, check.detail));
  });
  return el('table', { class: 'checks' },
    el('caption', { class: 'hidden' }, 'What was checked'),
    el('thead', {}, el('tr', {}, ['Result', 'Check', 'How much'].map((name) => el('th', { scope: 'col' }, name)))),
    el('tbody', {}, rows));
}

function auditCard(audited, { milliseconds, command }) {
  const { name, exit_code: code, errors, warnings, policy, logs, report } = audited;
  const [word, look, mark, says] = AUDIT_WORDS[code];
  const table = auditTable(report.checks);
  const text = () => `${JSON.stringify(report, null, 2)}\n`;
  const view = report.view === 'full' ? 'Full view: gaps can be seen' : "One account's view: says nothing about others";
  return el('article', { class: `card ${look}`, 'aria-label': `${word}: ${name}` },
    el('div', { class: 'banner' },
      el('p', { class: 'stamp' }, el('span', { 'aria-hidden': 'true' }, mark), ` ${word}`),
      el('div', {}, el('h3', {}, `${count(errors, 'error')}, ${count(warnings, 'warning')}`), el('p', {}, says))),
    report.simulated ? [simulatedStrip()] : [],
    el('p', { class: 'facts' }, `${name} · ${view} · log ${logs.join(', ')} · evidence under policy `,
      el('strong', {}, policy), ` · judged in ${took(milliseconds)}`),
    countTiles(report.counts),
    findingList(report),
    filters(table, report.checks),
    el('div', { class: 'wide' }, table),
    el('div', { class: 'actions' },
      keepButton('Save the report (JSON)', `${plainName(name)}.audit.json`, text),
      el('button', { type: 'button', class: 'small', click: () => window.print() }, 'Print'),
      inTerminal(command)));
}
