// The page's state and its events: files in, settings beside them, cards out.

const by = (id) => document.getElementById(id);
const verifier = new Verifier();
const MAX_FILES = 256;
const MAX_TEXT_BYTES = 1 << 20;
const BUNDLE_BEGINS = 'bulla-audit-bundle/';

const state = { files: [], roots: [], trust: [], policies: [], own: false, generation: 0 };

// ---- what is given ----

async function isBundle({ name, blob }) {
  const head = await blob.slice(0, 256).text();
  return head.includes(BUNDLE_BEGINS) || name.endsWith('.cborseq');
}

async function take(files) {
  document.body.dataset.state = 'judging';
  for (const file of files) {
    if (state.files.length >= MAX_FILES) {
      problem(`At most ${MAX_FILES} files at once.`);
      break;
    }
    const given = { name: file.name, blob: file, found: null };
    given.isBundle = await isBundle(given);
    state.files.push(given);
  }
  judge();
}

// Every file of a drop, folders included. What is dropped can be asked for in this moment only.
async function dropped(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === 'file');
  const pieces = items.map((item) => {
    const entry = item.webkitGetAsEntry?.();
    return entry?.isDirectory ? entry : item.getAsFile();
  });
  const files = [];
  for (const piece of pieces) {
    if (piece instanceof File) files.push(piece);
    else if (piece) await walk(piece, files);
  }
  return files;
}

async function walk(entry, files) {
  if (files.length >= MAX_FILES) return;
  if (entry.isFile) {
    files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return;
    for (const inner of some) await walk(inner, files);
  }
}

function listFiles() {
  by('given-box').hidden = state.files.length === 0;
  by('given').replaceChildren(...state.files.map((file) => fileItem(file, state.files, describe(file))));
  by('simulated-roots').replaceChildren(...state.roots.map((file) => fileItem(file, state.roots, 'simulated')));
  by('trust-files').replaceChildren(...state.trust.map((file) => fileItem(file, state.trust, 'trusted')));
}

function describe({ isBundle: bundle, found }) {
  if (bundle) return 'audit bundle';
  if (!found) return '…';
  return [...found.holds, ...found.left_aside].join('; ') || 'nothing recognised';
}

function fileItem(file, list, what) {
  const remove = () => {
    list.splice(list.indexOf(file), 1);
    judge();
    by('files').focus();
  };
  return el('li', {},
    el('span', { class: 'name' }, file.name), ' ', el('span', { class: 'faint' }, size(file.blob.size)),
    el('span', { class: 'what' }, what),
    el('button', { type: 'button', class: 'remove', 'aria-label': `Remove ${harmless(file.name)}`, click: remove }, '×'));
}

// ---- settings ----

const chosenPolicy = () =>
  state.own ? { own: by('policy-text').value } : { shipped: by('policy').value };

// Seconds since 1970: what the field says in UTC, or now.
function instantChosen() {
  const text = by('at').value;
  return Math.floor((text ? Date.parse(`${text}Z`) : Date.now()) / 1000);
}

const trimmed = (id) => by(id).value.trim();

const expected = () => ({
  nonce: trimmed('nonce'), report_data: trimmed('report-data'), measurement: trimmed('measurement'),
});

const common = () => ({ policy: chosenPolicy(), vendor_roots: by('vendor-roots').checked });

const asked = (role, files) => files.map(({ name, blob }) => ({ name, role, blob }));

function showPolicy() {
  const chosen = state.policies.find(({ name }) => name === by('policy').value);
  if (chosen) {
    state.own = false;
    by('policy-text').value = chosen.text;
  } else {
    state.own = true;
  }
  by('policy-says').textContent = chosen ? harmless(chosen.description) : 'Your own text, below.';
}

function ownPolicy(text) {
  if (!by('policy').querySelector('[value=""]')) by('policy').append(el('option', { value: '' }, 'your own'));
  by('policy').value = '';
  by('policy-text').value = text;
  by('policy-details').open = true;
  showPolicy();
}

// ---- the command line's way to the same verdict ----

const quoted = (word) => (/^[A-Za-z0-9._/:=+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
const option = (name, text) => (text ? [name, text] : []);
const policyName = () => (state.own ? 'policy.toml' : by('policy').value);

function appraiseCommand(at) {
  const files = state.files.filter((file) => !file.isBundle).map(({ name }) => name);
  const { nonce, report_data, measurement } = expected();
  const words = ['bulla', 'appraise', ...files, '--policy', policyName(), '--at', rfc3339(at),
    ...state.roots.flatMap(({ name }) => ['--simulated-root', name]),
    ...option('--tee', by('tee').value), ...option('--nonce', nonce), ...option('--report-data', report_data), ...option('--measurement', measurement)];
  return words.map(quoted).join(' ');
}

const auditCommand = (name) => ['bulla', 'audit', name, '--trust', 'trust.toml'].map(quoted).join(' ');

// ---- judging ----

function problem(text) {
  by('problem').hidden = !text;
  by('problem').textContent = text ? harmless(text) : '';
}

function busy(text) {
  by('busy').hidden = !text;
  if (text) by('busy-with').textContent = harmless(text);
}

async function appraised() {
  const files = state.files.filter((file) => !file.isBundle);
  if (files.length === 0) return [];
  const at = instantChosen();
  const settings = { ...common(), at, tee: by('tee').value || null, expected: expected() };
  const { reply, milliseconds } = await verifier.ask(
    'appraise', settings, [...asked('judged', files), ...asked('simulated-root', state.roots)]);
  if (reply.error) throw new Error(reply.error);
  files.forEach((file, i) => { file.found = reply.ok.files[i]; });
  const { verdicts } = reply.ok;
  const unread = files.filter(({ found }) => found.holds.length === 0).map(({ name }) => name);
  if (verdicts.length === 0) problem('No evidence among these files: endorsements alone prove nothing. See beside each what was recognised.');
  else if (unread.length > 0) problem(`Nothing was recognised in ${unread.join(', ')}: the verdict says nothing about it.`);
  return verdicts.map((judged) => {
    const context = { milliseconds: milliseconds / verdicts.length, command: judged.is_report ? null : appraiseCommand(at) };
    return { card: verdictCard(judged, context), says: spokenVerdict(judged) };
  });
}

async function audited(file) {
  const settings = { ...common(), keys: { log_keys: by('log-keys').value, broker_root: trimmed('broker-root') } };
  const { reply, milliseconds } = await verifier.ask('audit', settings, [
    ...asked('judged', [file]), ...asked('simulated-root', state.roots), ...asked('trust', state.trust)]);
  if (reply.error) {
    by('keys-details').open = true;
    return { card: refusedToStart(file.name, reply.error), says: reply.error };
  }
  const context = { milliseconds, command: auditCommand(file.name) };
  return { card: auditCard(reply.ok, context), says: spokenAudit(reply.ok) };
}

const refusedToStart = (name, reason) => el('article', { class: 'card waiting', 'aria-label': `Not audited: ${name}` },
  el('h3', {}, `${name}: not audited yet`), el('p', {}, reason, '.'),
  el('p', { class: 'faint' }, 'See “Keys for an audit” and “Policy” in the settings.'));

function spokenVerdict({ name, result: { verdict, simulated, checks } }) {
  const failed = checks.filter((check) => check.result === 'fail').map((check) => check.name);
  const because = failed.length > 0 ? `: ${count(failed.length, 'check')} failed, ${failed.join(', ')}` : '';
  return `${name} ${verdict}${because}.${simulated ? ' Simulated.' : ''}`;
}

const spokenAudit = ({ name, errors, warnings }) =>
  `${name} audited: ${count(errors, 'error')}, ${count(warnings, 'warning')}.`;

async function judgeNow() {
  const generation = ++state.generation;
  const isCurrent = () => generation === state.generation;
  verifier.stop('a newer question came');
  problem('');
  listFiles();
  if (state.files.length === 0) {
    by('cards').replaceChildren();
    busy('');
    document.body.dataset.state = 'empty';
    return;
  }
  document.body.dataset.state = 'judging';
  const waiting = setTimeout(() => busy(`Judging ${count(state.files.length, 'file')}…`), 150);
  try {
    const outcomes = await appraised();
    for (const file of state.files.filter((given) => given.isBundle)) outcomes.push(await audited(file));
    if (!isCurrent()) return;
    by('cards').replaceChildren(...outcomes.map(({ card }) => card));
    by('spoken').textContent = harmless(outcomes.map(({ says }) => says).join(' '));
  } catch (error) {
    if (!isCurrent()) return;
    by('cards').replaceChildren();
    problem(error.message);
  } finally {
    clearTimeout(waiting);
    if (isCurrent()) {
      busy('');
      listFiles();
      document.body.dataset.state = 'done';
    }
  }
}

let timer;
function judge() {
  document.body.dataset.state = 'judging';
  clearTimeout(timer);
  timer = setTimeout(judgeNow, 60);
}
