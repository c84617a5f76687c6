import type { ImageLayout, TokenId } from '../../server/protocol';
import {
  boxOf,
  drawMap,
  goesOn,
  slimmer,
  type Box,
  type Cell,
  type Segment,
  type Transform,
} from '../../server/traceView/drawing';
import type { Fate } from '../../server/traceView/fates';
import { extentOf, pictureRect, tokenRect, type Plane } from '../../server/traceView/geometry';
import type { MapPalette } from '../../server/traceView/palette';
import type { TokenValues } from '../../server/traceView/values';

/** Everything that one frame of the map shows. */
export interface Frame {
  picture: CanvasImageSource | undefined;
  layout: ImageLayout;
  palette: MapPalette;
  /** From source pixels to device pixels. */
  transform: Transform;
  /** Device pixels per CSS pixel. */
  ratio: number;
  /** Absent before there is an answer: the bare picture. */
  tokens?: {
    plane: Plane;
    fates: ReadonlyMap<TokenId, Fate>;
    values?: TokenValues;
    /** 0..1; 0 = no overlay. */
    opacity: number;
    selected?: TokenId;
    hovered?: TokenId;
  };
}

/** How strongly what is hidden fades into the background; padding fades further, for there is nothing to see in it. */
const VEIL = { dropped: 0.76, merged: 0.5, unseen: 0.82, heat: 0.6, padding: 0.62 };
/** Cells smaller than this (CSS pixels) get no grid lines: they would be all there is to see. */
const LEAST_GRID_CELL = 9;
/** Largest mark of a token that carries others, in CSS pixels. */
const MOST_CORNER = 14;
/** From this zoom on, source pixels are drawn as squares. */
const PIXELATED = 2.5;

export function paintMap(context: CanvasRenderingContext2D, frame: Frame): void {
  const { canvas } = context;
  const { picture, layout, palette, transform, ratio, tokens } = frame;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  const pictureBox = boxOf(pictureRect(layout), transform);
  const patterns = patternsFor(context, palette, ratio);
  const whole = boxOf(extentOf(layout), transform);
  fillBoxes(context, [whole], patterns.padding, 1, [pictureBox]);
  if (picture) {
    context.imageSmoothingEnabled = transform.scale < PIXELATED * ratio;
    context.imageSmoothingQuality = 'high';
    context.drawImage(picture, pictureBox.x, pictureBox.y, pictureBox.width, pictureBox.height);
  } else {
    fillBoxes(context, [pictureBox], palette.line, 0.35);
  }
  if (!tokens) return;
  const { plane, fates, values, opacity, selected, hovered } = tokens;
  const seen = plane.tiles.map((tile) => boxOf(layout.tiles[tile].source, transform));
  fillBoxes(
    context,
    [pictureBox],
    palette.background,
    VEIL.unseen,
    seen.map((box) => clip(box, pictureBox)),
  );
  const drawing = drawMap(layout, plane, fates, transform, values);

  if (opacity > 0) {
    const { runs } = drawing;
    const away = values ? [...runs.dropped, ...runs.merged, ...runs.kept, ...runs.carrier] : runs.dropped;
    fillBoxes(context, away, palette.background, opacity * (values ? VEIL.heat : VEIL.dropped));
    if (values) {
      for (const { color, opacity: own, ...box } of drawing.heat)
        fillBoxes(context, [box], color, opacity * own);
      // Dropped tokens have no value here, which is not the same as a low one.
      const valued = new Set(drawing.heat.map(({ x, y }) => `${x} ${y}`));
      const without = drawing.cells.filter(
        ({ x, y, state }) => state === 'dropped' && !valued.has(`${x} ${y}`),
      );
      fillBoxes(context, without, patterns.dropped, opacity);
    } else {
      fillBoxes(context, runs.dropped, patterns.dropped, opacity);
      fillBoxes(context, runs.merged, palette.background, opacity * VEIL.merged);
      fillBoxes(context, runs.merged, patterns.merged, opacity);
      fillBoxes(context, [whole], palette.background, VEIL.padding, [pictureBox]);
      const cell = drawing.cells[0];
      const small = cell === undefined || cell.width < LEAST_GRID_CELL * ratio;
      if (!small) strokeGrid(context, drawing.cells, palette, ratio, opacity);
      strokeSegments(context, drawing.outline, palette, small ? ratio : 1.5 * ratio, opacity);
      for (const carrier of drawing.cells)
        if (carrier.state === 'carrier') drawCarrier(context, carrier, palette, ratio, opacity);
    }
  }
  if (!values || opacity === 0)
    paintNewlines(context, drawing.newlines, palette, patterns, Math.max(opacity, 0.25));
  const boxes = new Map<TokenId, Box>([...drawing.cells, ...drawing.newlines].map((cell) => [cell.id, cell]));
  for (const id of [selected, hovered])
    if (id !== undefined) drawGroup(context, id, fates, boxes, palette, ratio);
  if (hovered !== undefined) frameBox(context, boxes.get(hovered), palette, ratio, 1);
  if (selected !== undefined) frameBox(context, boxes.get(selected), palette, ratio, 2);
}

/** Thin bars behind their rows, full where they went on, hatched where they went with their row. */
function paintNewlines(
  context: CanvasRenderingContext2D,
  newlines: readonly Cell[],
  palette: MapPalette,
  patterns: Patterns,
  opacity: number,
): void {
  const bars = (wanted: (state: Cell['state']) => boolean): Box[] =>
    newlines.filter(({ state }) => wanted(state)).map(slimmer);
  fillBoxes(context, bars(goesOn), palette.kept, 0.85 * opacity);
  const dropped = bars((state) => state === 'dropped');
  fillBoxes(context, dropped, palette.background, opacity * VEIL.dropped);
  fillBoxes(context, dropped, patterns.dropped, opacity);
}

/** Where a patch or a newline lies in CSS pixels of the map. */
export function cellBox(layout: ImageLayout, id: TokenId, transform: Transform): Box | undefined {
  const rect = tokenRect([layout], id);
  return rect && boxOf(rect, transform);
}

interface Patterns {
  dropped: CanvasPattern;
  merged: CanvasPattern;
  padding: CanvasPattern;
}

let cached: { key: string; patterns: Patterns } | undefined;

/** Drawn in device pixels: patterns keep their size when the map is zoomed. */
function patternsFor(context: CanvasRenderingContext2D, palette: MapPalette, ratio: number): Patterns {
  const key = `${palette.dropped} ${palette.merged} ${ratio}`;
  if (cached?.key === key) return cached.patterns;
  const tile = (
    size: number,
    draw: (tile: CanvasRenderingContext2D, size: number) => void,
  ): CanvasPattern => {
    const side = Math.round(size * ratio);
    const canvas = document.createElement('canvas');
    canvas.width = canvas.height = side;
    draw(canvas.getContext('2d')!, side);
    return context.createPattern(canvas, 'repeat')!;
  };
  const hatch =
    (rising: boolean, alpha: number) =>
    (own: CanvasRenderingContext2D, side: number): void => {
      own.strokeStyle = palette.dropped;
      own.globalAlpha = alpha;
      own.lineWidth = ratio;
      own.beginPath();
      for (const shift of [-side, 0, side]) {
        own.moveTo(shift - 1, rising ? side + 1 : -1);
        own.lineTo(shift + side + 1, rising ? -1 : side + 1);
      }
      own.stroke();
    };
  const patterns = {
    dropped: tile(7, hatch(true, 0.5)),
    merged: tile(6, (own, side) => {
      own.fillStyle = palette.merged;
      own.beginPath();
      own.arc(side / 2, side / 2, 1.15 * ratio, 0, 2 * Math.PI);
      own.fill();
    }),
    padding: tile(9, hatch(false, 0.28)),
  };
  cached = { key, patterns };
  return patterns;
}

function fillBoxes(
  context: CanvasRenderingContext2D,
  boxes: readonly Box[],
  style: string | CanvasPattern,
  alpha: number,
  holes: readonly Box[] = [],
): void {
  if (boxes.length === 0) return;
  context.globalAlpha = alpha;
  context.fillStyle = style;
  context.beginPath();
  for (const { x, y, width, height } of boxes) context.rect(x, y, width, height);
  for (const { x, y, width, height } of holes) if (width > 0 && height > 0) context.rect(x, y, width, height);
  context.fill(holes.length > 0 ? 'evenodd' : 'nonzero');
  context.globalAlpha = 1;
}

function clip(a: Box, b: Box): Box {
  const x = Math.max(a.x, b.x);
  const y = Math.max(a.y, b.y);
  return {
    x,
    y,
    width: Math.min(a.x + a.width, b.x + b.width) - x,
    height: Math.min(a.y + a.height, b.y + b.height) - y,
  };
}

function strokeGrid(
  context: CanvasRenderingContext2D,
  cells: readonly Box[],
  palette: MapPalette,
  ratio: number,
  alpha: number,
): void {
  context.globalAlpha = 0.1 * alpha;
  context.strokeStyle = palette.dropped;
  context.lineWidth = ratio;
  context.beginPath();
  for (const { x, y, width, height } of cells) {
    context.moveTo(x + width + 0.5, y);
    context.lineTo(x + width + 0.5, y + height + 0.5);
    context.lineTo(x, y + height + 0.5);
  }
  context.stroke();
  context.globalAlpha = 1;
}

function strokeSegments(
  context: CanvasRenderingContext2D,
  segments: readonly Segment[],
  palette: MapPalette,
  width: number,
  alpha: number,
): void {
  const path = new Path2D();
  for (const { x1, y1, x2, y2 } of segments) {
    path.moveTo(x1, y1);
    path.lineTo(x2, y2);
  }
  context.lineCap = 'square';
  context.globalAlpha = 0.8 * alpha;
  context.strokeStyle = palette.halo;
  context.lineWidth = width * 2.4;
  context.stroke(path);
  context.globalAlpha = alpha;
  context.strokeStyle = palette.kept;
  context.lineWidth = width;
  context.stroke(path);
  context.globalAlpha = 1;
}

/** A filled corner: this token goes on with others inside. */
function drawCarrier(
  context: CanvasRenderingContext2D,
  { x, y, width, height }: Box,
  palette: MapPalette,
  ratio: number,
  alpha: number,
): void {
  const size = Math.min(Math.min(width, height) * 0.46, MOST_CORNER * ratio);
  context.globalAlpha = alpha;
  context.fillStyle = palette.merged;
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(x + size, y);
  context.lineTo(x, y + size);
  context.fill();
  context.globalAlpha = 1;
}

/** Lines from every token of a merged group to the one that carries it. */
function drawGroup(
  context: CanvasRenderingContext2D,
  id: TokenId,
  fates: ReadonlyMap<TokenId, Fate>,
  boxes: ReadonlyMap<TokenId, Box>,
  palette: MapPalette,
  ratio: number,
): void {
  const carrier = fates.get(id)?.into ?? id;
  const carries = fates.get(carrier)?.carries;
  const end = boxes.get(carrier);
  if (!carries || !end) return;
  const lines = new Path2D();
  const frames = new Path2D();
  for (const source of carries.sources) {
    const box = boxes.get(source);
    if (!box || source === carrier) continue;
    frames.rect(box.x + 0.5, box.y + 0.5, box.width - 1, box.height - 1);
    lines.moveTo(box.x + box.width / 2, box.y + box.height / 2);
    lines.lineTo(end.x + end.width / 2, end.y + end.height / 2);
  }
  context.strokeStyle = palette.halo;
  context.lineWidth = 2.5 * ratio;
  context.globalAlpha = 0.5;
  context.stroke(lines);
  context.strokeStyle = palette.merged;
  context.lineWidth = ratio;
  context.globalAlpha = 0.9;
  context.stroke(lines);
  context.stroke(frames);
  context.globalAlpha = 1;
  frameBox(context, end, { ...palette, foreground: palette.merged }, ratio, 2);
}

function frameBox(
  context: CanvasRenderingContext2D,
  box: Box | undefined,
  palette: MapPalette,
  ratio: number,
  width: number,
): void {
  if (!box) return;
  const { x, y, width: w, height: h } = box;
  context.lineWidth = (width + 2) * ratio;
  context.strokeStyle = palette.background;
  context.strokeRect(x, y, w, h);
  context.lineWidth = width * ratio;
  context.strokeStyle = palette.foreground;
  context.strokeRect(x, y, w, h);
}
