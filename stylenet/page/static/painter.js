// The page's side of the worker: one picture at a time, the newest settings first, and a stop at any moment.

export class Painter {
  /** `on`: functions by the type of the worker's messages, and `busy(true or false)`. */
  constructor(on) {
    this.on = on;
    this.file = null; // the photo, for a new worker
    this.opening = null; // a file that may become the photo
    this.next = null; // the settings that wait for their turn
    this.current = null; // those that the worker is at
    this.start();
  }

  start() {
    const worker = new Worker("worker.js", { type: "module" });
    worker.onmessage = ({ data }) => worker === this.worker && this.receive(data);
    worker.onerror = (event) => {
      event.preventDefault();
      if (worker !== this.worker) return;
      this.current = this.next = this.opening = null;
      this.worker.terminate();
      this.worker = null;
      const text = `The painting program did not start${event.message ? `: ${event.message}` : ""}. Reload the page.`;
      this.on.failed({ text });
      this.on.busy(false);
    };
    this.worker = worker;
    if (this.file) worker.postMessage({ type: "photo", file: this.file });
    if (this.opening) worker.postMessage({ type: "photo", file: this.opening, fresh: true });
  }

  /** Another worker: the old one is in the middle of something, or of no more use. */
  restart() {
    this.worker?.terminate();
    this.current = null;
    this.start();
  }

  /** Read another photo. If it is none, the one before stays. */
  open(file) {
    this.opening = file;
    this.next = null;
    if (this.current || !this.worker) this.restart();
    else this.worker.postMessage({ type: "photo", file, fresh: true });
  }

  /** Paint with these settings, instead of any that wait. */
  paint(settings) {
    if (!this.file) return;
    this.next = settings;
    if (!this.worker || (this.current && differsInNetwork(this.current, settings))) this.restart();
    this.advance();
  }

  stop() {
    this.next = null;
    this.restart();
    this.on.busy(false);
  }

  warm(network) {
    this.worker?.postMessage({ type: "warm", network });
  }

  save(format) {
    this.worker?.postMessage({ type: "save", format });
  }

  advance() {
    if (this.current || !this.next) return;
    this.current = this.next;
    this.next = null;
    this.on.busy(true);
    this.worker.postMessage({ type: "paint", settings: this.current });
  }

  receive(data) {
    if (data.fresh) {
      if (data.type === "photo") this.file = this.opening;
      this.opening = null;
    }
    if (data.type === "painted" || data.during === "paint") {
      this.current = null;
      if (data.fatal) this.restart();
    }
    this.on[data.type]?.(data);
    this.advance();
    if (!this.current) this.on.busy(false);
  }
}

/** Whether the network's work differs, so that it is not worth waiting for. */
function differsInNetwork(one, other) {
  const work = ({ layers, stroke, detail, gpu }) =>
    JSON.stringify([layers.map(({ network, parts }) => [network.file, parts]), stroke, detail, gpu]);
  return work(one) !== work(other);
}
