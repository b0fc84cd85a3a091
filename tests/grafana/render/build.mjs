// Bundles src/ to dist/, with icons and fonts that it asks for. What package.json overrides is left out.
import fs from 'node:fs';
import { build } from 'esbuild';

const { overrides } = JSON.parse(fs.readFileSync('package.json', 'utf8'));
const names = new RegExp(`^(${Object.keys(overrides).join('|')})(/|$)`);
const stub = `${process.cwd()}/left-out/index.cjs`;
const leftOut = { name: 'left-out', setup(to) { to.onResolve({ filter: names }, () => ({ path: stub })); } };

await build({
  entryPoints: ['src/main.tsx'],
  outdir: 'dist',
  bundle: true,
  format: 'iife',
  target: 'es2022',
  jsx: 'automatic',
  mainFields: ['module', 'browser', 'main'],
  define: { 'process.env.NODE_ENV': '"production"', 'process.env': '{}', global: 'globalThis' },
  loader: { '.woff': 'empty', '.woff2': 'file' },
  plugins: [leftOut],
  logLevel: 'error',
});
fs.cpSync('node_modules/@grafana/ui/dist/public', 'dist/public', { recursive: true });
fs.mkdirSync('dist/public/fonts/inter', { recursive: true });
for (const [weight, name] of [[400, 'Regular'], [500, 'Medium']]) {
  fs.copyFileSync(`node_modules/@fontsource/inter/files/inter-latin-${weight}-normal.woff2`, `dist/public/fonts/inter/Inter-${name}.woff2`);
}
