import { h } from './dom';

/** @param fraction 0..1; undefined where it is not known */
export function progressBar(message: string, fraction: number | undefined): HTMLElement {
  const percent = fraction === undefined ? undefined : 100 * Math.min(1, Math.max(0, fraction));
  const done = h('div', { class: 'progress-done' });
  if (percent !== undefined) done.style.width = `${percent}%`;
  const bar = h('div', {
    class: percent === undefined ? 'progress endless' : 'progress',
    role: 'progressbar',
    'aria-label': message,
    'aria-valuemin': 0,
    'aria-valuemax': 100,
    'aria-valuenow': percent === undefined ? undefined : Math.round(percent),
  });
  bar.append(done);
  return bar;
}
