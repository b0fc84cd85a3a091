import React from 'react';
import { DataFrame, FieldDisplay, getDisplayValueAlignmentFactors, getFieldDisplayValues, GrafanaTheme2, TimeRange, EventBusSrv, FieldConfigSource, VizOrientation, reduceField, getFieldDisplayName, formattedValueToString, FieldType, DashboardCursorSync } from '@grafana/data';
import { BarGauge, BigValue, PanelContextProvider, SeriesVisibilityChangeBehavior, TimeSeries, VizLegend, VizRepeater, LegendDisplayMode } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';

export interface VizProps { panel: any; frames: DataFrame[]; fieldConfig: FieldConfigSource; width: number; height: number; theme: GrafanaTheme2; timeRange: TimeRange; replace: (s: string, extra?: any) => string }
const NoData = ({ msg }: { msg?: string }) => <div className="panel-empty" style={{ display: 'grid', placeItems: 'center', height: '100%' }}>{msg || 'No data'}</div>;
const numeric = (frames: DataFrame[]) => frames.some((f) => f.fields.some((x) => x.type === FieldType.number && x.values.length));

function values(p: VizProps, sparkline = false): FieldDisplay[] {
  return getFieldDisplayValues({
    fieldConfig: p.fieldConfig, reduceOptions: p.panel.options?.reduceOptions ?? { calcs: ['lastNotNull'], values: false, fields: '' },
    replaceVariables: (s: string, scoped?: any) => p.replace(s, Object.fromEntries(Object.entries(scoped ?? {}).map(([k, v]: any) => [k, String(v?.value)]))),
    theme: p.theme, data: p.frames, sparkline, timeZone: 'utc' });
}
const ctx = { eventsScope: 'global', eventBus: new EventBusSrv(), sync: () => DashboardCursorSync.Off } as any;

function TS(p: VizProps) {
  if (!numeric(p.frames)) { return <NoData msg={p.fieldConfig.defaults.noValue} />; }
  const o = p.panel.options ?? {};
  const legend = { showLegend: true, displayMode: LegendDisplayMode.List, placement: 'bottom', calcs: [], ...(o.legend ?? {}) };
  return <PanelContextProvider value={ctx}>
    <TimeSeries frames={p.frames} structureRev={1} timeRange={p.timeRange} timeZone="utc" width={p.width} height={p.height} legend={legend as any} options={o} />
  </PanelContextProvider>;
}
function Stat(p: VizProps) {
  const o = p.panel.options ?? {};
  return <VizRepeater getValues={() => values(p, (o.graphMode ?? 'area') !== 'none')} width={p.width} height={p.height} source={p.frames} renderCounter={1} autoGrid orientation={o.orientation ?? VizOrientation.Auto}
    getAlignmentFactors={(v: any) => getDisplayValueAlignmentFactors(v)}
    renderValue={({ value, alignmentFactors, width, height, count }: any) => {
      const sp = value.sparkline; if (sp) { sp.timeRange = p.timeRange; }
      return <BigValue value={value.display} count={count} sparkline={sp} colorMode={o.colorMode ?? 'value'} graphMode={o.graphMode ?? 'area'} justifyMode={o.justifyMode ?? 'auto'} textMode={o.textMode ?? 'auto'}
        alignmentFactors={alignmentFactors} text={o.text} width={width} height={height} theme={p.theme} disableWideLayout={o.wideLayout === false} percentChangeColorMode={o.percentChangeColorMode} />;
    }} />;
}
// @grafana/ui's own <Gauge> (12.x) calls jquery.flot, which npm's @grafana/ui does not ship, and 13.x drops it: an SVG arc with Grafana's own value, colour and thresholds.
function Arc({ value, width, height, theme, markers, showName }: any) {
  const { min = 0, max = 100, thresholds } = value.field; const A0 = Math.PI * .82, SW = Math.PI * 1.36; const top = showName ? 18 : 4;
  const R = Math.max(10, Math.min(width / 2, (height - top) / 1.5) - 10), W = R * .24, cx = width / 2, cy = top + R + 8;
  const f = (v: number) => Math.min(1, Math.max(0, (v - min) / ((max - min) || 1)));
  const arc = (r: number, w: number, a: number, b: number, fill: string, key?: any) => { const p = (q: number, t: number) => `${cx + q * Math.cos(t)},${cy + q * Math.sin(t)}`; const x = A0 + a * SW, y = A0 + b * SW, big = y - x > Math.PI ? 1 : 0; return <path key={key} fill={fill} d={`M ${p(r, x)} A ${r},${r} 0 ${big} 1 ${p(r, y)} L ${p(r - w, y)} A ${r - w},${r - w} 0 ${big} 0 ${p(r - w, x)} Z`} />; };
  const steps = thresholds?.steps ?? []; const pct = thresholds?.mode === 'percentage';
  return <svg width={width} height={height}>{arc(R - 6, W, 0, 1, theme.colors.background.secondary)}{Number.isFinite(value.display.numeric) && f(value.display.numeric) > 0 ? arc(R - 6, W, 0, f(value.display.numeric), value.display.color) : null}
    {markers ? steps.map((s: any, i: number) => { const at = (v: number) => (v === -Infinity ? 0 : pct ? v / 100 : f(v)); const a = at(s.value), b = i + 1 < steps.length ? at(steps[i + 1].value) : 1; return b > a ? arc(R, 4, a, b, theme.visualization.getColorByName(s.color), i) : null; }) : null}
    <text x={cx} y={cy + R * .12} fill={value.display.color} fontSize={Math.max(12, Math.min(R * .38, 2.6 * R / formattedValueToString(value.display).length))} fontWeight={500} textAnchor="middle" fontFamily={theme.typography.fontFamily}>{formattedValueToString(value.display)}</text>
    {showName ? <text x={cx} y={13} fill={theme.colors.text.primary} fontSize={12} textAnchor="middle">{value.display.title}</text> : null}</svg>;
}
function GaugeP(p: VizProps) {
  const o = p.panel.options ?? {};
  return <VizRepeater getValues={() => values(p)} width={p.width} height={p.height} source={p.frames} renderCounter={1} autoGrid orientation={o.orientation ?? VizOrientation.Auto} minVizWidth={o.minVizWidth} minVizHeight={o.minVizHeight}
    renderValue={({ value, width, height, count }: any) => <Arc value={value} width={width} height={height} theme={p.theme} markers={o.showThresholdMarkers !== false} showName={count > 1} />} />;
}
function Bars(p: VizProps) {
  const o = p.panel.options ?? {};
  return <VizRepeater getValues={() => values(p)} width={p.width} height={p.height} source={p.frames} renderCounter={1} orientation={o.orientation ?? VizOrientation.Auto} minVizWidth={o.minVizWidth ?? 8} minVizHeight={o.minVizHeight ?? 16} maxVizHeight={o.maxVizHeight ?? 300} itemSpacing={8}
    getAlignmentFactors={(v: any) => getDisplayValueAlignmentFactors(v)}
    renderValue={({ value, alignmentFactors, width, height, orientation, count }: any) => <BarGauge value={value.display} field={value.field} display={value.view?.getFieldDisplayProcessor(value.colIndex)} width={width} height={height} orientation={orientation} text={o.text} displayMode={o.displayMode ?? 'gradient'} showUnfilled={o.showUnfilled !== false} valueDisplayMode={o.valueMode ?? 'color'} namePlacement={o.namePlacement ?? 'auto'} alignmentFactors={count > 1 ? alignmentFactors : undefined} theme={p.theme} itemSpacing={8} lcdCellWidth={12} isOverflow={false} />} />;
}
function TableP(p: VizProps) {
  const f = p.frames[0]; if (!f || !f.fields.length) { return <NoData msg={p.fieldConfig.defaults.noValue} />; }
  const o = p.panel.options ?? {};
  return <PanelContextProvider value={ctx}><TableNG data={f} width={p.width} height={p.height} initialSortBy={o.sortBy} noHeader={o.showHeader === false} cellHeight={o.cellHeight} fieldConfig={p.fieldConfig} timeRange={p.timeRange} structureRev={1} enablePagination={!!o.footer?.enablePagination} enableVirtualization /></PanelContextProvider>;
}
// @grafana/ui has no pie chart since 8.x (it lives in Grafana's own tree); slices, colours and legend values still come from @grafana/data.
function Pie(p: VizProps) {
  const o = p.panel.options ?? {}, vs = values(p).filter((v) => v.display.numeric > 0);
  if (!vs.length) { return <NoData msg={p.fieldConfig.defaults.noValue} />; }
  const total = vs.reduce((a, v) => a + v.display.numeric, 0);
  const right = (o.legend?.placement ?? 'bottom') === 'right', lw = right ? Math.min(p.width * .55, 260) : p.width, lh = right ? p.height : 60;
  const w = right ? p.width - lw : p.width, h = right ? p.height : p.height - lh, R = Math.min(w, h) / 2 - 8, r = o.pieType === 'donut' ? R * .62 : 0;
  let a0 = -Math.PI / 2;
  const seg = vs.map((v) => { const a1 = a0 + (v.display.numeric / total) * 2 * Math.PI; const big = a1 - a0 > Math.PI ? 1 : 0; const P = (q: number, t: number) => `${q * Math.cos(t)},${q * Math.sin(t)}`;
    const full = vs.length === 1; const d = full ? `M ${-R},0 A ${R},${R} 0 1 1 ${R},0 A ${R},${R} 0 1 1 ${-R},0 Z` : `M ${P(R, a0)} A ${R},${R} 0 ${big} 1 ${P(R, a1)} L ${P(r, a1)} A ${r},${r} 0 ${big} 0 ${P(r, a0)} Z`;
    const mid = (a0 + a1) / 2; const lab = (o.displayLabels ?? []).map((x: string) => x === 'percent' ? `${Math.round(100 * v.display.numeric / total)}%` : x === 'name' ? v.display.title : formattedValueToString(v.display)).join(' ');
    const e = <g key={v.display.title}><path d={d} fill={v.display.color} stroke={p.theme.colors.background.primary} />{lab && a1 - a0 > .25 ? <text x={(R + r) / 2 * Math.cos(mid)} y={(R + r) / 2 * Math.sin(mid)} fill="#fff" fontSize={12} textAnchor="middle" dominantBaseline="middle">{lab}</text> : null}</g>; a0 = a1; return e; });
  const items = vs.map((v) => ({ label: v.display.title ?? '', color: v.display.color, yAxis: 1, getDisplayValues: () => (o.legend?.values ?? []).map((k: string) => k === 'percent' ? { title: 'Percent', numeric: v.display.numeric / total, text: `${(100 * v.display.numeric / total).toFixed(0)}%` } : { ...v.display, title: 'Value' }) }));
  return <div style={{ display: 'flex', flexDirection: right ? 'row' : 'column', width: p.width, height: p.height }}>
    <svg width={w} height={h} viewBox={`${-w / 2} ${-h / 2} ${w} ${h}`}>{seg}</svg>
    {o.legend?.showLegend === false ? null : <div style={{ width: lw, height: lh, overflow: 'hidden' }}><VizLegend items={items as any} placement={right ? 'right' : 'bottom'} displayMode={(o.legend?.displayMode ?? 'list') as any} seriesVisibilityChangeBehavior={SeriesVisibilityChangeBehavior.Hide} /></div>}
  </div>;
}
const Text = (p: VizProps) => <pre style={{ whiteSpace: 'pre-wrap', background: 'none', border: 0 }}>{p.replace(p.panel.options?.content ?? '')}</pre>;
export const VIZ: Record<string, React.FC<VizProps>> = { timeseries: TS, stat: Stat, gauge: GaugeP, bargauge: Bars, table: TableP, piechart: Pie, text: Text };
