// From what is known about a screen (its source says so) to questions with true answers, worded and typed as in the synthetic sets.

/**
 * What is known about a screen. Whatever is absent is not known and not asked about.
 * @typedef {object} Facts
 * @property {'a dialog' | 'a form' | 'settings' | 'a bar chart' | 'a terminal' | 'a progress bar'} [kind]
 * @property {'light' | 'dark'} [theme]
 * @property {string} [title]
 * @property {'info' | 'warning' | 'error' | 'question'} [dialogKind]
 * @property {string} [message]
 * @property {string[]} [buttons] all of them, in reading order
 * @property {string} [highlighted] the default button, where it can be told by its look
 * @property {string} [highlightColour]
 * @property {[text: string, ticked: boolean][]} [boxes] all of them
 * @property {[label: string, value: string][]} [fields] all of them
 * @property {string} [percent]
 * @property {{ label: string, value?: string, colour?: string, height: number }[]} [bars]
 * @property {{ command?: string, passed?: string, failed?: string, file?: string, time?: string }} [terminal]
 * @property {string} [absentButton] a word that no button of the screen bears
 * @property {string} [absentField]
 * @property {boolean} [noProgress] there is no progress bar and no percentage
 * @property {boolean} [noDialog] there is no dialog and no message
 */

const NOT_SEEN = "I don't see it.";
/** So many questions a screen at most; those that name a text of the screen come first. */
const QUESTIONS = 8;

/**
 * @param {string} image
 * @param {Facts} facts
 * @param {number} index of the screen: turns the wordings
 */
export function ask(image, facts, index) {
  const specific = [];
  const general = [];
  const put = (list, type, wordings, answer) =>
    list.push({ image, type, question: wordings[(index + specific.length) % wordings.length], answer });
  const title = [
    'What is the title?',
    'What is the title of the window?',
    'What does the title say?',
    'Read the title.',
  ];
  if (facts.title) put(specific, 'title', title, facts.title);
  const message = [
    'What does the dialog say?',
    'What does the message say?',
    'Read the message.',
    'What is the message?',
  ];
  if (facts.message) put(specific, 'message', message, facts.message);
  if (facts.dialogKind) {
    put(
      specific,
      'dialog_kind',
      ['What kind of dialog is this?', 'What type of dialog is this?', 'Which kind of message is shown?'],
      facts.dialogKind,
    );
  }
  if (facts.percent) {
    put(
      specific,
      'percent',
      ['What percentage is shown?', 'What percentage does the progress bar show?', 'What is the progress?'],
      facts.percent,
    );
  }
  terminal(facts.terminal ?? {}, (...question) => put(specific, ...question));
  chart(facts.bars, index, (...question) => put(specific, ...question));
  const { fields, boxes, buttons } = facts;
  if (fields) {
    const wordings = (label) => [
      `What is the value of the '${label}' field?`,
      `What is in the '${label}' field?`,
      `What does the '${label}' field say?`,
    ];
    for (const [label, value] of rotated(fields, index).slice(0, 2)) {
      put(specific, 'field_value', wordings(label), value);
    }
    if (fields.length > 1) {
      put(
        specific,
        'fields',
        ['List the fields.', 'Which fields are there?'],
        fields.map(([label]) => label).join(', '),
      );
    }
    put(
      general,
      'count_fields',
      ['How many fields are there?', 'How many text fields are there?'],
      `${fields.length}`,
    );
    if (facts.absentField) put(general, 'not_there', wordings(facts.absentField), NOT_SEEN);
  }
  if (boxes) {
    for (const [text, ticked] of rotated(boxes, index).slice(0, 2)) {
      const wordings = [`Is '${text}' ticked?`, `Is '${text}' checked?`, `Is the '${text}' box ticked?`];
      put(specific, 'ticked', wordings, ticked ? 'yes' : 'no');
    }
    const ticked = boxes.filter((box) => box[1]).map(([text]) => text);
    put(
      specific,
      'which_ticked',
      ['Which boxes are ticked?', 'Which checkboxes are checked?', 'What is ticked?'],
      ticked.join(', ') || 'none',
    );
    put(
      general,
      'count_ticked',
      ['How many boxes are ticked?', 'How many checkboxes are checked?'],
      `${ticked.length}`,
    );
    put(
      general,
      'count_boxes',
      ['How many boxes are there?', 'How many checkboxes are there?'],
      `${boxes.length}`,
    );
  }
  if (buttons) {
    put(
      specific,
      'buttons',
      ['List the buttons.', 'Which buttons are there?', 'What buttons are shown?'],
      buttons.join(', '),
    );
    const exists = (text) => [`Is there a '${text}' button?`, `Does it have a '${text}' button?`];
    if (facts.highlighted) {
      put(
        specific,
        'highlighted',
        ['Which button is highlighted?', 'Which button is the default?', 'What is the primary button?'],
        facts.highlighted,
      );
    }
    if (facts.highlightColour) {
      put(
        general,
        'button_colour',
        ['What colour is the highlighted button?', 'What color is the default button?'],
        facts.highlightColour,
      );
    }
    put(general, 'exists', exists(buttons[index % buttons.length]), 'yes');
    put(
      general,
      'count_buttons',
      ['How many buttons are there?', 'How many buttons are shown?'],
      `${buttons.length}`,
    );
  }
  const { absentButton: absent } = facts;
  if (absent) {
    if (index % 2 === 0)
      put(general, 'exists', [`Is there a '${absent}' button?`, `Does it have a '${absent}' button?`], 'no');
    else put(general, 'not_there', [`Where is the '${absent}' button?`], NOT_SEEN);
  }
  if (facts.theme) {
    put(
      general,
      'theme',
      ['Is the screen dark or light?', 'Is it dark or light?', 'Is this a dark or a light window?'],
      facts.theme,
    );
  }
  if (facts.kind) {
    put(
      general,
      'screen_kind',
      ['What kind of screen is this?', 'What is shown?', 'What type of window is this?'],
      facts.kind,
    );
  }
  if (facts.noProgress && index % 3 === 0) {
    put(
      general,
      'not_there',
      ['What percentage is shown?', 'What percentage does the progress bar show?'],
      NOT_SEEN,
    );
  }
  if (facts.noDialog && index % 3 === 1) put(general, 'not_there', message, NOT_SEEN);
  if (!facts.bars && index % 5 === 2) put(general, 'not_there', ['Which bar is the tallest?'], NOT_SEEN);

  const named = specific.slice(0, QUESTIONS - 2);
  return [...named, ...rotated(general, index).slice(0, QUESTIONS - named.length)];
}

function terminal({ passed, failed, command, file, time }, put) {
  if (passed) put('terminal_passed', ['How many tests passed?', 'How many tests have passed?'], passed);
  if (failed) put('terminal_failed', ['How many tests failed?', 'How many tests have failed?'], failed);
  if (command) {
    put(
      'terminal_command',
      ['What command was run?', 'Which command was run in the terminal?', 'What is the command?'],
      command,
    );
  }
  if (file) put('terminal_file', ['What file is shown?', 'Which file is shown in the terminal?'], file);
  if (time) put('terminal_time', ['How long did the tests take?', 'What time did it take?'], time);
}

function chart(bars, index, put) {
  if (!bars) return;
  const ordered = [...bars].sort((a, b) => a.height - b.height);
  const { label, value, colour } = bars[index % bars.length];
  const values = [`What is the value of the '${label}' bar?`, `What value has the '${label}' bar?`];
  const colours = [`What colour is the '${label}' bar?`, `What color is the '${label}' bar?`];
  if (value) put('bar_value', values, value);
  const tallest = ['Which bar is the tallest?', 'Which bar is the highest?', 'What is the tallest bar?'];
  put('tallest', tallest, ordered.at(-1).label);
  if (colour) put('bar_colour', colours, colour);
  const shortest = ['Which bar is the shortest?', 'Which bar is the lowest?', 'What is the shortest bar?'];
  put('shortest', shortest, ordered[0].label);
  put('count_bars', ['How many bars are there?', 'How many bars are shown?'], `${bars.length}`);
  put('bar_labels', ['List the bars.', 'Which bars are there?'], bars.map((bar) => bar.label).join(', '));
}

/** The items from the n-th on, then those before it. */
function rotated(items, n) {
  const start = items.length === 0 ? 0 : n % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}
