// Renders a dashboard to a PNG and prints a report of what its panels show, as JSON.
// usage: node shot.mjs DASHBOARD.json OUT.png QUERY   (README.md says what QUERY may hold)
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import puppeteer from 'puppeteer-core';

const [dashboard, out, query = ''] = process.argv.slice(2);
const here = path.dirname(fileURLToPath(import.meta.url));
const width = Number(process.env.WIDTH ?? 1600);
const TIMEOUT = 60_000;
const TYPES = {
  '.css': 'text/css', '.html': 'text/html', '.js': 'text/javascript', '.json': 'application/json',
  '.svg': 'image/svg+xml', '.woff2': 'font/woff2',
};

function fileOf(url) {
  const name = decodeURIComponent(new URL(url, 'http://x').pathname);
  if (name === '/dashboard.json') { return dashboard; }
  if (name.startsWith('/public/fonts/inter/')) {
    const weight = name.includes('Medium') ? 500 : 400;
    return path.join(here, `node_modules/@fontsource/inter/files/inter-latin-${weight}-normal.woff2`);
  }
  if (name.startsWith('/public/')) {
    return path.join(here, 'node_modules/@grafana/ui/dist', name.replace('/public/build/', '/public/'));
  }
  return path.join(here, 'dist', name === '/' ? 'index.html' : name);
}

const missing = new Set();
const server = http.createServer((request, response) => {
  const file = fileOf(request.url);
  if (!fs.existsSync(file)) {
    const asked = request.url !== '/favicon.ico';
    if (asked) { missing.add(request.url); }
    response.writeHead(asked ? 404 : 204);
    return response.end();
  }
  response.writeHead(200, { 'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream' });
  fs.createReadStream(file).pipe(response);
});
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--force-color-profile=srgb', '--lang=en-US'],
  env: { ...process.env, TZ: 'UTC' },
});
try {
  const page = await browser.newPage();
  // As high as the dashboard: tables draw only the rows that are in view.
  const { panels } = JSON.parse(fs.readFileSync(dashboard, 'utf8'));
  const height = 45 + 38 * Math.max(...panels.map(({ gridPos: g }) => g.y + g.h));
  await page.setViewport({ width: width + 16, height, deviceScaleFactor: 1 });
  const logs = new Set();
  page.on('console', (m) => { if (['error', 'warn', 'warning'].includes(m.type())) { logs.add(`${m.type()}: ${m.text().slice(0, 300)}`); } });
  page.on('pageerror', (e) => logs.add(`pageerror: ${String(e.stack ?? e).slice(0, 600)}`));
  await page.goto(`http://127.0.0.1:${server.address().port}/?dashboard=/dashboard.json&width=${width}&${query}`);
  await page.waitForFunction('window.__report && window.__report.done', { timeout: TIMEOUT }).catch(() => logs.add('timeout'));
  const report = await page.evaluate(() => window.__report);
  await page.screenshot({ path: out, fullPage: true });
  console.log(JSON.stringify({ ...report, logs: [...logs], missing: [...missing] }));
} finally {
  await browser.close();
  server.close();
}
