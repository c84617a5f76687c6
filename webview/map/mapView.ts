import type { ImageLayout, PixelRect, TokenId } from '../../server/protocol';
import type { Transform } from '../../server/traceView/drawing';
import {
  extentOf,
  patchAt,
  pictureRect,
  planeTokens,
  tokenRect,
  type Plane,
} from '../../server/traceView/geometry';
import { STATE_WORDS, tokenName } from '../../server/traceView/wording';
import { h, setAttribute } from '../dom';
import type { Actions, Part, Scene } from '../parts';
import { onThemeChange, themePalette } from '../theme';
import { cellBox, paintMap } from './paint';
import { fitted, panned, revealed, visiblePart, zoomedAt, type Size } from './viewport';

/** One step of the zoom buttons and keys. */
const ZOOM_STEP = 1.25;
/** Zoom per pixel of the wheel. */
const WHEEL = 0.0016;
/** A press that moves less than this (CSS pixels) is a click. */
const CLICK_SLACK = 4;
/** Rows that Page Up and Page Down move by. */
const PAGE_ROWS = 5;

/**
 * The picture with its tokens. A canvas draws; over it lies one focusable grid whose only cell is the selected patch
 * (3,000 elements would be slow, and a screen reader reads the active one only). Arrow keys move the selection.
 */
export class MapView implements Part {
  readonly element: HTMLElement;
  private readonly canvas = h('canvas', { 'aria-hidden': 'true' });
  private readonly cell = h('div', { role: 'gridcell', id: 'map-cell', class: 'map-cell' });
  private readonly row = h('div', { role: 'row' }, this.cell);
  private readonly grid = h('div', { role: 'grid', tabindex: '0', class: 'map-grid' }, this.row);
  private scene: Scene | undefined;
  private layout: ImageLayout | undefined;
  private image = new Image();
  private imageUrl = '';
  private loaded = false;
  private transform: Transform = { scale: 1, left: 0, top: 0 };
  /** Until the user zooms or pans, the map stays fitted whatever happens to its size. */
  private fitting: 'all' | 'picture' | undefined = 'all';
  private frame = 0;
  private palette = themePalette();

  constructor(
    private readonly actions: Actions,
    /** @param part what of the picture is in sight, where that is a part only */
    private readonly onView: (percent: number, part: PixelRect | undefined) => void,
  ) {
    this.element = h('div', { class: 'map' }, this.canvas, this.grid);
    new ResizeObserver(() => this.draw()).observe(this.element);
    onThemeChange(() => {
      this.palette = themePalette();
      this.draw();
    });
    this.image.addEventListener('load', () => {
      this.loaded = true;
      if (!this.scene?.model) this.render(this.scene!);
      this.draw();
    });
    this.listen();
  }

  render(scene: Scene): void {
    this.scene = scene;
    const picture =
      (scene.run?.pictures ?? scene.state.pictures)[scene.state.look.image] ?? scene.state.pictures[0];
    if (picture && picture.dataUrl !== this.imageUrl) {
      this.imageUrl = picture.dataUrl;
      this.loaded = false;
      this.fitting = 'all';
      if (picture.dataUrl === '') this.image.removeAttribute('src');
      else this.image.src = picture.dataUrl;
    }
    const before = this.layout;
    this.layout =
      scene.model?.layout(scene.state.look) ??
      bareLayout(picture?.width ?? this.image.naturalWidth, picture?.height ?? this.image.naturalHeight);
    if (before && this.layout && !sameSize(extentOf(before), extentOf(this.layout))) this.fitting = 'all';
    this.element.hidden = this.layout === undefined;
    if (this.layout) {
      const { width, height } = extentOf(this.layout);
      this.element.style.setProperty('--map-ratio', String(width / height));
    }
    this.describe();
    this.draw();
  }

  zoom(step: number): void {
    const { width, height } = this.size();
    this.zoomAt(ZOOM_STEP ** step, width / 2, height / 2);
  }

  /** All that the model saw; once more: the picture without the padding around it. */
  fit(): void {
    this.fitting = this.fitting === 'all' ? 'picture' : 'all';
    this.draw();
  }

  /** The picture that is on the map, once it is decoded. */
  get picture(): HTMLImageElement | undefined {
    return this.loaded ? this.image : undefined;
  }

  private listen(): void {
    const { grid } = this;
    let press: { x: number; y: number; moved: boolean } | undefined;
    grid.addEventListener('pointerdown', (event) => {
      if (event.button > 1) return;
      press = { x: event.clientX, y: event.clientY, moved: false };
      grid.setPointerCapture(event.pointerId);
    });
    grid.addEventListener('pointermove', (event) => {
      if (!press) return this.actions.hover(this.tokenAt(event));
      const [dx, dy] = [event.clientX - press.x, event.clientY - press.y];
      if (!press.moved && Math.hypot(dx, dy) < CLICK_SLACK) return;
      press = { x: event.clientX, y: event.clientY, moved: true };
      this.element.classList.add('panning');
      this.panBy(dx, dy);
    });
    grid.addEventListener('pointerup', (event) => {
      const clicked = press && !press.moved && event.button === 0;
      press = undefined;
      this.element.classList.remove('panning');
      if (!clicked) return;
      const token = this.tokenAt(event);
      this.actions.look({ token: token === this.scene?.state.look.token ? undefined : token });
    });
    grid.addEventListener('pointercancel', () => {
      press = undefined;
      this.element.classList.remove('panning');
    });
    grid.addEventListener('pointerleave', () => this.actions.hover(undefined));
    grid.addEventListener('dblclick', () => this.fit());
    grid.addEventListener(
      'wheel',
      (event) => {
        // In a narrow view the page scrolls under the pointer; there zooming wants a modifier or the map's focus.
        const scrolls = document.documentElement.scrollHeight > window.innerHeight + 1;
        if (scrolls && !event.ctrlKey && !event.metaKey && document.activeElement !== grid) return;
        event.preventDefault();
        const bounds = grid.getBoundingClientRect();
        const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 33 : 1;
        const speed = event.ctrlKey ? 4 : 1;
        this.zoomAt(
          Math.exp(-event.deltaY * lines * speed * WHEEL),
          event.clientX - bounds.left,
          event.clientY - bounds.top,
        );
      },
      { passive: false },
    );
    grid.addEventListener('keydown', (event) => {
      if (this.onKey(event)) event.preventDefault();
    });
  }

  private onKey(event: KeyboardEvent): boolean {
    const { key, ctrlKey, metaKey, altKey } = event;
    if (altKey) return false;
    switch (key) {
      case '+':
      case '=':
        this.zoom(1);
        return true;
      case '-':
        this.zoom(-1);
        return true;
      case '0':
        this.fit();
        return true;
      case 'Escape':
        if (this.scene?.state.look.token === undefined) return false;
        this.actions.look({ token: undefined });
        return true;
    }
    const far = ctrlKey || metaKey;
    const all = Infinity;
    const moves: Readonly<Record<string, readonly [rows: number, columns: number]>> = {
      ArrowLeft: [0, -1],
      ArrowRight: [0, 1],
      ArrowUp: [-1, 0],
      ArrowDown: [1, 0],
      PageUp: [-PAGE_ROWS, 0],
      PageDown: [PAGE_ROWS, 0],
      Home: far ? [-all, -all] : [0, -all],
      End: far ? [all, all] : [0, all],
    };
    const move = Object.hasOwn(moves, key) ? moves[key] : undefined;
    if (!move || !this.scene?.model || !this.layout) return false;
    const next = this.neighbour(move[0], move[1]);
    if (next !== undefined) {
      // The keyboard speaks now; a pointer that happens to rest on the map does not.
      this.actions.hover(undefined);
      this.actions.look({ token: next });
      this.reveal(next);
    }
    return true;
  }

  /** The patch that lies so many rows and columns away from the selected one; the first patch when there is none. */
  private neighbour(rows: number, columns: number): TokenId | undefined {
    const { state, model } = this.scene!;
    const plane = model!.plane(state.look);
    const all = planeTokens(this.layout!, plane);
    const current = all.find(({ id }) => id === state.look.token);
    if (!current) return all[0]?.id;
    const row = Math.min(plane.rows - 1, Math.max(0, current.row + rows));
    // Newlines stand in a column of their own behind the last one; a row without one ends where the patches end.
    const last = plane.newlines.length > 0 ? plane.columns : plane.columns - 1;
    const column = Math.min(last, Math.max(0, current.column + columns));
    const at = (wanted: number): TokenId | undefined =>
      all.find((cell) => cell.row === row && cell.column === wanted)?.id;
    return at(column) ?? at(plane.columns - 1) ?? current.id;
  }

  private reveal(id: TokenId): void {
    const layout = this.layout!;
    const rect = tokenRect([layout], id);
    if (!rect || this.fitting) return;
    this.move(revealed(this.transform, rect, extentOf(layout), this.size()));
  }

  private tokenAt(event: MouseEvent): TokenId | undefined {
    const { scene, layout } = this;
    if (!scene?.model || !layout) return undefined;
    const bounds = this.element.getBoundingClientRect();
    const { scale, left, top } = this.transform;
    const x = (event.clientX - bounds.left - left) / scale;
    const y = (event.clientY - bounds.top - top) / scale;
    return patchAt(layout, scene.model.plane(scene.state.look), x, y);
  }

  private zoomAt(factor: number, x: number, y: number): void {
    if (!this.layout) return;
    this.settle();
    this.move(zoomedAt(this.transform, factor, x, y, extentOf(this.layout), this.size()));
  }

  private panBy(dx: number, dy: number): void {
    if (!this.layout) return;
    this.settle();
    this.move(panned(this.transform, dx, dy, extentOf(this.layout), this.size()));
  }

  private settle(): void {
    if (this.fitting && this.layout) this.transform = fitted(this.fittedRect(this.layout), this.size());
    this.fitting = undefined;
  }

  private move(transform: Transform): void {
    this.transform = transform;
    this.draw();
  }

  private fittedRect(layout: ImageLayout): PixelRect {
    return this.fitting === 'picture' ? pictureRect(layout) : extentOf(layout);
  }

  private size(): Size {
    return { width: this.element.clientWidth, height: this.element.clientHeight };
  }

  /** What a screen reader hears of the grid and of its one cell. */
  private describe(): void {
    const { scene, grid, cell, row } = this;
    const model = scene?.model;
    // A picture without tokens is no grid: it has no cells.
    setAttribute(grid, 'role', model ? 'grid' : 'img');
    row.hidden = model === undefined;
    if (!scene || !model || !this.layout) {
      setAttribute(grid, 'aria-label', 'Picture');
      for (const name of ['aria-activedescendant', 'aria-rowcount', 'aria-colcount'])
        setAttribute(grid, name, undefined);
      return;
    }
    const { look } = scene.state;
    const plane: Plane = model.plane(look);
    setAttribute(
      grid,
      'aria-label',
      `Token map, ${plane.rows} rows, ${plane.columns} columns. Arrow keys move.`,
    );
    setAttribute(grid, 'aria-rowcount', plane.rows);
    setAttribute(grid, 'aria-colcount', plane.columns + (plane.newlines.length > 0 ? 1 : 0));
    const { trace } = model.result;
    const at =
      look.token === undefined
        ? undefined
        : planeTokens(this.layout, plane).find(({ id }) => id === look.token);
    const chosen = at !== undefined;
    setAttribute(grid, 'aria-activedescendant', chosen ? cell.id : undefined);
    cell.classList.toggle('chosen', chosen);
    if (!chosen || look.token === undefined) {
      setAttribute(cell, 'aria-label', 'No patch is selected');
      return;
    }
    setAttribute(row, 'aria-rowindex', at.row + 1);
    setAttribute(cell, 'aria-colindex', at.column + 1);
    setAttribute(cell, 'aria-selected', 'true');
    const state = model.fatesAt(look).get(look.token)?.state ?? 'absent';
    setAttribute(cell, 'aria-label', `${tokenName(trace.images, look.token)}: ${STATE_WORDS[state]}`);
  }

  private draw(): void {
    if (this.frame !== 0) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
    });
  }

  private paint(): void {
    const { scene, layout, canvas } = this;
    const size = this.size();
    if (!scene || !layout || size.width === 0 || size.height === 0) return;
    if (this.fitting) this.transform = fitted(this.fittedRect(layout), size);
    const ratio = window.devicePixelRatio;
    const [width, height] = [Math.round(size.width * ratio), Math.round(size.height * ratio)];
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext('2d');
    if (!context) return;
    const { scale, left, top } = this.transform;
    const { model, state, hovered } = scene;
    paintMap(context, {
      picture: this.picture,
      layout,
      palette: this.palette,
      transform: { scale: scale * ratio, left: left * ratio, top: top * ratio },
      ratio,
      tokens: model && {
        plane: model.plane(state.look),
        fates: model.fatesAt(state.look),
        values: model.valuesFor(state.look),
        opacity: state.overlay ? state.opacity : 0,
        selected: state.look.token,
        hovered,
      },
    });
    this.onView(Math.round(scale * 100), visiblePart(this.transform, layout, size));
    const box =
      state.look.token === undefined ? undefined : cellBox(layout, state.look.token, this.transform);
    if (!box) return;
    const { style } = this.cell;
    style.transform = `translate(${box.x}px, ${box.y}px)`;
    style.width = `${box.width}px`;
    style.height = `${box.height}px`;
  }
}

/** A picture without tokens, before there is an answer. */
function bareLayout(width: number, height: number): ImageLayout | undefined {
  if (!(width > 0 && height > 0)) return undefined;
  return {
    width,
    height,
    fit: 'pad',
    modelSize: 1,
    tiles: [],
    firstId: 0,
    patches: 0,
    classTokenId: 0,
    contextTokenId: 1,
  };
}

function sameSize(a: PixelRect, b: PixelRect): boolean {
  return a.x === b.x && a.y === b.y && a.width === b.width && a.height === b.height;
}
