// Runs the verifier beside the page, so that a long audit neither freezes it nor outlives a click
// on Stop. Answers {question, settings, files} with {reply, milliseconds} or {stopped}.
'use strict';

let verifier;

async function start(module) {
  verifier = (await WebAssembly.instantiate(module, {})).exports;
}

// u32 length of the head, the head as JSON, the files' bytes: see src/request.rs.
async function write(settings, files) {
  const entries = files.map(({ name, role, blob }) => ({ name, role, length_bytes: blob.size }));
  const head = new TextEncoder().encode(JSON.stringify({ files: entries, settings }));
  const total = files.reduce((sum, { blob }) => sum + blob.size, 4 + head.length);
  const at = verifier.reserve(total);
  if (at === 0) throw new Error(`${total} bytes are more than this page takes: use bulla audit`);
  // The memory may have grown, and its old view with it is gone: take a new one each time.
  const place = (offset, length) => new Uint8Array(verifier.memory.buffer, at + offset, length);
  new DataView(verifier.memory.buffer).setUint32(at, head.length, true);
  place(4, head.length).set(head);
  let offset = 4 + head.length;
  for (const { blob } of files) {
    const bytes = new Uint8Array(await blob.arrayBuffer());
    place(offset, bytes.length).set(bytes);
    offset += bytes.length;
  }
}

function ask(question) {
  const length = verifier[question]();
  const bytes = new Uint8Array(verifier.memory.buffer, verifier.reply(), length);
  return JSON.parse(new TextDecoder().decode(bytes));
}

const QUESTIONS = ['appraise', 'audit', 'policies'];

async function answer({ id, module, question, settings, files }) {
  try {
    if (module) await start(module);
    if (!QUESTIONS.includes(question)) throw new Error(`no such question: ${question}`);
    await write(settings, files);
    const before = performance.now();
    const reply = ask(question);
    postMessage({ id, reply, milliseconds: performance.now() - before });
  } catch (error) {
    postMessage({ id, stopped: String((error && error.message) || error) });
  }
}

// One after another: there is one memory.
let last = Promise.resolve();
onmessage = ({ data }) => {
  last = last.then(() => answer(data));
};
