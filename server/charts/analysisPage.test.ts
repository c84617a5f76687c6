import { createHash } from 'node:crypto';

import { describe, expect, it } from 'vitest';

import { analysisPage } from './analysisPage';
import { syntheticAnalysis } from './testing/syntheticAnalysis';

describe('the page of an analysis', () => {
  const page = analysisPage(syntheticAnalysis(), ['data:image/png;base64,AQID']);

  it('has a policy that allows its own style and nothing else, and keeps to it', () => {
    const policy = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(page)![1];
    const style = /<style>([\s\S]*?)<\/style>/.exec(page)![1];
    const hash = createHash('sha256').update(style).digest('base64');
    expect(policy).toContain(`style-src 'sha256-${hash}'`);
    expect(policy).toContain("default-src 'none'");
    expect(page).not.toMatch(/<script|<link|<iframe| style=| on\w+=/);
    const addresses = [...page.matchAll(/(?:https?:)?\/\/[^\s"'<]+/g)].map((match) => match[0]);
    expect(new Set(addresses)).toEqual(new Set(['http://www.w3.org/2000/svg']));
  });

  it('shows untrusted text as text, and no folder of this machine', () => {
    expect(page).toContain('What is &lt;b&gt;this&lt;/b&gt; &amp; &quot;that&quot;?');
    expect(page).not.toContain('<b>');
    expect(page).not.toContain('/models/tiny');
  });

  it('has a chart, words and numbers for every figure, and the picture once', () => {
    const figures = page.match(/<figure /g)!.length;
    expect(figures).toBe(9);
    expect(page.match(/<svg [^>]*role="img" aria-label="[^"]{20,}"/g)).toHaveLength(figures);
    expect(page.match(/<table>/g)).toHaveLength(figures);
    expect(page.match(/data:image\/png;base64,AQID/g)).toHaveLength(1);
  });
});
