import { CHART_PROPERTIES } from '../../server/charts/theme';

/** Twice the drawing's units: sharp in a paper and on fine screens. */
const PNG_SCALE = 2;

/** A chart's markup as an element of this page. The chart functions escape whatever text they were given. */
export function chartElement(svg: string): SVGElement {
  const { documentElement } = new DOMParser().parseFromString(svg, 'image/svg+xml');
  return document.importNode(documentElement, true) as unknown as SVGElement;
}

/** The chart as it looks now, as a picture on the theme's background. */
export async function chartCanvas(chart: SVGElement): Promise<HTMLCanvasElement> {
  const [, , width, height] = (chart.getAttribute('viewBox') ?? '0 0 480 290').split(' ').map(Number);
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [width * PNG_SCALE, height * PNG_SCALE];
  const context = canvas.getContext('2d');
  if (!context) throw new Error('no canvas');
  context.fillStyle = getComputedStyle(document.body).getPropertyValue('background-color');
  context.fillRect(0, 0, canvas.width, canvas.height);
  const picture = new Image();
  picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(standalone(chart, width, height))}`;
  await picture.decode();
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/** A picture of its own does not see this page's theme: its colours are written out. */
function standalone(chart: SVGElement, width: number, height: number): string {
  const copy = chart.cloneNode(true) as SVGElement;
  copy.setAttribute('width', String(width * PNG_SCALE));
  copy.setAttribute('height', String(height * PNG_SCALE));
  const probe = (chart.parentElement ?? document.body).appendChild(document.createElement('span'));
  let markup = new XMLSerializer().serializeToString(copy);
  for (const name of CHART_PROPERTIES) {
    probe.style.color = `var(${name})`;
    const { color } = getComputedStyle(probe);
    markup = markup.replaceAll(new RegExp(`var\\(${name}, [^)]*\\)`, 'g'), color);
  }
  probe.remove();
  return markup;
}
