// Terminals (xterm) with the output of real commands; answers are read from the output that the terminal shows.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

const LICENCE = 'MIT (xterm)';

/** A small project with tests that pass and tests that fail. */
const FILES = {
  'sum.test.mjs': `import test from 'node:test';
import assert from 'node:assert';
for (const n of [1, 2, 3, 4]) test('adds ' + n, () => assert.equal(n + n, 2 * n));
test('subtracts', () => assert.equal(3 - 1, 1));
`,
  'list.test.mjs': `import test from 'node:test';
for (const name of ['push', 'pop', 'map']) test(name, () => {});
`,
  'test_stock.py': `import pytest
@pytest.mark.parametrize('n', range(12))
def test_count(n): assert n >= 0
def test_price(): assert 2 * 3 == 7
def test_name(): assert 'a' in 'cat'
`,
  'test_ok.py': 'def test_a(): pass\ndef test_b(): pass\ndef test_c(): pass\n',
  'notes.txt': 'alpha\nbeta\n',
  'data.csv': 'name,age\nada,36\nalan,41\n',
};

/** A pattern's first group in the output. */
const find = (pattern) => (output) => pattern.exec(output)?.[1];

/** What `show` prints before the output is the command as a user types it; `run` makes the output. */
const SESSIONS = [
  {
    name: 'terminal-node-test',
    show: 'node --test sum.test.mjs',
    run: 'node --test --test-reporter=dot sum.test.mjs >/dev/null; node --test --test-reporter=tap sum.test.mjs | grep -E "^# (tests|pass|fail)"',
    command: 'node --test sum.test.mjs',
    size: '30x7',
    passed: find(/# pass (\d+)/),
    failed: find(/# fail (\d+)/),
  },
  {
    name: 'terminal-node-list',
    show: 'node --test list.test.mjs',
    run: 'node --test --test-reporter=spec list.test.mjs | grep -v duration_ms',
    size: '34x14',
    passed: find(/pass (\d+)/),
    failed: find(/fail (\d+)/),
    theme: 'light',
  },
  {
    name: 'terminal-pytest',
    show: 'pytest test_ok.py',
    run: '/usr/bin/python3 -m pytest -q -p no:cacheprovider test_ok.py',
    size: '34x6',
    passed: find(/(\d+) passed/),
    time: find(/in ([\d.]+s)/),
  },
  {
    name: 'terminal-pytest-failed',
    show: 'pytest test_stock.py',
    run: '/usr/bin/python3 -m pytest -q --tb=no -p no:cacheprovider test_stock.py',
    size: '52x9',
    passed: find(/(\d+) passed/),
    failed: find(/(\d+) failed/),
    time: find(/in ([\d.]+s)/),
  },
  {
    name: 'terminal-pytest-wide',
    show: 'python3 -m pytest -v',
    run: '/usr/bin/python3 -m pytest -v --tb=no --no-header -p no:cacheprovider',
    size: '80x28',
    passed: find(/(\d+) passed/),
    failed: find(/(\d+) failed/),
  },
  {
    name: 'terminal-ls',
    show: 'ls',
    run: 'ls -1 *.txt *.csv',
    size: '24x6',
    theme: 'light',
    extra: [
      ['count_lines', 'How many files are listed?', '2'],
      ['terminal_file', 'Which text file is listed?', 'notes.txt'],
    ],
  },
  {
    name: 'terminal-cat',
    show: 'cat notes.txt',
    run: 'cat notes.txt',
    size: '24x6',
    extra: [
      ['read_line', 'What is the first line of the output?', 'alpha'],
      ['read_line', 'What is the last line of the output?', 'beta'],
    ],
  },
  {
    name: 'terminal-git-branch',
    show: 'git branch',
    run: 'git branch',
    size: '26x7',
    extra: [
      ['git', 'Which branch is checked out?', 'main'],
      ['count_lines', 'How many branches are there?', '3'],
    ],
  },
  {
    name: 'terminal-git-status',
    show: 'git status -s',
    run: 'git status -s',
    size: '28x6',
    theme: 'light',
    extra: [['terminal_file', 'Which file is modified?', 'data.csv']],
  },
  {
    name: 'terminal-git-log',
    show: 'git log --oneline',
    run: 'git log --oneline',
    size: '42x8',
    extra: [
      ['count_lines', 'How many commits are listed?', '3'],
      ['git', 'What does the first commit in the list say?', 'Sort the list'],
    ],
  },
  {
    name: 'terminal-wc',
    show: 'wc -l notes.txt',
    run: 'wc -l notes.txt',
    size: '26x5',
    extra: [['count_lines', 'How many lines does the file have?', '2']],
  },
  {
    name: 'terminal-error',
    show: 'cat missing.txt',
    run: 'cat missing.txt',
    size: '44x6',
    extra: [['terminal_file', 'Which file does not exist?', 'missing.txt']],
  },
];

export async function takeTerminals(desktop, wanted) {
  const chosen = SESSIONS.filter(wanted);
  if (chosen.length === 0) return [];
  const folder = join(desktop.home, 'shop');
  await mkdir(folder);
  for (const [file, text] of Object.entries(FILES)) await writeFile(join(folder, file), text);
  await writeFile(join(folder, 'history.sh'), HISTORY);
  await desktop.execute('bash', ['history.sh'], folder);
  const screens = [];
  for (const session of chosen) screens.push(await take(desktop, folder, session));
  return screens;
}

async function take(desktop, folder, session) {
  const { name, show, run, size, theme = 'dark', extra } = session;
  const command = session.command ?? show;
  const log = join(desktop.home, `${name}.log`);
  const script = join(desktop.home, `${name}.sh`);
  await writeFile(
    script,
    `echo '$ ${command}'\n{ ${run}; } 2>&1 | tee '${log}'\nprintf '$ '\ntouch '${log}.done'\nsleep 600\n`,
  );
  await mkdir(dirname(log), { recursive: true });
  const colours = theme === 'dark' ? ['-bg', '#1e1e1e', '-fg', '#dddddd'] : ['-bg', 'white', '-fg', 'black'];
  const title = 'Terminal';
  const png = await desktop.shoot({
    command: 'xterm',
    args: [
      ...colours,
      '-fa',
      'DejaVu Sans Mono',
      '-fs',
      '10',
      '-geometry',
      size,
      '+sb',
      '-T',
      title,
      '-e',
      'bash',
      script,
    ],
    theme: theme === 'dark' ? 'Onyx' : 'Clearlooks',
    cwd: folder,
    done: `${log}.done`,
  });
  console.log(name);
  const output = await readFile(log, 'utf8');
  const read = (field) => session[field]?.(output);
  return {
    name,
    origin: `xterm 379 with the output of "${command}"`,
    licence: LICENCE,
    png,
    facts: {
      kind: 'a terminal',
      title,
      theme,
      terminal: { command, passed: read('passed'), failed: read('failed'), time: read('time') },
      noProgress: !command.includes('pytest'), // pytest prints percentages
      noDialog: name !== 'terminal-error',
      absentButton: 'OK',
    },
    extra,
  };
}

/** A repository with three commits, three branches and one change. */
const HISTORY = `export GIT_AUTHOR_NAME=Ada GIT_AUTHOR_EMAIL=ada@example.org GIT_COMMITTER_NAME=Ada GIT_COMMITTER_EMAIL=ada@example.org
export GIT_AUTHOR_DATE=2024-05-17T12:00:00Z GIT_COMMITTER_DATE=2024-05-17T12:00:00Z
printf '*.mjs\\n*.py\\n*.sh\\n*.txt\\n__pycache__\\n' > .gitignore
git init -q -b main . && git add .gitignore && git commit -qm 'Start the list'
git add data.csv && git commit -qm 'Add ages' && git commit -q --allow-empty -m 'Sort the list'
git branch fix-roof && git branch release
echo 'grace,85' >> data.csv
`;
