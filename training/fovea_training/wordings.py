"""How each question may be put: as the held-out set asks it, in further words for training, and in words that training never uses.

`'{}'` is the place of a quoted name. The held-out set keeps to the plain wordings, so that its figures can be compared from one model to the
next; `unseen` tells whether other words are understood.
"""

import dataclasses
import random

from .phrasings import composed


@dataclasses.dataclass(frozen=True)
class Wordings:
    plain: tuple[str, ...]
    further: tuple[str, ...]
    """Used in training only."""
    unseen: tuple[str, ...]
    """Used in evaluation only."""


def _w(plain: str, further: str, unseen: str) -> Wordings:
    return Wordings(*(tuple(part.strip() for part in text.split("|")) for text in (plain, further, unseen)))


WORDINGS = {
    "title": _w(
        "What is the title? | What is the title of the window? | What does the title say? | Read the title.",
        "What's the title? | What is written in the title bar? | What does the title bar say? | Which title does the window have? | What is the window called? | "
        "How is the window titled? | Tell me the title. | Title? | What is the heading? | What is the name of this window? | Give me the title of the dialog. | Show me the title. | What text is in the title bar?",
        "Can you read the title bar? | What is this window's title? | What's the name of the dialog? | Which text does the title bar contain?",
    ),
    "message": _w(
        "What does the dialog say? | What does the message say? | Read the message. | What is the message?",
        "What's the message? | Which message is shown? | What message does the dialog show? | What is the text of the message? | Tell me the message. | Message? | What is the dialog about? | "
        "What does it say? | What is it asking? | What is the error message? | What does the error say? | What does the warning say? | What is the text of the dialog?",
        "Which message does the window display? | What's the error about? | What is the dialog telling me? | Can you read the message?",
    ),
    "dialog_kind": _w(
        "What kind of dialog is this? | What type of dialog is this? | Which kind of message is shown?",
        "What sort of dialog is it? | Which type of message is this? | Is this an error, a warning, a question or an info dialog? | What type of message is it? | Which icon is shown? | What does the icon mean? | Kind of dialog?",
        "Is it an error or a warning? | What kind of message does the dialog show? | Which type of dialog do you see?",
    ),
    "title_colour": _w(
        "What colour is the title bar? | What color is the title bar?",
        "Which colour does the title bar have? | Which color is the title bar? | What's the colour of the title bar? | What is the color of the title bar? | Colour of the title bar? | Title bar color?",
        "Tell me the colour of the title bar. | What is the title bar's color? | In which colour is the title bar?",
    ),
    "percent": _w(
        "What percentage is shown? | What percentage does the progress bar show? | What is the progress?",
        "How far is it? | How many percent are done? | What's the progress? | How much is done? | At what percentage is the progress bar? | Which percentage is displayed? | Progress? | How full is the progress bar? | How much of it is complete?",
        "How far along is the progress bar? | What is the percentage? | How many percent does it show?",
    ),
    "where_progress": _w(
        "Where is the progress bar?",
        "Where's the progress bar? | In which part of the screen is the progress bar? | Where can I find the progress bar? | What is the position of the progress bar? | Locate the progress bar.",
        "Where do you see the progress bar? | At which place is the progress bar?",
    ),
    "progress_colour": _w(
        "What colour is the progress bar? | What color is the progress bar?",
        "Which colour does the progress bar have? | Which color is the progress bar? | What's the color of the progress bar? | What is the colour of the progress bar? | Progress bar color?",
        "Tell me the colour of the progress bar. | What is the progress bar's color?",
    ),
    "buttons": _w(
        "List the buttons. | Which buttons are there? | What buttons are shown?",
        "List all buttons. | What are the buttons? | Which buttons does the window have? | Name the buttons. | What buttons can I press? | Which buttons can I click? | What do the buttons say? | Buttons? | "
        "Read the buttons. | What are the labels of the buttons? | What buttons do you see? | Which options do the buttons offer? | Show me all the buttons.",
        "Which buttons can be clicked? | What is written on the buttons? | Tell me all the buttons. | What buttons does it have?",
    ),
    "highlighted": _w(
        "Which button is highlighted? | Which button is the default? | What is the primary button?",
        "What is the default button? | What's the highlighted button? | Which is the primary button? | Which button is selected? | Which button has the focus? | What button stands out? | Default button? | Which button is blue or filled? | What happens when I press Enter?",
        "Which one is the default button? | Tell me the highlighted button. | Which button is the primary one?",
    ),
    "button_colour": _w(
        "What colour is the highlighted button? | What color is the default button?",
        "What's the color of the highlighted button? | Which colour does the default button have? | Which color is the primary button? | What is the colour of the primary button? | In which colour is the highlighted button?",
        "Tell me the color of the highlighted button. | What colour has the primary button?",
    ),
    "where_button": _w(
        "Where is the '{}' button?",
        "Where's the '{}' button? | Where is the button '{}'? | In which part of the screen is the '{}' button? | Where can I find '{}'? | Where is '{}'? | Where do I click for '{}'? | Locate the '{}' button. | What is the position of the '{}' button?",
        "Where do I find the '{}' button? | Where is the button called '{}'? | In which corner is the '{}' button?",
    ),
    "exists_button": _w(
        "Is there a '{}' button? | Does it have a '{}' button?",
        "Is there a button '{}'? | Is there a button called '{}'? | Does the window have a '{}' button? | Can I click '{}'? | Do you see a '{}' button? | Can you see the '{}' button? | Is a '{}' button shown? | Is the '{}' button there? | Is there '{}'? | Does the dialog contain a '{}' button?",
        "Can I press '{}'? | Is there any '{}' button? | Does the dialog offer '{}'? | Is a button named '{}' there?",
    ),
    "count_buttons": _w(
        "How many buttons are there? | How many buttons are shown?",
        "How many buttons do you see? | How many buttons does the window have? | Count the buttons. | Number of buttons? | What is the number of buttons? | How many buttons can I press? | How many buttons?",
        "How many buttons can you see? | Tell me the number of buttons. | How many buttons does it have?",
    ),
    "no_buttons": _w(
        "List the buttons. | Which button is highlighted? | Which buttons are there?",
        "List all buttons. | What are the buttons? | Name the buttons. | What is the default button? | Which buttons does the window have? | What do the buttons say? | Which is the primary button?",
        "Which buttons can be clicked? | What is written on the buttons?",
    ),
    "ticked": _w(
        "Is '{}' ticked? | Is '{}' checked? | Is the '{}' box ticked?",
        "Is '{}' on? | Is '{}' selected? | Is the '{}' checkbox checked? | Is the '{}' box checked? | Is the box '{}' ticked? | Is there a tick at '{}'? | Is the option '{}' on? | Has '{}' been ticked? | Is '{}' active? | Is '{}' turned on?",
        "Is '{}' enabled? | Is the checkbox '{}' ticked? | Does '{}' have a tick? | Is '{}' switched on?",
    ),
    "which_ticked": _w(
        "Which boxes are ticked? | Which checkboxes are checked? | What is ticked?",
        "What is checked? | Which options are on? | Which boxes are checked? | List the ticked boxes. | Which settings are on? | Which options are selected? | What are the checked boxes? | Name the ticked checkboxes. | What is turned on?",
        "Which options are enabled? | Tell me the checked boxes. | Which checkboxes have a tick?",
    ),
    "count_ticked": _w(
        "How many boxes are ticked? | How many checkboxes are checked?",
        "How many options are on? | How many boxes are checked? | How many are ticked? | Count the ticked boxes. | Number of checked boxes? | How many checkboxes are ticked? | How many options are selected?",
        "How many options are enabled? | Tell me how many boxes are checked. | How many ticks are there?",
    ),
    "count_boxes": _w(
        "How many boxes are there? | How many checkboxes are there?",
        "How many checkboxes do you see? | Count the checkboxes. | Number of checkboxes? | How many options are there? | How many boxes are shown? | How many checkboxes does the window have? | How many boxes can I tick?",
        "How many checkboxes are shown? | Tell me the number of checkboxes.",
    ),
    "field_value": _w(
        "What is the value of the '{}' field? | What is in the '{}' field? | What does the '{}' field say?",
        "What is '{}'? | What's the value of '{}'? | What is the '{}'? | What is entered for '{}'? | What is written in the '{}' field? | Which value does '{}' have? | What does '{}' say? | Read the '{}' field. | Value of '{}'? | "
        "What is typed in the field '{}'? | What stands in '{}'? | '{}'? | What is the value of '{}'? | Tell me the '{}'.",
        "Which text is in the '{}' field? | What has been entered as '{}'? | What does the field '{}' contain? | What's in '{}'?",
    ),
    "fields": _w(
        "List the fields. | Which fields are there?",
        "What fields are there? | List all fields. | What are the fields? | Name the fields. | Which fields does the form have? | What can I fill in? | What are the labels of the fields? | Fields? | Which inputs are there? | What fields do you see?",
        "Which fields does the window show? | Tell me the names of the fields. | What fields can be filled in?",
    ),
    "count_fields": _w(
        "How many fields are there? | How many text fields are there?",
        "How many fields do you see? | Count the fields. | Number of fields? | How many inputs are there? | How many fields does the form have? | How many text fields are shown? | How many fields can I fill in?",
        "How many fields are shown? | Tell me the number of fields.",
    ),
    "tallest": _w(
        "Which bar is the tallest? | Which bar is the highest? | What is the tallest bar?",
        "What's the highest bar? | Which is the largest bar? | Which bar has the highest value? | What has the largest value? | Which bar is the biggest? | Which one is the tallest? | What is the maximum? | Name the tallest bar. | Tallest bar?",
        "Which is the biggest bar? | Tell me the highest bar. | Which one has the largest value?",
    ),
    "shortest": _w(
        "Which bar is the shortest? | Which bar is the lowest? | What is the shortest bar?",
        "What's the lowest bar? | Which is the smallest bar? | Which bar has the lowest value? | What has the smallest value? | Which bar is the smallest? | Which one is the shortest? | What is the minimum? | Name the shortest bar. | Shortest bar?",
        "Which is the lowest one of the bars? | Tell me the smallest bar. | Which one has the lowest value?",
    ),
    "count_bars": _w(
        "How many bars are there? | How many bars are shown?",
        "How many bars do you see? | Count the bars. | Number of bars? | How many bars does the chart have? | How many bars are in the chart? | How many columns are there?",
        "How many bars can you see? | Tell me the number of bars.",
    ),
    "bar_labels": _w(
        "List the bars. | Which bars are there?",
        "What are the bars called? | Name the bars. | What are the labels of the bars? | What bars do you see? | List the labels of the chart. | Which bars does the chart show? | What are the names of the bars? | List all bars.",
        "What labels do the bars have? | Tell me the names of the bars. | What is written below the bars?",
    ),
    "bar_value": _w(
        "What is the value of the '{}' bar? | What value has the '{}' bar?",
        "What is the value of '{}'? | What's the value of the '{}' bar? | Which value does '{}' have? | How high is '{}'? | How tall is the '{}' bar? | How much is '{}'? | Value of '{}'? | What is '{}'? | What number does '{}' have?",
        "Which value is shown for '{}'? | How large is the '{}' bar? | Tell me the value of '{}'.",
    ),
    "bar_colour": _w(
        "What colour is the '{}' bar? | What color is the '{}' bar?",
        "Which colour does '{}' have? | What color is '{}'? | What is the colour of the '{}' bar? | Which color is the '{}' bar? | In which colour is '{}' drawn? | Colour of '{}'?",
        "What is the color of '{}'? | Which colour has the bar '{}'? | Tell me the color of the '{}' bar.",
    ),
    "terminal_passed": _w(
        "How many tests passed? | How many tests have passed?",
        "How many tests were successful? | How many passed? | Number of passed tests? | How many tests are green? | What is the number of passed tests? | How many tests succeeded? | Passed tests?",
        "How many of the tests passed? | Tell me how many tests passed. | How many tests did pass?",
    ),
    "terminal_failed": _w(
        "How many tests failed? | How many tests have failed?",
        "How many failed? | Number of failed tests? | How many tests are red? | How many failures are there? | What is the number of failed tests? | How many tests did not pass? | Failed tests?",
        "How many of the tests failed? | Tell me how many tests failed. | How many failing tests are there?",
    ),
    "terminal_command": _w(
        "What command was run? | Which command was run in the terminal? | What is the command?",
        "What's the command? | Which command is shown? | What did the user run? | What was typed in the terminal? | Which command was entered? | What command do you see? | Command? | What was executed? | Read the command.",
        "Which command has been run? | What command was typed? | Tell me the command.",
    ),
    "terminal_file": _w(
        "Which file was tested? | What file is shown? | Which file is shown in the terminal?",
        "What's the file? | Which file was run? | What is the name of the file? | Which file does the terminal show? | What is the file called? | File name? | Which test file was run?",
        "Which file do you see? | Tell me the file. | What file was used?",
    ),
    "terminal_time": _w(
        "How long did the tests take? | What time did it take?",
        "How long did it take? | How long did the run take? | How many seconds did it take? | What was the duration? | Time? | What is the time of the run? | How much time did the tests take?",
        "How much time did it take? | Tell me how long the tests took. | What is the duration?",
    ),
    "theme": _w(
        "Is the screen dark or light? | Is it dark or light? | Is this a dark or a light window?",
        "Dark or light? | Is the window dark or light? | Is this dark mode or light mode? | Is it a dark or a light theme? | Which theme is used, dark or light? | Is the background dark or light? | Does it use a light or a dark theme? | Is the interface light or dark?",
        "Which theme is it, light or dark? | Is this screenshot dark or light? | Light or dark mode?",
    ),
    "screen_kind": _w(
        "What kind of screen is this? | What is shown? | What type of window is this?",
        "What sort of screen is this? | What type of screen is it? | Which kind of window is shown? | What kind of window is it? | What kind of interface is this? | What is this screen? | What type of screenshot is this? | Kind of screen?",
        "Which kind of screen do you see? | What sort of window is it? | What type of interface is shown?",
    ),
    "read_all": _w(
        "Read all the text. | Read everything. | Transcribe the screen.",
        "What text is shown? | What text do you see? | Read the text. | Read the whole text. | What is written here? | Transcribe all text. | What does the screen say? | Extract the text. | Give me all the text. | Which text is on the screen? | OCR",
        "Transcribe everything you see. | What text does the picture contain? | Read out all text.",
    ),
    "describe": _w(
        "Describe this screenshot. | Describe the screen. | What does the screenshot show?",
        "Describe this image. | Describe the image. | Explain this image. | Explain this screenshot. | What is in this image? | What do you see? | What is in the picture? | What does this image show? | Summarize the screen. | "
        "Describe what you see. | Tell me about this screenshot. | What can you see here? | What is this? | Describe it. | Give a short description of this screenshot. | What's in this screenshot?",
        "Explain what the image shows. | Describe this picture. | What does the picture show? | Tell me what you see. | What is on the screen?",
    ),
}


def as_typed(rng: random.Random, topic: str) -> str:
    """A wording of training: a composed or a further one, at times a plain one; with small letters, without a mark, in other quotes or none, with a slip."""
    template = _chosen(rng, topic)
    if rng.random() < 0.2 and template[:2] not in ("OC", "'{"):
        template = template[0].lower() + template[1:]
    if rng.random() < 0.08:
        template = rng.choice(_OPENINGS) + template[0].lower() + template[1:]
    if rng.random() < 0.06:
        template = template.rstrip("?.") + rng.choice(_ENDINGS) + ("?" if template.endswith("?") else "")
    mark = rng.random()
    if mark < 0.2:
        template = template.rstrip("?.")
    elif mark < 0.25:
        template = template.rstrip("?.") + rng.choice(["??", " ?", "!", "..."])
    if rng.random() < 0.1:
        template = _slipped(rng, template)
    quotes = rng.random()
    return template if quotes < 0.5 else template.replace("'{}'", '"{}"' if quotes < 0.75 else "{}")


_OPENINGS = ("Please ", "Please: ", "Hey, ", "Hi, ", "Hello, ", "So ", "Ok, ", "And ", "Quick question: ", "Sorry, ", "Now, ", "Well, ")
_ENDINGS = (", please", " please", " for me", ", thanks", " exactly", " then", " again", ", do you know")


def _chosen(rng: random.Random, topic: str) -> str:
    wordings, draw = WORDINGS[topic], rng.random()
    if draw < 0.5:
        return rng.choice(rng.choice(composed(topic, wordings.unseen)))
    return rng.choice(wordings.further if draw < 0.8 else wordings.plain)


def _slipped(rng: random.Random, template: str) -> str:
    """One slip of the keys in a longer word: a letter too few, twice, or two letters exchanged."""
    words = template.split(" ")
    long = [index for index, word in enumerate(words) if len(word) > 3 and word.isalpha()]
    if long:
        chosen = rng.choice(long)
        word, at = words[chosen], rng.randint(1, len(words[chosen]) - 2)
        words[chosen] = rng.choice([word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:], word[:at] + word[at + 1] + word[at] + word[at + 2 :]])
    return " ".join(words)


def unseen(rng: random.Random, topic: str) -> str:
    """A wording that training never uses."""
    return rng.choice(WORDINGS[topic].unseen)
