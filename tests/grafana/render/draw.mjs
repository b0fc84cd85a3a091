// Draws dashboards with one Chromium. README.md says what it reads and writes.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { launch } from './chromium.mjs';

const [built, chromium] = process.argv.slice(2);
const jobs = JSON.parse(fs.readFileSync(0, 'utf8'));
const AT_ONCE = 2;
const TYPES = { '.css': 'text/css', '.html': 'text/html', '.js': 'text/javascript', '.json': 'application/json', '.svg': 'image/svg+xml' };
const PAGE = '<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="main.css"><style>body{margin:0}</style><div id="root"></div><script src="main.js"></script>';

const missing = new Set();
const server = http.createServer((request, response) => {
  const { pathname } = new URL(request.url, 'http://x');
  const type = TYPES[path.extname(pathname)] ?? 'application/octet-stream';
  if (pathname === '/') { return response.writeHead(200, { 'content-type': 'text/html' }).end(PAGE); }
  if (pathname === '/favicon.ico') { return response.writeHead(204).end(); }
  const file = pathname.startsWith('/dashboards/') ? jobs[Number(path.basename(pathname))].dashboard : path.join(built, pathname.replace('/public/build/', '/public/'));
  if (!fs.existsSync(file)) {
    missing.add(request.url);
    return response.writeHead(404).end();
  }
  response.writeHead(200, { 'content-type': type });
  fs.createReadStream(file).pipe(response);
});
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));

async function draw(browser, index) {
  const { dashboard, picture, width, query } = jobs[index];
  // As high as the dashboard: tables draw only the rows that are in view.
  const { panels } = JSON.parse(fs.readFileSync(dashboard, 'utf8'));
  const height = 45 + 38 * Math.max(...panels.map(({ gridPos: g }) => g.y + g.h));
  const page = await browser.page(width + 16, height);
  await page.open(`http://127.0.0.1:${server.address().port}/?${new URLSearchParams({ dashboard: `/dashboards/${index}`, width, ...query })}`);
  const report = await page.evaluate('new Promise((done) => { const look = setInterval(() => { if (window.__report?.done) { clearInterval(look); done(window.__report); } }, 50); })');
  const largest = await page.evaluate(`new Promise((done) => {
    const texts = [...document.querySelectorAll('#root *')].filter((e) => !e.children.length && e.textContent.trim());
    done(texts.map((e) => ({ text: e.textContent.trim(), size: parseFloat(getComputedStyle(e).fontSize) })).reduce((a, b) => (b.size > a.size ? b : a)));
  })`);
  fs.writeFileSync(picture, await page.screenshot());
  await page.close();
  return { ...report, largest, logs: [...page.logs] };
}

const browser = await launch(chromium);
try {
  const reports = [];
  let next = 0;
  const worker = async () => { while (next < jobs.length) { const index = next++; reports[index] = await draw(browser, index); } };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  process.stdout.write(JSON.stringify({ reports, missing: [...missing] }));
} finally {
  await browser.close();
  server.close();
}
