import type { Browser } from 'playwright-core';

/** @throws an error that says why no browser can be had */
export function launchChromium(): Promise<Browser>;
