// Pages opened as files may start no workers: a hidden frame does their work, so that
// search needs no server. Material for MkDocs would load such a script from elsewhere.
if (location.protocol === "file:" && !("IFrameWorker" in window)) {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super();
      this.onmessage = null;
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.appendChild(frame);
      this.window = frame.contentWindow;
      const inFrame = () => {
        window.postMessage = (data) => parent.postMessage(data, "*");
        window.importScripts = (...urls) =>
          urls.reduce(
            (before, each) =>
              before.then(
                () =>
                  new Promise((done, failed) => {
                    const script = document.createElement("script");
                    script.src = each;
                    script.onload = done;
                    script.onerror = failed;
                    document.body.appendChild(script);
                  }),
              ),
            Promise.resolve(),
          );
      };
      this.ready = new Promise((done) => {
        frame.onload = done;
        this.window.document.open();
        this.window.document.write(
          `<body><script>(${inFrame})()</script>` +
            `<script src="${new URL(url, location)}"></script></body>`,
        );
        this.window.document.close();
      });
      window.addEventListener("message", (event) => {
        if (event.source === this.window) {
          const told = new MessageEvent("message", { data: event.data });
          this.dispatchEvent(told);
          this.onmessage?.(told);
        }
      });
    }

    postMessage(data) {
      this.ready.then(() =>
        this.window.dispatchEvent(
          new this.window.MessageEvent("message", { data, source: window }),
        ),
      );
    }

    terminate() {}
  };
  window.Worker = window.IFrameWorker;
}
