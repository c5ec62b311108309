// Events, the examples inside the page, and the start.

function onFiles(id, then) {
  by(id).addEventListener('change', async ({ currentTarget: input }) => {
    const files = [...input.files];
    await then(files);
    input.value = '';
  });
}

const named = (list) => (files) => {
  list.push(...files.map((file) => ({ name: file.name, blob: file })));
  judge();
};

async function openPolicy([file]) {
  if (!file) return;
  if (file.size > MAX_TEXT_BYTES) problem(`${file.name} is too long for a policy.`);
  else { ownPolicy(await file.text()); judge(); }
}

function clear() {
  state.files.length = 0;
  state.roots.length = 0;
  state.trust.length = 0;
  judge();
  by('files').focus();
}

// ---- examples ----

const EXAMPLE_AT = '2027-01-15T08:00:00';

async function example(which) {
  const files = JSON.parse(new TextDecoder().decode(await unpack('example-files')));
  const file = (name, content = files[name]) => {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    return new File([bytes], name.split('/').pop());
  };
  state.files.length = 0;
  const root = file('simulated-chain/genoa-ark.der');
  state.roots.splice(0, Infinity, { name: 'simulated-genoa-root.der', blob: root });
  const trust = file('bundle/trust.json');
  state.trust.splice(0, Infinity, ...(which in BUNDLES ? [{ name: 'trust.json', blob: trust }] : []));
  by('policy').value = 'development';
  showPolicy();
  by('at').value = EXAMPLE_AT;
  await take([which in BUNDLES ? file(BUNDLES[which]) : exampleEvidence(which, files)]);
}

const BUNDLES = { bundle: 'bundle/full.cborseq', overcharged: 'bundle/overcharged.cborseq' };

// A report of a simulated machine; altered: the launch measurement differs by one bit.
function exampleEvidence(which, files) {
  const report = JSON.parse(atob(files['bundle/evidence-0.json']));
  const { evidence } = report.attestation;
  if (which === 'altered') {
    const bytes = Uint8Array.from(atob(evidence.report), (letter) => letter.charCodeAt(0));
    bytes[0x90] ^= 1;
    evidence.report = btoa(String.fromCharCode(...bytes));
  }
  return new File([JSON.stringify(report)], which === 'altered' ? 'one-bit-changed.json' : 'simulated-evidence.json');
}

// ---- events ----

onFiles('files', take);
onFiles('simulated-root', named(state.roots));
onFiles('trust-file', named(state.trust));
onFiles('policy-file', openPolicy);
by('clear').addEventListener('click', clear);
by('stop').addEventListener('click', () => verifier.stop('Stopped.'));
by('at-now').addEventListener('click', () => { by('at').value = ''; judge(); });
by('policy').addEventListener('change', () => { showPolicy(); judge(); });
by('policy-text').addEventListener('input', () => { ownPolicy(by('policy-text').value); judge(); });
['at', 'vendor-roots', 'tee', 'nonce', 'report-data', 'measurement', 'log-keys', 'broker-root']
  .forEach((id) => by(id).addEventListener('change', judge));
document.querySelectorAll('[data-example]').forEach((button) =>
  button.addEventListener('click', () => example(button.dataset.example)));

let depth = 0;
const dragging = (by_) => {
  depth = Math.max(0, depth + by_);
  document.body.classList.toggle('dragging', depth > 0);
};
document.addEventListener('dragenter', (event) => { event.preventDefault(); dragging(1); });
document.addEventListener('dragleave', () => dragging(-1));
document.addEventListener('dragover', (event) => event.preventDefault());
document.addEventListener('drop', async (event) => {
  event.preventDefault();
  depth = 0;
  dragging(0);
  const isTrust = by('keys-details').contains(event.target);
  try {
    const files = await dropped(event.dataTransfer);
    if (isTrust) named(state.trust)(files);
    else await take(files);
  } catch (error) {
    // Some browsers open no folder for a page that is itself a file.
    problem(`The folder cannot be opened (${error.message}): choose its files instead.`);
  }
});
document.addEventListener('paste', async (event) => {
  if (event.target.closest?.('input, textarea')) return;
  const { files } = event.clipboardData;
  const text = event.clipboardData.getData('text/plain');
  if (files.length > 0) await take([...files]);
  else if (text.trim()) await take([new File([text], 'pasted text')]);
});

async function start() {
  try {
    const { reply } = await verifier.ask('policies');
    if (reply.error) throw new Error(reply.error);
    state.policies = reply.ok;
    by('policy').replaceChildren(...state.policies.map(({ name }) => el('option', { value: name }, name)));
    showPolicy();
    document.body.dataset.state = 'empty';
    if (state.files.length > 0) judge();
  } catch (error) {
    document.body.dataset.state = 'broken';
    problem(`This browser cannot run the verifier: ${error.message}`);
  } finally {
    busy('');
  }
}

busy('Starting the verifier…');
start();
