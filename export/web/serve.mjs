// Serves this folder to a browser on this machine.
// Usage: node serve.mjs [--port 8080] [--host 127.0.0.1] [--models FOLDER]

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, extname, join, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const ROOT = dirname(fileURLToPath(import.meta.url));
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json; charset=utf-8",
  ".wasm": "application/wasm",
  ".png": "image/png",
  ".tflite": "application/octet-stream",
};

/** Returns the file that a path of an address names, or undefined if none may be. */
function locate(path, models) {
  const inModels = path.startsWith("/models/");
  const folder = inModels ? models : ROOT;
  const file = resolve(folder, `.${inModels ? path.slice("/models".length) : path}`);
  return file.startsWith(folder + sep) && TYPES[extname(file)] ? file : undefined;
}

async function answer(request, response, models) {
  let path;
  try {
    path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
  } catch {
    path = "";
  }
  const file = locate(path === "/" ? "/index.html" : path, models);
  const known = file && (await stat(file).catch(() => undefined));
  if (!known?.isFile() || !["GET", "HEAD"].includes(request.method)) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, {
    "Content-Type": TYPES[extname(file)],
    "Content-Length": known.size,
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
  });
  if (request.method === "HEAD") response.end();
  else createReadStream(file).pipe(response);
}

/**
 * Starts a server and returns it once it listens.
 *
 * @param {{port?: number, host?: string, models?: string}} options port 0 takes a free
 *     one; `models` is the folder shown as `/models/`.
 */
export function serve({ port = 8080, host = "127.0.0.1", models = "models" } = {}) {
  const folder = resolve(ROOT, models);
  const server = createServer((request, response) => {
    answer(request, response, folder).catch(() => response.destroy());
  });
  return new Promise((listening, failed) => {
    server.once("error", failed);
    server.listen(port, host, () => listening(server));
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      port: { type: "string", default: "8080" },
      host: { type: "string", default: "127.0.0.1" },
      models: { type: "string", default: join(ROOT, "models") },
    },
  });
  const models = resolve(values.models);
  const port = Number(values.port);
  const server = await serve({ ...values, port, models }).catch((error) => {
    console.error(
      "The server did not start: expected a free port. Received: " +
        `port=${values.port}, error=${error.message}. Choose another with --port.`,
    );
    process.exit(1);
  });
  console.log(`Open http://${values.host}:${server.address().port}/ in a browser.`);
}
