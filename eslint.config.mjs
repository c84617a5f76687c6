import js from '@eslint/js';
import prettier from 'eslint-config-prettier';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['dist/**', 'node_modules/**', 'model/**', 'training/**', 'docs/**', '**/*.d.ts'] },
  js.configs.recommended,
  ...tseslint.configs.strict,
  {
    files: ['**/*.ts'],
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      // Index arithmetic over typed arrays is what this engine is made of; `!` is checked in review instead.
      '@typescript-eslint/no-non-null-assertion': 'off',
      // A namespace per message is how the protocol is written (a value and a type under one name).
      '@typescript-eslint/no-namespace': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
    },
  },
  {
    files: ['**/*.mjs'],
    languageOptions: {
      globals: {
        process: 'readonly',
        console: 'readonly',
        URL: 'readonly',
        Buffer: 'readonly',
        fetch: 'readonly',
        setTimeout: 'readonly',
        clearTimeout: 'readonly',
      },
    },
  },
  {
    files: ['**/*.cjs'],
    languageOptions: { globals: { require: 'readonly', exports: 'readonly' } },
    rules: { '@typescript-eslint/no-require-imports': 'off' },
  },
  {
    // The floors of docs/ARCHITECTURE.md, enforced.
    files: ['server/llava/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              group: [
                'vscode*',
                '**/features/*',
                '**/inference/*',
                '**/images/*',
                '**/models/*',
                '**/cli',
                '**/main',
              ],
              message: 'The engine knows no LSP, no process and no VS Code.',
            },
          ],
        },
      ],
    },
  },
  {
    // Getting models: above the engine, below everything that a user sees.
    files: ['server/models/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              group: [
                'vscode*',
                '**/features/*',
                '**/inference/*',
                '**/images/*',
                '**/cli/*',
                '**/main',
                '**/llava/model',
              ],
              message:
                'Only downwards, and nothing that loads onnxruntime: the language server downloads too.',
            },
          ],
        },
      ],
    },
  },
  {
    // Pure functions over a trace, shared by the token view, the exports and the extension host: floor 0, like the protocol.
    files: ['server/traceView/**/*.ts'],
    ignores: ['**/*.test.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              group: ['node:*', 'vscode*', 'sharp', '../*', '!../protocol'],
              message: 'Pure functions over server/protocol only.',
            },
          ],
        },
      ],
    },
  },
  {
    // Charts: pure functions over plain data, shared by the token view and the pages of the command line.
    files: ['server/charts/**/*.ts'],
    ignores: ['**/*.test.ts', '**/testing/**'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              group: ['node:*', 'vscode*', 'sharp', '../*', '!../protocol', '!../traceView'],
              message: 'Pure functions over server/protocol and server/traceView only.',
            },
          ],
        },
      ],
    },
  },
  {
    files: ['client/**/*.ts', 'webview/**/*.ts'],
    ignores: ['**/*.test.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              group: ['**/server/*', '!**/server/protocol', '!**/server/traceView', '!**/server/charts'],
              message: 'Import server/protocol, server/traceView and server/charts only.',
            },
          ],
        },
      ],
    },
  },
  prettier,
);
