import type { PixelRect } from '../../server/protocol';

/**
 * A rectangle of a part of an image, in whole pixels of the image.
 * @param outer the part, in pixels of the image
 * @param rect in pixels of the picture that is shown of the part
 * @param picture its size: smaller than the part where that is very large, and unknown where nothing was shown yet
 */
export function within(
  outer: PixelRect,
  rect: PixelRect,
  picture: { width?: number; height?: number },
): PixelRect {
  const [perX, perY] = [
    outer.width / (picture.width ?? outer.width),
    outer.height / (picture.height ?? outer.height),
  ];
  const [left, top] = [Math.floor(rect.x * perX), Math.floor(rect.y * perY)];
  const right = Math.min(outer.width, Math.ceil((rect.x + rect.width) * perX));
  const bottom = Math.min(outer.height, Math.ceil((rect.y + rect.height) * perY));
  return {
    x: outer.x + left,
    y: outer.y + top,
    width: Math.max(1, right - left),
    height: Math.max(1, bottom - top),
  };
}
