// Dialogs, forms and lists of real toolkits (GTK 3, Xaw, Tk): what they show is what they were told to show.

const ZENITY = {
  origin: 'zenity 3.44 (GTK 3)',
  licence: 'LGPL-2.1-or-later; Adwaita icons LGPL-3 or CC-BY-SA-3.0',
};
const YAD = { origin: 'yad 0.40 (GTK 3)', licence: 'GPL-3-or-later; Adwaita icons LGPL-3 or CC-BY-SA-3.0' };
const XMESSAGE = { origin: 'xmessage 1.0 (Xaw)', licence: 'MIT (X.Org)' };
const TK = { origin: 'Tk 8.6', licence: 'TCL (BSD-like)' };

const DARK = { GTK_THEME: 'Adwaita:dark' };

/** A message dialog. Its kind shows in the icon. */
function zenity(name, kind, title, message, buttons, { theme, dark = false, args = [], ...facts } = {}) {
  return {
    name,
    ...ZENITY,
    program: {
      command: 'zenity',
      args: [`--${kind}`, '--title', title, '--text', message, '--no-wrap', ...args],
      theme,
      env: dark ? DARK : {},
    },
    facts: {
      kind: 'a dialog',
      dialogKind: kind,
      title,
      message,
      buttons,
      theme: dark ? 'dark' : 'light',
      noProgress: true,
      ...facts,
    },
  };
}

/** Labelled entries with what was typed into them. */
function yadForm(name, title, fields, buttons, { theme, dark = false, ...facts } = {}) {
  return {
    name,
    ...YAD,
    program: {
      command: 'yad',
      args: [
        ...['--form', '--title', title, '--width', '240'],
        ...fields.flatMap(([label, value]) => ['--field', label, value]),
        ...buttons.flatMap((button) => ['--button', button]),
      ],
      theme,
      env: dark ? DARK : {},
    },
    facts: {
      kind: 'a form',
      title,
      fields,
      buttons,
      theme: dark ? 'dark' : 'light',
      noDialog: true,
      noProgress: true,
      ...facts,
    },
  };
}

/** Check boxes. */
function yadChecks(name, title, boxes, buttons, { theme, dark = false, ...facts } = {}) {
  return {
    name,
    ...YAD,
    program: {
      command: 'yad',
      args: [
        ...['--form', '--title', title, '--width', '220'],
        ...boxes.flatMap(([label, ticked]) => ['--field', `${label}:CHK`, String(ticked).toUpperCase()]),
        ...buttons.flatMap((button) => ['--button', button]),
      ],
      theme,
      env: dark ? DARK : {},
    },
    facts: {
      kind: 'settings',
      title,
      boxes,
      buttons,
      theme: dark ? 'dark' : 'light',
      noProgress: true,
      ...facts,
    },
  };
}

function yadProgress(name, title, percent, { theme, dark = false, ...facts } = {}) {
  return {
    name,
    ...YAD,
    program: {
      command: 'bash',
      args: [
        '-c',
        `(echo ${percent}; sleep 60) | exec yad --progress --title "${title}" --width 230 --button Cancel`,
      ],
      theme,
      env: dark ? DARK : {},
    },
    facts: {
      kind: 'a progress bar',
      title,
      percent: `${percent}%`,
      buttons: ['Cancel'],
      theme: dark ? 'dark' : 'light',
      noDialog: true,
      ...facts,
    },
  };
}

function xmessage(name, title, message, buttons, highlighted, facts = {}, colours = []) {
  return {
    name,
    ...XMESSAGE,
    program: {
      command: 'xmessage',
      args: ['-title', title, '-buttons', buttons.join(','), '-default', highlighted, ...colours, message],
      theme: facts.frame,
    },
    facts: {
      kind: 'a dialog',
      title,
      message,
      buttons,
      highlighted,
      theme: 'light',
      noProgress: true,
      ...facts,
    },
  };
}

/** Tk's own message box. */
function tkMessage(name, kind, title, message, type, buttons, facts = {}) {
  const script = `wm withdraw . ; tk_messageBox -icon ${kind} -title {${title}} -message {${message}} -type ${type}; exit`;
  return {
    name,
    ...TK,
    program: { command: 'bash', args: ['-c', `exec wish <<< '${script}'`], theme: facts.frame },
    facts: {
      kind: 'a dialog',
      dialogKind: kind,
      title,
      message,
      buttons,
      theme: 'light',
      noProgress: true,
      ...facts,
    },
  };
}

/** A window of Tk's themed widgets. */
function tkForm(name, style, title, fields, boxes, buttons, facts = {}) {
  const lines = [
    `wm title . {${title}}`,
    `ttk::style theme use ${style}`,
    'pack [ttk::frame .f -padding 8] -fill both -expand 1',
  ];
  fields.forEach(([label, value], row) => {
    lines.push(
      `grid [ttk::label .f.l${row} -text {${label}}] [ttk::entry .f.e${row} -width 16] -padx 4 -pady 3 -sticky w`,
    );
    lines.push(`.f.e${row} insert 0 {${value}}`);
  });
  boxes.forEach(([text, ticked], row) => {
    lines.push(`set b${row} ${ticked ? 1 : 0}`);
    lines.push(
      `grid [ttk::checkbutton .f.b${row} -text {${text}} -variable b${row}] -columnspan 2 -sticky w -pady 2`,
    );
  });
  buttons.forEach((button, index) => lines.push(`ttk::button .f.k${index} -text {${button}} -width 0`));
  lines.push(`grid ${buttons.map((_, index) => `.f.k${index}`).join(' ')} -pady 6 -padx 4`);
  return {
    name,
    ...TK,
    program: { command: 'bash', args: ['-c', `exec wish <<< '${lines.join('\n')}'`], theme: facts.frame },
    facts: {
      kind: fields.length > 0 ? 'a form' : 'settings',
      title,
      ...(fields.length > 0 ? { fields } : {}),
      ...(boxes.length > 0 ? { boxes } : {}),
      buttons,
      theme: 'light',
      noProgress: true,
      noDialog: true,
      ...facts,
    },
  };
}

export const dialogs = [
  zenity('zenity-info', 'info', 'Backup', 'Backup finished.', ['OK'], { absentButton: 'Cancel' }),
  zenity('zenity-error', 'error', 'Printer', 'The printer is offline.', ['OK'], {
    absentButton: 'Retry',
    theme: 'Bear2',
  }),
  zenity('zenity-warning', 'warning', 'Disk', 'Disk is almost full.', ['OK'], {
    absentButton: 'Close',
    dark: true,
    theme: 'Onyx',
  }),
  zenity('zenity-question', 'question', 'Delete', 'Delete 3 files?', ['No', 'Yes'], { absentButton: 'Save' }),
  zenity('zenity-question-labels', 'question', 'Update', 'Install it now?', ['Later', 'Install'], {
    args: ['--ok-label', 'Install', '--cancel-label', 'Later'],
    absentButton: 'Yes',
    theme: 'Clearlooks-Olive',
  }),
  zenity('zenity-error-dark', 'error', 'Network', 'No route to host.', ['Close'], {
    args: ['--ok-label', 'Close'],
    absentButton: 'Retry',
    dark: true,
    theme: 'Nightmare-02',
  }),
  zenity(
    'zenity-info-long',
    'info',
    'Printing',
    'Your document was sent to the printer.\nIt has 12 pages.',
    ['OK'],
    {
      message: undefined,
      absentButton: 'Print',
      theme: 'Natura',
    },
  ),
  zenity('zenity-warning-save', 'warning', 'Editor', 'Unsaved changes!', ['OK'], {
    theme: 'Breeze-ob',
    absentButton: 'Save',
  }),
  {
    name: 'zenity-entry',
    ...ZENITY,
    program: {
      command: 'zenity',
      args: ['--entry', '--title', 'Rename', '--text', 'New name', '--entry-text', 'report.txt'],
    },
    facts: {
      kind: 'a form',
      title: 'Rename',
      fields: [['New name', 'report.txt']],
      buttons: ['Cancel', 'OK'],
      absentButton: 'Delete',
      theme: 'light',
      noProgress: true,
    },
  },
  {
    name: 'zenity-calendar',
    ...ZENITY,
    program: {
      command: 'zenity',
      args: [
        '--calendar',
        '--title',
        'Deadline',
        '--text',
        'Pick a day',
        ...['--day', '17', '--month', '5', '--year', '2024'],
      ],
      theme: 'Orang',
    },
    facts: {
      title: 'Deadline',
      absentButton: 'Help',
      theme: 'light',
      noProgress: true,
      noDialog: true,
    },
    extra: [
      ['exists', "Is there a 'Cancel' button?", 'yes'],
      ['day', 'Which year is shown?', '2024'],
    ],
  },
  {
    name: 'zenity-checklist',
    ...ZENITY,
    program: {
      command: 'zenity',
      args: [
        ...[
          '--list',
          '--checklist',
          '--title',
          'Packages',
          '--column',
          '',
          '--column',
          'Name',
          '--width',
          '260',
          '--height',
          '230',
        ],
        ...['TRUE', 'git', 'FALSE', 'vim', 'TRUE', 'nodejs'],
      ],
    },
    facts: {
      kind: 'settings',
      title: 'Packages',
      boxes: [
        ['git', true],
        ['vim', false],
        ['nodejs', true],
      ],
      buttons: ['Cancel', 'OK'],
      absentButton: 'Add',
      theme: 'light',
    },
  },
  yadForm(
    'yad-form',
    'Account',
    [
      ['Name', 'Ada'],
      ['City', 'London'],
    ],
    ['Cancel', 'Save'],
    { absentButton: 'Help', absentField: 'Email' },
  ),
  yadForm(
    'yad-form-server',
    'Server',
    [
      ['Host', '10.0.0.7'],
      ['Port', '8080'],
      ['User', 'admin'],
    ],
    ['Test', 'OK'],
    {
      absentButton: 'Apply',
      absentField: 'Password',
      dark: true,
      theme: 'Onyx-Citrus',
    },
  ),
  yadForm(
    'yad-form-date',
    'Invoice',
    [
      ['Number', '20417'],
      ['Total', '99.50'],
    ],
    ['Print', 'Send'],
    {
      absentButton: 'Delete',
      absentField: 'Date',
      theme: 'Mikachu',
    },
  ),
  yadChecks(
    'yad-checks',
    'Options',
    [
      ['Wrap lines', true],
      ['Show ruler', false],
      ['Beep', true],
    ],
    ['Close'],
    { absentButton: 'OK' },
  ),
  yadChecks(
    'yad-checks-dark',
    'Privacy',
    [
      ['History', false],
      ['Cookies', true],
    ],
    ['Reset', 'Done'],
    {
      absentButton: 'Cancel',
      dark: true,
      theme: 'Nightmare',
    },
  ),
  yadChecks(
    'yad-checks-none',
    'Alarms',
    [
      ['Sound', false],
      ['Light', false],
      ['Mail', false],
    ],
    ['OK'],
    {
      absentButton: 'Stop',
      theme: 'Clearlooks-3.4',
    },
  ),
  yadProgress('yad-progress', 'Copying', 40, { absentButton: 'Pause' }),
  yadProgress('yad-progress-dark', 'Upload', 85, { absentButton: 'OK', dark: true, theme: 'Syscrash' }),
  yadProgress('yad-progress-low', 'Scanning', 7, { absentButton: 'Stop', theme: 'Bear2' }),
  xmessage('xmessage-done', 'Build', 'Build done', ['OK', 'Log'], 'OK', { absentButton: 'Cancel' }),
  xmessage(
    'xmessage-quit',
    'Quit',
    'Quit now?',
    ['Yes', 'No'],
    'No',
    { absentButton: 'Save', frame: 'Natura' },
    [...['-bg', 'LightSteelBlue']],
  ),
  xmessage(
    'xmessage-dark',
    'Alert',
    'Door open',
    ['Ack'],
    'Ack',
    { absentButton: 'Reset', theme: 'dark', frame: 'Onyx' },
    [...['-bg', 'gray15', '-fg', 'white']],
  ),
  tkMessage('tk-error', 'error', 'Open', 'Cannot read file', 'okcancel', ['OK', 'Cancel'], {
    absentButton: 'Retry',
  }),
  tkMessage('tk-question', 'question', 'Exit', 'Save changes?', 'yesnocancel', ['Yes', 'No', 'Cancel'], {
    absentButton: 'Save',
    frame: 'Clearlooks-Olive',
  }),
  tkMessage('tk-warning', 'warning', 'Battery', 'Battery is low', 'retrycancel', ['Retry', 'Cancel'], {
    absentButton: 'OK',
  }),
  tkForm(
    'tk-form',
    'clam',
    'Connect',
    [
      ['Host', 'localhost'],
      ['Port', '5432'],
    ],
    [['Use TLS', true]],
    ['Connect', 'Quit'],
    {
      absentButton: 'Help',
      absentField: 'User',
    },
  ),
  tkForm(
    'tk-settings',
    'alt',
    'View',
    [],
    [
      ['Toolbar', true],
      ['Status bar', true],
      ['Minimap', false],
    ],
    ['Apply', 'Close'],
    {
      absentButton: 'OK',
      frame: 'Breeze-ob',
    },
  ),
  tkForm(
    'tk-form-classic',
    'default',
    'Profile',
    [
      ['First', 'Grace'],
      ['Last', 'Hopper'],
      ['Year', '1906'],
    ],
    [],
    ['Store'],
    {
      absentButton: 'Delete',
      absentField: 'Phone',
    },
  ),
];
