// The verifier in its worker: unpacked once, asked often, thrown away when it must stop.

class Stopped extends Error {}

class Verifier {
  #module = null;
  #worker = null;
  #asked = new Map();
  #next = 0;

  // The compiled module, out of the page itself.
  async #compiled() {
    this.#module ??= unpack('module').then((bytes) => WebAssembly.compile(bytes));
    return this.#module;
  }

  #started() {
    const source = document.getElementById('worker').textContent;
    const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
    const worker = new Worker(asWorkerUrl(url));
    worker.onmessage = ({ data }) => {
      const asked = this.#asked.get(data.id);
      this.#asked.delete(data.id);
      if (!asked) return;
      if (data.stopped === undefined) asked.resolve(data);
      else this.stop(`the verifier stopped: ${data.stopped}`, asked);
    };
    worker.onerror = (event) => this.stop(`the verifier cannot start: ${event.message}`);
    return worker;
  }

  // Resolves to {reply, milliseconds}.
  async ask(question, settings = {}, files = []) {
    const module = await this.#compiled();
    const isNew = this.#worker === null;
    this.#worker ??= this.#started();
    const id = this.#next++;
    const answer = new Promise((resolve, reject) => this.#asked.set(id, { resolve, reject }));
    this.#worker.postMessage({ id, question, settings, files, module: isNew ? module : null });
    return answer;
  }

  // Ends whatever runs; the next question starts a new worker.
  stop(reason, ...others) {
    this.#worker?.terminate();
    this.#worker = null;
    const waiting = [...this.#asked.values(), ...others];
    this.#asked.clear();
    waiting.forEach(({ reject }) => reject(new Stopped(reason)));
  }
}

const workerUrls = window.trustedTypes?.createPolicy('bulla-worker', {
  createScriptURL: (url) => {
    if (!url.startsWith('blob:')) throw new TypeError('a worker comes out of this page only');
    return url;
  },
});
const asWorkerUrl = (url) => workerUrls ? workerUrls.createScriptURL(url) : url;

// Gzip in base64 inside the page, as bytes.
async function unpack(id) {
  const text = document.getElementById(id).textContent.trim();
  const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
