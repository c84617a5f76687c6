import { describe, expect, it } from 'vitest';
import { randomNumbers } from '../testing/syntheticResult';
import { fitted, panned, revealed, visiblePart, zoomedAt } from './viewport';

const extent = { x: 0, y: -420, width: 1920, height: 1920 };
const view = { width: 800, height: 600 };

describe('the map in its view', () => {
  it('shows everything, centred, when fitted', () => {
    const { scale, left, top } = fitted(extent, view);
    expect(left + (extent.x + extent.width / 2) * scale).toBeCloseTo(400);
    expect(top + (extent.y + extent.height / 2) * scale).toBeCloseTo(300);
    expect(extent.height * scale).toBeLessThanOrEqual(600);
  });

  it('keeps the point under the pointer while zooming', () => {
    const before = fitted(extent, view);
    const after = zoomedAt(before, 3, 300, 250, extent, view);
    expect((300 - after.left) / after.scale).toBeCloseTo((300 - before.left) / before.scale);
    expect((250 - after.top) / after.scale).toBeCloseTo((250 - before.top) / before.scale);
  });

  it('never loses the map, however it is dragged and zoomed', () => {
    const random = randomNumbers(9);
    let transform = fitted(extent, view);
    for (let step = 0; step < 500; step += 1) {
      transform =
        random() < 0.5
          ? panned(transform, 4000 * (random() - 0.5), 4000 * (random() - 0.5), extent, view)
          : zoomedAt(transform, 10 ** (2 * random() - 1), 800 * random(), 600 * random(), extent, view);
      const { scale, left, top } = transform;
      expect(scale > 0 && Number.isFinite(scale)).toBe(true);
      expect(left + (extent.x + extent.width) * scale).toBeGreaterThanOrEqual(47);
      expect(left + extent.x * scale).toBeLessThanOrEqual(800 - 47);
      expect(top + (extent.y + extent.height) * scale).toBeGreaterThanOrEqual(47);
    }
  });

  it('brings a patch into view, and moves nothing when it is there', () => {
    const close = zoomedAt(fitted(extent, view), 8, 0, 0, extent, view);
    const rect = { x: 1840, y: 1420, width: 80, height: 80 };
    const moved = revealed(close, rect, extent, view);
    expect(moved.left + (rect.x + rect.width) * moved.scale).toBeLessThanOrEqual(800);
    expect(revealed(moved, rect, extent, view)).toEqual(moved);
  });
});

describe('the visible part', () => {
  const picture = { width: 1920, height: 1080 };

  it('is none while the whole picture is in sight, or nearly', () => {
    const all = fitted({ x: 0, y: 0, ...picture }, view);
    expect(visiblePart(all, picture, view)).toBeUndefined();
    expect(visiblePart({ ...all, scale: all.scale * 1.02 }, picture, view)).toBeUndefined();
  });

  it('is what the view shows, in whole pixels inside the picture', () => {
    const random = randomNumbers(4);
    for (let step = 0; step < 300; step += 1) {
      const transform = {
        scale: 0.2 + 4 * random(),
        left: 1500 * (random() - 0.7),
        top: 1500 * (random() - 0.7),
      };
      const part = visiblePart(transform, picture, view);
      if (!part) continue;
      const { x, y, width, height } = part;
      for (const value of [x, y, width, height]) expect(Number.isInteger(value)).toBe(true);
      expect(x >= 0 && y >= 0 && x + width <= picture.width && y + height <= picture.height).toBe(true);
      // Its corners lie in sight, within a pixel of the picture.
      const slack = transform.scale;
      expect(x * transform.scale + transform.left).toBeGreaterThanOrEqual(-slack);
      expect((x + width) * transform.scale + transform.left).toBeLessThanOrEqual(view.width + slack);
      expect(y * transform.scale + transform.top).toBeGreaterThanOrEqual(-slack);
      expect((y + height) * transform.scale + transform.top).toBeLessThanOrEqual(view.height + slack);
    }
  });

  it('is none where nothing of the picture is in sight', () => {
    expect(visiblePart({ scale: 1, left: 900, top: 0 }, picture, view)).toBeUndefined();
  });
});
