// A headless Chromium and its pages, spoken to in the DevTools protocol over a pipe: JSON, ended by NUL.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const TIMEOUT = 90_000; // milliseconds, for everything
const FLAGS = [
  '--headless', '--remote-debugging-pipe', '--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--no-first-run',
  '--force-color-profile=srgb', '--hide-scrollbars', '--lang=en-US',
  // Pages that are not in front are drawn all the same.
  '--disable-background-timer-throttling', '--disable-backgrounding-occluded-windows', '--disable-renderer-backgrounding',
];

export async function launch(program) {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'chromium-'));
  const env = { ...process.env, TZ: 'UTC', HOME: profile };
  const child = spawn(program, [...FLAGS, `--user-data-dir=${profile}`], { stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'], env });
  const [, , said, commands, answers] = child.stdio;
  let stderr = '';
  said.on('data', (text) => { stderr += text; });
  for (const pipe of [commands, answers]) { pipe.on('error', () => {}); } // its end says more
  const waiting = new Map();
  const pages = new Map();
  let ended = false;
  child.on('exit', () => {
    ended = true;
    for (const { fail } of waiting.values()) { fail(new Error(`Chromium ended:\n${stderr}`)); }
  });
  const timer = setTimeout(() => { stderr += 'it took too long'; child.kill('SIGKILL'); }, TIMEOUT);

  let rest = [];
  answers.on('data', (chunk) => {
    let end;
    while ((end = chunk.indexOf(0)) >= 0) {
      receive(JSON.parse(Buffer.concat([...rest, chunk.subarray(0, end)])));
      [rest, chunk] = [[], chunk.subarray(end + 1)];
    }
    rest.push(chunk);
  });
  function receive({ id, method, params, sessionId, result, error }) {
    if (id === undefined) { return pages.get(sessionId)?.(method, params); }
    const { done, fail } = waiting.get(id);
    waiting.delete(id);
    return error ? fail(new Error(error.message)) : done(result);
  }

  let count = 0;
  const send = (method, params = {}, sessionId = undefined) => new Promise((done, fail) => {
    if (ended) { return fail(new Error(`Chromium ended:\n${stderr}`)); }
    waiting.set(++count, { done, fail });
    commands.write(`${JSON.stringify({ id: count, method, params, sessionId })}\0`);
  });

  async function page(width, height) {
    const { targetId } = await send('Target.createTarget', { url: 'about:blank', newWindow: true });
    const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true });
    const call = (method, params) => send(method, params, sessionId);
    const logs = new Set();
    pages.set(sessionId, (method, params) => {
      if (method === 'Runtime.consoleAPICalled' && ['error', 'warning'].includes(params.type)) {
        logs.add(`${params.type}: ${params.args.map((a) => a.value ?? a.description).join(' ').slice(0, 300)}`);
      } else if (method === 'Runtime.exceptionThrown') {
        logs.add(`exception: ${params.exceptionDetails.exception?.description?.slice(0, 600)}`);
      }
    });
    await call('Runtime.enable');
    await call('Page.enable');
    await call('Emulation.setFocusEmulationEnabled', { enabled: true });
    await call('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: false });
    return {
      logs,
      open: (url) => call('Page.navigate', { url }),
      close: () => send('Target.closeTarget', { targetId }),
      async evaluate(expression) {
        const { result } = await call('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
        return result.value;
      },
      async screenshot() {
        return Buffer.from((await call('Page.captureScreenshot', { format: 'png' })).data, 'base64');
      },
    };
  }

  async function close() {
    clearTimeout(timer);
    const exit = new Promise((done) => { ended ? done() : child.on('exit', done); });
    if (!ended) { send('Browser.close').catch(() => {}); }
    await exit;
    fs.rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
  return { page, close };
}
