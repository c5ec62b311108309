// The card of one appraisal: verdict, failed checks first, the table, the claims.

const TEES = {
  'snp': 'AMD SEV-SNP', 'tdx': 'Intel TDX', 'nvidia': 'NVIDIA', 'csv': 'Hygon CSV',
  'azure-snp': 'Azure, SEV-SNP', 'azure-tdx': 'Azure, TDX',
};

const ABOUT = {
  evidence: ['Evidence', 'Is it genuine?'],
  policy: ['Policy', 'Is it good enough?'],
  binding: ['Binding', 'Do the keys belong to it?'],
};

// One sentence: what the failed checks mean together.
function meaning({ verdict, checks }, isReport) {
  const failed = new Set(checks.filter((check) => check.result === 'fail').map((check) => check.about));
  const unknown = checks.filter((check) => check.result === 'unknown').length;
  if (verdict === 'affirmed') {
    return unknown === 0 ? 'Every check that was asked for passed.'
      : `No check failed; ${count(unknown, 'question')} stayed open, see below.`;
  }
  if (failed.has('evidence')) return 'Not genuine, or not shown to be: do not believe anything it says.';
  if (failed.has('binding')) return isReport
    ? 'Genuine, but these keys or this answer do not belong to it.'
    : 'Genuine, but it is not the answer that was expected.';
  return 'Genuine, but refused by this policy.';
}

function checkRow(check) {
  const result = resultOf(check);
  const isRepeated = check.expected === check.got && isCode(check.got);
  return el('tr', { class: result },
    el('td', {}, badge(result)),
    el('th', { scope: 'row' }, el('code', {}, check.name)),
    el('td', { 'data-label': 'Expected' }, value(check.expected)),
    el('td', { 'data-label': 'Got' }, isRepeated ? el('span', { class: 'faint' }, 'the same') : value(check.got)));
}

function checkTable(checks, caption) {
  const groups = Object.entries(ABOUT).flatMap(([about, [title, question]]) => {
    const rows = checks.filter((check) => check.about === about);
    if (rows.length === 0) return [];
    const head = el('tr', { class: 'group' },
      el('th', { colspan: '4', scope: 'rowgroup' }, title, ' ', el('span', { class: 'faint' }, question)));
    return [el('tbody', {}, head, rows.map(checkRow))];
  });
  return el('table', { class: 'checks' },
    el('caption', { class: 'hidden' }, caption),
    el('thead', {}, el('tr', {}, ['Result', 'Check', 'Expected', 'Got'].map((name) => el('th', { scope: 'col' }, name)))),
    groups);
}

// Claims of any shape: objects as lists, lists as numbered lists, texts as they are.
function claims(value_) {
  if (Array.isArray(value_)) {
    if (value_.length === 0) return el('span', { class: 'faint' }, 'none');
    if (value_.every((item) => typeof item !== 'object')) return el('span', {}, value_.join(', '));
    return el('ol', { start: '0' }, value_.map((item) => el('li', {}, claims(item))));
  }
  if (value_ !== null && typeof value_ === 'object') {
    const pairs = Object.entries(value_).filter(([, inner]) => inner !== null);
    return el('dl', {}, pairs.map(([name, inner]) =>
      el('div', {}, el('dt', {}, name.replaceAll('_', ' ')), el('dd', {}, claims(inner)))));
  }
  const text = String(value_);
  return isCode(text) ? el('span', {}, value(text), ' ', copyButton(text)) : value(text);
}

function failures(checks) {
  const failed = checks.filter((check) => check.result === 'fail');
  if (failed.length === 0) return [];
  return [el('ul', { class: 'failures', 'aria-label': 'Failed checks' }, failed.map((check) =>
    el('li', {}, el('code', {}, check.name),
      el('span', {}, ' expected ', el('strong', {}, value(check.expected)), ', got ', el('strong', {}, value(check.got))))))];
}

// What a person can do about it, most useful first.
const HINTS = [
  ['signing_key', 'fail', 'Was the chip’s certificate (VCEK or VLEK) among the files?'],
  ['leaf_signature', 'fail', 'Was the vendor’s intermediate certificate (ASK or ASVK) among the files?'],
  ['certificate_dates', 'fail', 'A certificate is outside its dates: judge old evidence as of its own time.'],
  ['root_pinned', 'fail', 'The root is none of the vendors’: a simulated machine’s must be named under “Roots”.'],
  ['simulated_root', 'fail', 'This policy takes real hardware only.'],
  ['tee_type', 'fail', 'This policy does not take this kind of evidence: choose another.'],
  ['revocation', 'unknown', 'Add a current revocation list or OCSP answers to learn whether anything was revoked.'],
];

function hints(checks) {
  const is = (name, result) => checks.some((check) => check.name === name && check.result === result);
  const found = HINTS.filter(([name, result]) => is(name, result)).map(([, , text]) => text);
  return found.length === 0 ? [] : [el('ul', { class: 'hints', 'aria-label': 'Hints' }, found.map((text) => el('li', {}, text)))];
}

function verdictCard({ name, from, result, is_report: isReport }, { milliseconds, command }) {
  const { verdict, tee, product, policy, simulated, checks } = result;
  const table = checkTable(checks, `Checks of ${name}`);
  const text = () => `${JSON.stringify(result, null, 2)}\n`;
  const words = verdict === 'affirmed' ? 'Affirmed' : 'Refused';
  return el('article', { class: `card ${verdict}`, 'aria-label': `${words}: ${name}` },
    el('div', { class: 'banner' },
      el('p', { class: 'stamp' }, el('span', { 'aria-hidden': 'true' }, verdict === 'affirmed' ? '✓' : '✕'), ` ${words}`),
      el('div', {},
        el('h3', {}, TEES[tee] ?? tee, product ? ` · ${product}` : ''),
        el('p', {}, meaning(result, isReport)))),
    simulated ? [simulatedStrip()] : [],
    el('p', { class: 'facts' },
      from === name ? name : `${from}`, ' · policy ', el('strong', {}, policy.name),
      ` · as of ${instant(result.appraised_at)} · judged in ${took(milliseconds)}`),
    failures(checks),
    hints(checks),
    filters(table, checks),
    el('div', { class: 'wide' }, table),
    result.claims
      ? [el('details', { class: 'claims', open: verdict === 'affirmed' },
        el('summary', {}, verdict === 'affirmed' ? 'What it claims' : 'What it claims (refused: believe none of it)'),
        claims(result.claims))]
      : [],
    el('div', { class: 'actions' },
      keepButton('Save the verdict (JSON)', `${plainName(name)}.verdict.json`, text),
      el('button', { type: 'button', class: 'small', click: () => window.print() }, 'Print'),
      command ? inTerminal(command) : []),
    el('p', { class: 'faint digest' }, 'Policy digest ', el('code', { class: 'hex' }, policy.digest)));
}
