"""Questions about a screen with their true answers, and where on the screen each answered character stands."""

import dataclasses
import random

from .canvas import FRAME, ROLE_ID, Piece, Run, place_of
from .screen import Screen
from .tokenizer import END, encode
from .words import BUTTONS, WordSource

NOT_SEEN = "I don't see it."


@dataclasses.dataclass(frozen=True)
class Question:
    type: str
    text: str
    answer_parts: tuple[str | Piece, ...]
    about: Run | None = None
    """The run that the question quotes, if it is on the screen."""
    evidence: tuple[int, int] | None = None
    """Place of the patch that shows the answer, where the answer is not text of the screen (a colour, a state, a position)."""

    @property
    def answer(self) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in self.answer_parts)

    def question_tokens(self) -> tuple[list[int], list[tuple[int, int] | None]]:
        """Ids of the question with the assistant's cue, and for each token the place of the quoted character it is."""
        ids = list(encode(self.text + " ASSISTANT:"))
        places: list[tuple[int, int] | None] = [None] * len(ids)
        if self.about is not None:
            start = len(encode(self.text[: self.text.index("'") + 1]))
            for offset, place in enumerate(self.about.places):
                places[start + offset] = place
        return ids, places

    def answer_tokens(self) -> tuple[list[int], list[tuple[int, int] | None]]:
        """Ids of the answer, copied text as characters, and for each token the place that it is read from."""
        ids: list[int] = []
        places: list[tuple[int, int] | None] = []
        pending = " "
        for part in self.answer_parts:
            if isinstance(part, str):
                pending += part
                continue
            ids += encode(pending) if pending else ()
            places += [None] * (len(ids) - len(places))
            pending = ""
            ids += copied_tokens(part.text)
            places += part.places
        ids += encode(pending) if pending else ()
        ids.append(END)
        places += [None] * (len(ids) - len(places))
        return ids, places


def copied_tokens(text: str) -> list[int]:
    """One token for each character."""
    return [encode(character)[0] for character in text]


def joined(runs: list[Run], separator: str = ", ") -> tuple[str | Piece, ...]:
    parts: list[str | Piece] = []
    for run in runs:
        parts += [separator] if parts else []
        parts.append(Piece(run))
    return tuple(parts)


def region(point: tuple[float, float]) -> str:
    vertical = "top" if point[1] < FRAME / 3 else "bottom" if point[1] > 2 * FRAME / 3 else "middle"
    horizontal = "left" if point[0] < FRAME / 3 else "right" if point[0] > 2 * FRAME / 3 else "center"
    return f"{vertical} {horizontal}"


class Questioner:
    """Asks everything that the domain knows about a screen."""

    def __init__(self, rng: random.Random, words: WordSource):
        self.rng = rng
        self.words = words

    def ask(self, screen: Screen) -> list[Question]:
        self.questions: list[Question] = []
        self.screen = screen
        self._window()
        self._buttons()
        self._boxes()
        self._fields()
        self._chart()
        self._terminal()
        self._whole()
        return self.questions

    def _add(self, type_: str, wordings: str | list[str], *parts: str | Piece, about: Run | None = None, evidence: tuple[int, int] | None = None) -> None:
        text = wordings if isinstance(wordings, str) else self.rng.choice(wordings)
        self.questions.append(Question(type_, text, parts, about, evidence))

    def _absent(self, taken: list[str], known: list[str]) -> str:
        while True:
            name = self.words.label(known, 0.5)
            if name.lower() not in (text.lower() for text in taken):
                return name

    def _window(self) -> None:
        screen, chance = self.screen, self.rng.random
        title = ["What is the title?", "What is the title of the window?", "What does the title say?", "Read the title."]
        if screen.title:
            self._add("title", title, Piece(screen.title))
        else:
            self._add("not_there", title, NOT_SEEN)
        message = ["What does the dialog say?", "What does the message say?", "Read the message.", "What is the message?"]
        kind = ["What kind of dialog is this?", "What type of dialog is this?", "Which kind of message is shown?"]
        if screen.message:
            self._add("message", message, Piece(screen.message))
            if screen.dialog_kind:
                self._add("dialog_kind", kind, screen.dialog_kind, evidence=screen.icon_place)
        elif chance() < 0.12:
            self._add("not_there", message, NOT_SEEN)
        if screen.title and screen.title_colour:
            self._add("title_colour", ["What colour is the title bar?", "What color is the title bar?"], screen.title_colour, evidence=screen.title.places[0])
        percent = ["What percentage is shown?", "What percentage does the progress bar show?", "What is the progress?"]
        if screen.percent and screen.progress_centre:
            self._add("percent", percent, Piece(screen.percent))
            self._add("where", "Where is the progress bar?", region(screen.progress_centre), evidence=place_of(*screen.progress_centre))
            if screen.progress_colour:
                self._add("progress_colour", ["What colour is the progress bar?", "What color is the progress bar?"], screen.progress_colour, evidence=screen.progress_place)
        elif chance() < 0.12:
            self._add("not_there", percent, NOT_SEEN)

    def _buttons(self) -> None:
        screen, rng = self.screen, self.rng
        buttons = screen.buttons
        texts = [button.run.text for button in buttons]
        if buttons:
            self._add("buttons", ["List the buttons.", "Which buttons are there?", "What buttons are shown?"], *joined([b.run for b in buttons]))
            chosen = [button for button in buttons if button.highlighted]
            highlighted = ["Which button is highlighted?", "Which button is the default?", "What is the primary button?"]
            if chosen:
                self._add("highlighted", highlighted, Piece(chosen[0].run))
                self._add("button_colour", ["What colour is the highlighted button?", "What color is the default button?"], chosen[0].colour, evidence=chosen[0].run.places[0])
            else:
                self._add("highlighted", highlighted, "none")
            button = rng.choice(buttons)
            self._add("where", f"Where is the '{button.run.text}' button?", region(button.centre), about=button.run, evidence=button.run.places[0])
            self._add("exists", [f"Is there a '{button.run.text}' button?", f"Does it have a '{button.run.text}' button?"], "yes", about=button.run, evidence=button.run.places[0])
        if buttons or rng.random() < 0.2:
            self._add("count_buttons", ["How many buttons are there?", "How many buttons are shown?"], str(len(buttons)))
            absent = self._absent(texts, BUTTONS)
            self._add("exists", [f"Is there a '{absent}' button?", f"Does it have a '{absent}' button?"], "no")
            if rng.random() < 0.4:
                self._add("not_there", f"Where is the '{absent}' button?", NOT_SEEN)
        if not buttons and rng.random() < 0.4:
            self._add("not_there", ["List the buttons.", "Which button is highlighted?", "Which buttons are there?"], NOT_SEEN)

    def _boxes(self) -> None:
        screen, rng = self.screen, self.rng
        boxes = screen.boxes
        for box in rng.sample(boxes, min(2, len(boxes))):
            text = box.run.text
            self._add("ticked", [f"Is '{text}' ticked?", f"Is '{text}' checked?", f"Is the '{text}' box ticked?"], "yes" if box.ticked else "no", about=box.run, evidence=box.run.places[0])
        if boxes:
            absent = self._absent([box.run.text for box in boxes], [])
            if rng.random() < 0.3:
                self._add("not_there", [f"Is '{absent}' ticked?", f"Is '{absent}' checked?", f"Is the '{absent}' box ticked?"], NOT_SEEN)
            ticked = [box.run for box in boxes if box.ticked]
            which = ["Which boxes are ticked?", "Which checkboxes are checked?", "What is ticked?"]
            self._add("which_ticked", which, *(joined(ticked) if ticked else ("none",)))
            self._add("count_ticked", ["How many boxes are ticked?", "How many checkboxes are checked?"], str(len(ticked)))
        if boxes or rng.random() < 0.1:
            self._add("count_boxes", ["How many boxes are there?", "How many checkboxes are there?"], str(len(boxes)))

    def _fields(self) -> None:
        screen, rng = self.screen, self.rng
        wordings = ["What is the value of the '{}' field?", "What is in the '{}' field?", "What does the '{}' field say?"]
        for label, value in rng.sample(screen.fields, min(2, len(screen.fields))):
            self._add("field_value", rng.choice(wordings).format(label.text), Piece(value), about=label)
        if screen.fields:
            self._add("fields", ["List the fields.", "Which fields are there?"], *joined([label for label, _ in screen.fields]))
            self._add("count_fields", ["How many fields are there?", "How many text fields are there?"], str(len(screen.fields)))
            if rng.random() < 0.25:
                absent = self._absent([label.text for label, _ in screen.fields], [])
                self._add("not_there", rng.choice(wordings).format(absent), NOT_SEEN)

    def _chart(self) -> None:
        screen, rng = self.screen, self.rng
        tallest = ["Which bar is the tallest?", "Which bar is the highest?", "What is the tallest bar?"]
        if not screen.bars:
            if rng.random() < 0.08:
                self._add("not_there", tallest, NOT_SEEN)
            return
        ordered = sorted(screen.bars, key=lambda bar: bar.height)
        self._add("tallest", tallest, Piece(ordered[-1].label))
        self._add("shortest", ["Which bar is the shortest?", "Which bar is the lowest?", "What is the shortest bar?"], Piece(ordered[0].label))
        self._add("count_bars", ["How many bars are there?", "How many bars are shown?"], str(len(screen.bars)))
        self._add("bar_labels", ["List the bars.", "Which bars are there?"], *joined([bar.label for bar in screen.bars]))
        for bar in rng.sample(screen.bars, 2):
            name = bar.label.text
            if bar.value:
                self._add("bar_value", [f"What is the value of the '{name}' bar?", f"What value has the '{name}' bar?"], Piece(bar.value), about=bar.label)
            self._add("bar_colour", [f"What colour is the '{name}' bar?", f"What color is the '{name}' bar?"], bar.colour, about=bar.label, evidence=bar.place)

    def _terminal(self) -> None:
        lines = self.screen.terminal
        passed, failed = ["How many tests passed?", "How many tests have passed?"], ["How many tests failed?", "How many tests have failed?"]
        if not lines:
            if self.rng.random() < 0.08:
                self._add("not_there", passed + failed, NOT_SEEN)
            return
        if "passed" in lines:
            self._add("terminal_passed", passed, lines["passed"])
            self._add("terminal_failed", failed, lines["failed"])
        elif self.rng.random() < 0.3:
            self._add("not_there", passed + failed, NOT_SEEN)
        self._add("terminal_command", ["What command was run?", "Which command was run in the terminal?", "What is the command?"], lines["command"])
        if "file" in lines:
            self._add("terminal_file", ["Which file was tested?", "What file is shown?", "Which file is shown in the terminal?"], lines["file"])
        if "time" in lines:
            self._add("terminal_time", ["How long did the tests take?", "What time did it take?"], lines["time"])

    def _whole(self) -> None:
        screen = self.screen
        self._add("theme", ["Is the screen dark or light?", "Is it dark or light?", "Is this a dark or a light window?"], "dark" if screen.dark else "light", evidence=self._background())
        self._add("screen_kind", ["What kind of screen is this?", "What is shown?", "What type of window is this?"], self._kind())
        if len(screen.reading_order) <= 8:
            everything = joined(screen.reading_order, " | ")
            if sum(len(part if isinstance(part, str) else part.text) for part in everything) <= 110:
                self._add("read_all", ["Read all the text.", "Read everything.", "Transcribe the screen."], *everything)
        self._add("describe", ["Describe this screenshot.", "Describe the screen.", "What does the screenshot show?"], *self._description())

    def _background(self) -> tuple[int, int] | None:
        """A patch of bare window, which shows light or dark by itself; else that of the first text."""
        bare = (self.screen.canvas.role == ROLE_ID["window"]).ravel().nonzero()[0]
        return (int(bare[len(bare) // 2]), 0) if len(bare) else self.screen.reading_order[0].places[0]

    def _kind(self) -> str:
        return {"dialog": "a dialog", "form": "a form", "settings": "settings", "chart": "a bar chart", "terminal": "a terminal", "progress": "a progress bar"}[self.screen.kind]

    def _description(self) -> tuple[str | Piece, ...]:
        """One or two true sentences."""
        screen = self.screen
        shade = "dark" if screen.dark else "light"
        noun = {"dialog": f"{screen.dialog_kind} dialog" if screen.dialog_kind else "dialog", "form": "form", "settings": "settings window", "chart": "bar chart", "terminal": "terminal", "progress": "progress window"}[screen.kind]
        parts: list[str | Piece] = [f"A {shade} {noun}"]
        if screen.title:
            parts += [" titled '", Piece(screen.title), "'"]
        if screen.message and screen.kind == "dialog":
            parts += [" that says '", Piece(screen.message), "'"]
        elif "passed" in screen.terminal:
            parts += [" with ", screen.terminal["passed"], " passed and ", screen.terminal["failed"], " failed"]
        elif screen.kind == "chart":
            parts += [f" with {len(screen.bars)} bars"]
        elif screen.kind == "progress" and screen.percent:
            parts += [" at ", Piece(screen.percent)]
        elif screen.kind == "form":
            parts += [f" with {len(screen.fields)} field" + "s" * (len(screen.fields) != 1)]
        elif screen.kind == "settings":
            parts += [f" with {len(screen.boxes)} checkboxes"]
        parts.append(".")
        if screen.buttons:
            parts += [" Buttons: ", *joined([button.run for button in screen.buttons]), "."]
        return tuple(parts)
