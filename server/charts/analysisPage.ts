import { attentionFigures, type Figure, type FigureTable } from './attention';
import { DARK_CHART, LIGHT_CHART } from './theme';
import type { AttentionAnalysis } from '../protocol';
import { escapeMarkup, formatCount, formatMilliseconds } from '../traceView/wording';

/**
 * One self-contained page with all charts of an analysis: no script, nothing from anywhere else. Everything in the
 * analysis is untrusted text.
 *
 * @param pictures `data:` URLs of the images, in the order of the prompt.
 */
export function analysisPage(analysis: AttentionAnalysis, pictures: readonly (string | undefined)[]): string {
  const policy = `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; img-src data:; base-uri 'none'; form-action 'none'`;
  const { model, device, milliseconds } = analysis;
  const facts = [
    `${model.name} (${model.family}, ${formatCount(model.parameters / 1e6)} M parameters, ${model.hash.slice(0, 12)})`,
    `on ${device}`,
    `answered in ${formatMilliseconds(milliseconds.answer)}, experiment in ${formatMilliseconds(milliseconds.removal)}`,
    'all image tokens, greedy',
  ];
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<title>Attention: ${escapeMarkup(analysis.question)} · Fovea</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<p class="muted">Attention of one question</p>
<h1>${escapeMarkup(analysis.question)}</h1>
<p class="answer">${escapeMarkup(analysis.answer) || '<span class="muted">(an empty answer)</span>'}</p>
<p class="muted">${facts.map(escapeMarkup).join(' · ')}</p>
</header>
<main>
${attentionFigures(analysis, pictures)
  .map(
    ({ title, figures }) => `<section>
<h2>${escapeMarkup(title)}</h2>
<div class="figures">
${figures.map(figureMarkup).join('\n')}
</div>
</section>`,
  )
  .join('\n')}
</main>
</body>
</html>
`;
}

function figureMarkup({ id, title, explanation, finding, svg, table }: Figure): string {
  return `<figure id="${id}">
<figcaption><h3>${escapeMarkup(title)}</h3><p>${escapeMarkup(finding)}</p></figcaption>
<div>
${svg}
<p class="muted">${escapeMarkup(explanation)}</p>
<details><summary>Numbers</summary>${tableMarkup(title, table)}</details>
</div>
</figure>`;
}

function tableMarkup(title: string, { columns, rows }: FigureTable): string {
  const head = columns.map((column) => `<th scope="col">${escapeMarkup(column)}</th>`).join('');
  const body = rows.map(
    ([first, ...rest]) =>
      `<tr><th scope="row">${escapeMarkup(first)}</th>${rest.map((cell) => `<td>${escapeMarkup(cell)}</td>`).join('')}</tr>`,
  );
  return `<div class="table" tabindex="0" role="region" aria-label="${escapeMarkup(title)}"><table><thead><tr>${head}</tr></thead><tbody>${body.join('')}</tbody></table></div>`;
}

const properties = (palette: Readonly<Record<string, string>>): string =>
  Object.entries(palette)
    .map(([name, value]) => `${name}:${value}`)
    .join(';');

/** SHA-256 of {@link STYLE}, which a test computes: not every place that makes pages can do so itself. */
const STYLE_HASH = 'uAM3Tzd0Md/e1reTC7mJLwL+cRW4OX6+iZY0dGKlbJg=';

const STYLE = `
:root{color-scheme:light dark;${properties(LIGHT_CHART)}}
@media (prefers-color-scheme:dark){:root{${properties(DARK_CHART)}}}
*{box-sizing:border-box}
body{margin:0;padding:24px;background:var(--chart-background);color:var(--chart-text);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif}
header,main{max-width:1400px;margin:0 auto}
h1{margin:0;font-size:24px;line-height:1.25;overflow-wrap:anywhere}
h2{margin:36px 0 8px;padding-bottom:4px;border-bottom:1px solid var(--chart-grid);font-size:19px}
h3{margin:0;font-size:16px}
p{margin:4px 0}
.muted{color:var(--chart-muted);font-size:13px}
.answer{margin:8px 0;padding-left:12px;border-left:3px solid var(--chart-2);font-size:17px;white-space:pre-wrap;overflow-wrap:anywhere}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,360px),1fr));gap:0 36px;align-items:start}
figure{display:grid;grid-row:span 2;grid-template-rows:subgrid;margin:0 0 28px;min-width:0}
svg{display:block;width:100%;max-width:600px;height:auto;margin:10px 0 4px}
.chart-band:hover{fill:currentColor;fill-opacity:.08}
.chart-column:hover{opacity:.8}
summary{cursor:pointer;color:var(--chart-muted);font-size:13px}
.table{max-height:320px;overflow:auto}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:2px 12px 2px 0;text-align:right;white-space:nowrap;border-bottom:1px solid var(--chart-grid)}
th:first-child{text-align:left}
thead th{position:sticky;top:0;background:var(--chart-background)}
@media print{details{display:none}figure{break-inside:avoid}}
`;
