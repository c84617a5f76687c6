import type { MapPalette } from '../server/traceView/palette';

const NAMES: Readonly<Record<keyof MapPalette, string>> = {
  background: '--map-background',
  foreground: '--map-foreground',
  muted: '--map-muted',
  line: '--map-line',
  kept: '--map-kept',
  merged: '--map-merged',
  dropped: '--map-dropped',
  halo: '--map-halo',
};

/** The map's colours in the present theme (style.css gives them). */
export function themePalette(): MapPalette {
  const style = getComputedStyle(document.body);
  const read = (key: keyof MapPalette): string => style.getPropertyValue(NAMES[key]).trim() || '#808080';
  return {
    background: read('background'),
    foreground: read('foreground'),
    muted: read('muted'),
    line: read('line'),
    kept: read('kept'),
    merged: read('merged'),
    dropped: read('dropped'),
    halo: read('halo'),
  };
}

/** The editor marks its themes on the body; a page of its own follows the system, in the same words. */
export function followSystemTheme(): void {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const contrast = [matchMedia('(forced-colors: active)'), matchMedia('(prefers-contrast: more)')];
  const apply = (): void => {
    const high = contrast.some(({ matches }) => matches);
    const kind = high
      ? dark.matches
        ? 'vscode-high-contrast'
        : 'vscode-high-contrast-light'
      : dark.matches
        ? 'vscode-dark'
        : 'vscode-light';
    document.body.className = `standalone ${kind}`;
    document.body.dataset.vscodeThemeKind = kind;
  };
  for (const query of [dark, ...contrast]) query.addEventListener('change', apply);
  apply();
}

/** Calls back after the theme has changed, in the editor or in the system. */
export function onThemeChange(listener: () => void): void {
  new MutationObserver(listener).observe(document.body, {
    attributes: true,
    attributeFilter: ['class', 'data-vscode-theme-kind'],
  });
  new MutationObserver(listener).observe(document.documentElement, {
    attributes: true,
    attributeFilter: ['style'],
  });
}
