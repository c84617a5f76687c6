import type { PixelRect } from '../../server/protocol';
import type { Transform } from '../../server/traceView/drawing';

/** Room around the picture when it is fitted, in CSS pixels. */
export const FIT_MARGIN = 12;
/** One source pixel is at most this many CSS pixels. */
const MOST_ZOOM = 32;
/** How much of the map must stay in sight while panning, in CSS pixels. */
const KEEP_IN_SIGHT = 48;

export interface Size {
  width: number;
  height: number;
}

/** Shows the whole extent, centred. */
export function fitted(extent: PixelRect, view: Size): Transform {
  const width = Math.max(1, view.width - 2 * FIT_MARGIN);
  const height = Math.max(1, view.height - 2 * FIT_MARGIN);
  const scale = Math.min(width / extent.width, height / extent.height);
  return {
    scale,
    left: (view.width - extent.width * scale) / 2 - extent.x * scale,
    top: (view.height - extent.height * scale) / 2 - extent.y * scale,
  };
}

/** Zooms by a factor so that the point (x, y) of the view stays where it is. */
export function zoomedAt(
  transform: Transform,
  factor: number,
  x: number,
  y: number,
  extent: PixelRect,
  view: Size,
): Transform {
  const least = fitted(extent, view).scale / 2;
  const scale = Math.min(Math.max(MOST_ZOOM, least), Math.max(least, transform.scale * factor));
  const ratio = scale / transform.scale;
  return contained(
    { scale, left: x - (x - transform.left) * ratio, top: y - (y - transform.top) * ratio },
    extent,
    view,
  );
}

export function panned(
  transform: Transform,
  dx: number,
  dy: number,
  extent: PixelRect,
  view: Size,
): Transform {
  return contained({ ...transform, left: transform.left + dx, top: transform.top + dy }, extent, view);
}

/** Moves the view as little as needed to bring a rectangle of the source into it. */
export function revealed(transform: Transform, rect: PixelRect, extent: PixelRect, view: Size): Transform {
  const { scale } = transform;
  const left = rect.x * scale + transform.left;
  const top = rect.y * scale + transform.top;
  const need = (start: number, size: number, room: number): number => {
    if (start < FIT_MARGIN) return FIT_MARGIN - start;
    const over = start + size - (room - FIT_MARGIN);
    return over > 0 ? -over : 0;
  };
  return panned(
    transform,
    need(left, rect.width * scale, view.width),
    need(top, rect.height * scale, view.height),
    extent,
    view,
  );
}

/** As much of the picture as makes a part worth asking about alone: with more in sight, the whole picture is meant. */
const MOST_OF_PICTURE = 0.9;

/**
 * The part of a picture that is in sight, in whole pixels of the picture.
 * @returns undefined where most of the picture is in sight, or nothing of it
 */
export function visiblePart(transform: Transform, picture: Size, view: Size): PixelRect | undefined {
  const span = (offset: number, room: number, size: number): [from: number, to: number] => [
    Math.max(0, Math.floor(-offset / transform.scale)),
    Math.min(size, Math.ceil((room - offset) / transform.scale)),
  ];
  const [left, right] = span(transform.left, view.width, picture.width);
  const [top, bottom] = span(transform.top, view.height, picture.height);
  const [width, height] = [right - left, bottom - top];
  if (width < 1 || height < 1 || width * height > MOST_OF_PICTURE * picture.width * picture.height)
    return undefined;
  return { x: left, y: top, width, height };
}

function contained(transform: Transform, extent: PixelRect, view: Size): Transform {
  const { scale } = transform;
  const keep = (offset: number, start: number, size: number, room: number): number =>
    Math.min(room - KEEP_IN_SIGHT - start * scale, Math.max(KEEP_IN_SIGHT - (start + size) * scale, offset));
  return {
    scale,
    left: keep(transform.left, extent.x, extent.width, view.width),
    top: keep(transform.top, extent.y, extent.height, view.height),
  };
}
