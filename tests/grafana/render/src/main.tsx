import React, { useEffect, useState } from 'react';
import '@fontsource/inter/latin-400.css'; import '@fontsource/inter/latin-500.css';
import { createRoot } from 'react-dom/client';
import { getValueFormats, applyFieldOverrides, cacheFieldDisplayNames, createTheme, dateMath, dateTimeFormat, rangeUtil, standardTransformers, standardTransformersRegistry, ThemeContext, TimeRange, transformDataFrame, LoadingState, makeTimeRange, dateTime } from '@grafana/data';
import { GlobalStyles, PanelChrome, PortalContainer } from '@grafana/ui';
import { firstValueFrom } from 'rxjs';
import { runTarget, steps, variableQuery } from './prom';
import { makeReplacer, Var } from './vars';
import { normalise, registryFor } from './fieldconfig';
import { VIZ } from './viz';

const qs = new URLSearchParams(location.search);
const PROM = qs.get('prom') ?? 'http://127.0.0.1:19090';
const NOW = qs.get('now') ? dateTime(Number(qs.get('now'))) : dateTime();
const theme = createTheme({ colors: { mode: (qs.get('theme') as any) ?? 'dark' } });
standardTransformersRegistry.setInit(() => [...new Map(Object.values(standardTransformers).map((t: any) => [t.id, t])).values()].map((t: any) => ({ id: t.id, name: t.name, transformation: t, editor: () => null, imageDark: '', imageLight: '' } as any)));

const UNITS = new Set(getValueFormats().flatMap((c: any) => c.submenu.map((u: any) => u.value)).concat(['']));
const badUnit = (u: any) => u && !UNITS.has(u) && !/^(prefix|suffix|time|si|count|currency|bool):/.test(u);
const report = { dashboard: '', panels: [] as any[], variables: [] as any[], unknownVariables: [] as string[], done: false };
(window as any).__report = report;
const COL = 24, ROW = 30, GAP = 8, VW = Number(qs.get('width') ?? 1600);

/** A variable may name another one that stands after it. Grafana loads the other one first. */
function inOrderOfNeed(list: any[]): any[] {
  const text = (v: any) => JSON.stringify([v.query, v.definition, v.datasource, v.regex]);
  const needs = (v: any, other: any) => new RegExp(`\\$\\{?${other.name}\\b`).test(text(v));
  const sorted: any[] = [];
  const put = (v: any) => {
    if (sorted.includes(v)) { return; }
    list.filter((other) => other !== v && needs(v, other)).forEach(put);
    sorted.push(v);
  };
  list.forEach(put);
  return sorted;
}

async function load() {
  const dash = await (await fetch(qs.get('dashboard')!)).json();
  report.dashboard = dash.title;
  const from = qs.get('from') ?? dash.time?.from ?? 'now-6h', to = qs.get('to') ?? dash.time?.to ?? 'now';
  const rel = (s: string, up: boolean) => s.startsWith('now') ? dateMath.toDateTime(s, { roundUp: up, now: NOW } as any) ?? dateMath.parse(s, up)! : dateTime(Number(s));
  const range: TimeRange = makeTimeRange(rel(from, false) as any, rel(to, true) as any);
  const rs = Math.round((range.to.valueOf() - range.from.valueOf()) / 1000);
  const vars = new Map<string, Var>(); const missing = new Set<string>();
  const scrape = qs.get('scrape') ?? '2m';
  const globals: Record<string, string> = { __range: rs + 's', __range_s: String(rs), __range_ms: String(rs * 1000), __from: String(range.from.valueOf()), __to: String(range.to.valueOf()), __dashboard: dash.title, 'timeFilter': '' };
  for (const v of inOrderOfNeed(dash.templating?.list ?? [])) {
    if (v.type === 'datasource') { vars.set(v.name, { name: v.name, values: ['prometheus'], multi: false, isAll: false, text: 'prometheus' }); continue; }
    let opts: string[] = [];
    const repl = makeReplacer(vars, globals, missing);
    try {
      if (v.type === 'query') {
        const q = repl(typeof v.query === 'string' ? v.query : v.query?.query ?? v.definition);
        opts = await variableQuery(PROM, q, range);
        if (v.regex) { const re = new RegExp(v.regex.replace(/^\/|\/[a-z]*$/g, '')); opts = opts.map((o) => { const m = o.match(re); return m ? m.groups?.value ?? m[1] ?? m[0] : ''; }).filter(Boolean); }
        opts = [...new Set(opts)]; if (v.sort) { opts.sort(); if (v.sort % 2 === 0) { opts.reverse(); } }
      } else if (v.type === 'custom' || v.type === 'interval') { opts = v.query.split(',').map((s: string) => s.trim().split(' : ').pop()!); }
      else if (v.type === 'textbox' || v.type === 'constant') { opts = [v.query ?? '']; }
    } catch (e: any) { report.variables.push({ name: v.name, error: String(e.message) }); }
    const url = qs.getAll('var-' + v.name); const cur = url.length ? url : [v.current?.value ?? []].flat();
    const all = !!v.includeAll && (cur.includes('$__all') || (!cur.length && v.includeAll));
    const values = all ? opts : (cur.filter((c: string) => c !== '$__all' && (opts.includes(c) || v.type === 'textbox')).length ? cur.filter((c: string) => opts.includes(c) || v.type === 'textbox') : opts.slice(0, 1));
    vars.set(v.name, { name: v.name, values, multi: !!v.multi, allValue: v.allValue || undefined, isAll: all, text: all ? 'All' : values.join(' + ') });
    report.variables.push({ name: v.name, options: opts.length, selected: all ? '$__all' : values });
  }
  return { dash, range, vars, globals, missing, scrape };
}

function Panel({ panel, width, height, env, extra }: any) {
  const [state, set] = useState<any>({ loading: true });
  const inner = width - 16;
  useEffect(() => { (async () => {
    const rec: any = { id: panel.id, title: panel.title, type: panel.type, targets: [], extra };
    report.panels.push(rec);
    try {
      const st = steps(env.range, panel.maxDataPoints ?? Math.max(100, Math.floor(inner)), env.scrape, panel.interval);
      const g = { ...env.globals, __interval: st.interval, __interval_ms: String(st.intervalMs), __rate_interval: st.rateInterval, __rate_interval_ms: String(rangeUtil.intervalToMs(st.rateInterval)) };
      const repl0 = makeReplacer(env.vars, g, env.missing);
      const repl = (s: string, ex?: any) => repl0(s, 'text', { ...(extra ?? {}), ...(ex ?? {}) });
      let frames: any[] = [];
      for (const t of panel.targets ?? []) {
        if (t.hide) { continue; }
        const expr = repl0(t.expr, 'expr', extra ?? {});
        const fs = await runTarget(PROM, { ...t, legendFormat: repl0(t.legendFormat ?? '', 'text', extra ?? {}) || undefined }, expr, env.range, t.interval ? Math.max(st.intervalMs, rangeUtil.intervalToMs(t.interval)) : st.intervalMs);
        rec.targets.push({ refId: t.refId, expr, series: fs.length, samples: fs.reduce((a, f) => a + f.length, 0) });
        frames.push(...fs);
      }
      const many = (panel.targets ?? []).filter((t: any) => !t.hide && t.format === 'table').length > 1;
      if (many) { frames.forEach((f) => f.fields.forEach((x: any) => { if (x.name === 'Value') { x.name = `Value #${f.refId}`; } })); }
      if (panel.transformations?.length) {
        for (const t of panel.transformations) { if (!standardTransformersRegistry.getIfExists(t.id)) { throw new Error(`unknown transformation ${t.id}`); } }
        frames = await firstValueFrom(transformDataFrame(panel.transformations.filter((t: any) => !t.disabled), frames, { interpolate: (s: string) => repl(s) } as any) as any);
      }
      const fc = normalise(panel.type, panel.fieldConfig);
      const us = [fc.defaults.unit, ...fc.overrides.flatMap((o: any) => o.properties.filter((q: any) => q.id === 'unit').map((q: any) => q.value))].filter(badUnit);
      if (us.length) { throw new Error(`unknown unit ${us.join(', ')}`); }
      if (!VIZ[panel.type]) { throw new Error(`unsupported panel type ${panel.type}`); }
      frames = applyFieldOverrides({ data: frames, fieldConfig: fc, fieldConfigRegistry: registryFor(fc), replaceVariables: (s: string) => repl(s), theme, timeZone: 'utc' });
      cacheFieldDisplayNames(frames);
      rec.frames = frames.length; rec.fields = frames.slice(0, 50).map((f) => f.fields.filter((x: any) => x.type !== 'time').map((x: any) => ({ name: x.state?.displayName ?? x.name, unit: x.config.unit, last: x.display ? (({ text, suffix, prefix, color }: any) => ({ text: (prefix ?? '') + text + (suffix ?? ''), color }))(x.display(x.values[x.values.length - 1])) : null }))); rec.ok = true;
      set({ frames, fc, repl, title: repl(panel.title ?? '') });
    } catch (e: any) { rec.error = String(e?.message ?? e); set({ error: rec.error, frames: [], fc: normalise(panel.type, panel.fieldConfig), repl: (s: string) => s, title: panel.title }); }
  })(); }, []);
  const V = VIZ[panel.type];
  return <PanelChrome width={width} height={height} title={state.title ?? panel.title} description={panel.description} displayMode={panel.transparent ? 'transparent' : 'default'} loadingState={state.loading ? LoadingState.Loading : LoadingState.Done} statusMessage={state.error}>
    {(w, h) => state.loading || state.error ? <div>{state.error}</div> : V ? <Boundary id={panel.id}><V panel={panel} frames={state.frames} fieldConfig={state.fc} width={w} height={h} theme={theme} timeRange={env.range} replace={state.repl} /></Boundary> : <div>unsupported panel type {panel.type}</div>}
  </PanelChrome>;
}
class Boundary extends React.Component<any, any> { state: any = {}; static getDerivedStateFromError(e: any) { return { e }; } componentDidCatch(e: any) { const r = report.panels.find((p) => p.id === this.props.id); if (r) { r.error = 'render: ' + String(e?.message ?? e); r.ok = false; } } render() { return this.state.e ? <div>render failed: {String(this.state.e?.message)}</div> : this.props.children; } }

function App() {
  const [env, setEnv] = useState<any>(null);
  useEffect(() => { load().then(setEnv).catch((e) => { (report as any).fatal = String(e?.stack ?? e); report.done = true; }); }, []);
  useEffect(() => { if (!env) { return; } const n = flat(env).filter((p) => p.panel.type !== 'row').length; const t = setInterval(() => { if (report.panels.filter((p) => p.ok || p.error).length >= n) { clearInterval(t); report.unknownVariables = [...env.missing]; setTimeout(() => { report.done = true; document.title = 'done'; }, 800); } }, 100); }, [env]);
  if (!env) { return <div>loading…</div>; }
  const cw = (VW - 2 * GAP) / COL;
  const items = flat(env); const H = Math.max(...items.map((i) => i.y + i.h)) * (ROW + GAP);
  return <div style={{ width: VW }}>
    <div style={{ padding: '8px 12px', font: theme.typography.h4.fontSize, color: theme.colors.text.primary }}><b>{env.dash.title}</b> <span style={{ color: theme.colors.text.secondary, fontSize: 12 }}>{[...env.vars.values()].filter((v: Var) => v.name !== 'datasource').map((v: Var) => `${v.name}=${v.text}`).join('  ·  ')}  ·  {dateTimeFormat(env.range.from, { timeZone: 'utc' })} → {dateTimeFormat(env.range.to, { timeZone: 'utc' })} UTC</span></div>
    <div style={{ position: 'relative', height: H, margin: GAP }}>
      {items.map((i, k) => { const px = { left: i.x * cw, top: i.y * (ROW + GAP), width: i.w * cw - GAP, height: i.h * (ROW + GAP) - GAP };
        return <div key={k} style={{ position: 'absolute', ...px }}>{i.panel.type === 'row' ? <h5 style={{ color: theme.colors.text.primary, margin: '6px 0' }}>▾ {i.panel.title}</h5> : <Panel panel={i.panel} width={px.width} height={px.height} env={env} extra={i.extra} />}</div>; })}
    </div></div>;
}
function flat(env: any) {
  const out: any[] = [];
  const push = (p: any) => {
    const g = p.gridPos ?? { x: 0, y: 0, w: 12, h: 8 };
    if (p.repeat && env.vars.get(p.repeat)) { const v: Var = env.vars.get(p.repeat); const w = Math.max(Math.floor(24 / Math.min(v.values.length, p.maxPerRow ?? 4)), 1); v.values.forEach((x, n) => out.push({ panel: p, x: (n * w) % 24, y: g.y + Math.floor((n * w) / 24) * g.h, w, h: g.h, extra: { [p.repeat]: x } })); }
    else { out.push({ panel: p, ...g }); }
    (p.type === 'row' ? p.panels ?? [] : []).forEach(push);
  };
  (env.dash.panels ?? []).forEach(push);
  return out;
}
// Texts are measured before they are drawn.
Promise.all([400, 500].map((weight) => document.fonts.load(`${weight} 14px Inter`))).then(() => createRoot(document.getElementById('root')!).render(<ThemeContext.Provider value={theme}><GlobalStyles /><App /><PortalContainer /></ThemeContext.Provider>));
window.addEventListener('error', (e) => ((report as any).windowErrors ??= []).push(String(e.message)));
