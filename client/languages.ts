/** Languages with image references that the server understands. The manifest activates on the same ones. */
export const LANGUAGES = [
  'markdown',
  'html',
  'css',
  'scss',
  'less',
  'javascript',
  'javascriptreact',
  'typescript',
  'typescriptreact',
  'python',
  'json',
  'jsonc',
  'yaml',
  'latex',
  'tex',
] as const;
