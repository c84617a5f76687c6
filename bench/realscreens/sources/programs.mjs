// Other programs with windows: a text editor (which warns when it runs as root), calculators, a game.

export const programs = [
  {
    name: 'mousepad-list',
    origin: 'Mousepad 0.5 (GTK 3)',
    licence: 'GPL-2-or-later',
    files: { 'shopping.txt': 'bread\nmilk\napples\ncoffee\n' },
    program: { command: 'mousepad', args: ['shopping.txt'], settle: 2500 },
    facts: { theme: 'light', noProgress: true, absentButton: 'Submit' },
    extra: [
      ['read_line', 'What is the first line of the text?', 'bread'],
      ['count_lines', 'How many lines of text are there?', '4'],
      ['file_shown', 'What file is shown?', 'shopping.txt'],
    ],
  },
  {
    name: 'mousepad-dark',
    origin: 'Mousepad 0.5 (GTK 3)',
    licence: 'GPL-2-or-later',
    files: { 'todo.md': '# Today\n\n- call Bob\n- fix the roof\n' },
    program: {
      command: 'mousepad',
      args: ['todo.md'],
      env: { GTK_THEME: 'Adwaita:dark' },
      theme: 'Onyx',
      settle: 2500,
    },
    facts: { theme: 'dark', noProgress: true, absentButton: 'Reject' },
    extra: [
      ['read_line', 'What is the heading of the text?', 'Today'],
      ['file_shown', 'What file is shown?', 'todo.md'],
    ],
  },
  {
    name: 'galculator',
    origin: 'galculator 2.1 (GTK 3)',
    licence: 'GPL-2-or-later',
    program: {
      command: 'galculator',
      args: [],
      keys: ['1', '2', 'asterisk', '1', '2', 'Return'],
      settle: 2000,
    },
    facts: { title: 'galculator', theme: 'light', noProgress: true, noDialog: true },
    extra: [
      ['display', 'What number does the calculator show?', '144'],
      ['exists', "Is there a 'sqrt' button?", 'yes'],
      ['exists', "Is there a 'Cancel' button?", 'no'],
    ],
  },
  {
    name: 'xcalc',
    origin: 'xcalc 1.1 (Xaw)',
    licence: 'MIT (X.Org)',
    program: { command: 'xcalc', args: [], keys: ['7', '3', 'plus', '9', 'equal'], theme: 'Bear2' },
    facts: { title: 'Calculator', theme: 'light', noProgress: true, noDialog: true },
    extra: [
      ['display', 'What number does the calculator show?', '82'],
      ['exists', "Is there a 'sin' button?", 'yes'],
      ['exists', "Is there a 'Save' button?", 'no'],
    ],
  },
  {
    name: 'xclock',
    origin: 'xclock 1.1 (Xaw)',
    licence: 'MIT (X.Org)',
    program: { command: 'xclock', args: ['-title', 'Clock'], theme: 'Natura' },
    facts: { title: 'Clock', theme: 'light', noProgress: true, noDialog: true, absentButton: 'OK' },
    extra: [],
  },
  {
    name: 'gnome-mines',
    origin: 'GNOME Mines 40 (GTK 3)',
    licence: 'GPL-3-or-later; artwork CC-BY-SA',
    program: { command: 'gnome-mines', args: [], settle: 3500 },
    facts: { title: 'Mines', theme: 'light', noProgress: true, noDialog: true, absentButton: 'Cancel' },
    extra: [['exists', "Does it have a 'Custom' button?", 'yes']],
  },
];
