"""Questions about a screen with their true answers, and where on the screen each answered character stands."""

import dataclasses
import random

from .canvas import FRAME, ROLE_ID, Piece, Run, place_of
from .screen import Screen
from .tokenizer import END, encode
from .wordings import WORDINGS, as_typed, unseen
from .words import BUTTONS, FIELDS, WordSource

NOT_SEEN = "I don't see it."
TOO_SMALL = "The text is too small to read."


SMALL_TEXT_TOPICS = ("title", "message", "buttons", "exists_button", "where_button", "percent", "field_value", "fields", "tallest", "terminal_command", "read_all", "describe")


@dataclasses.dataclass(frozen=True)
class Question:
    type: str
    text: str
    answer_parts: tuple[str | Piece, ...]
    about: Run | None = None
    """The run that the question quotes, if it is on the screen."""
    evidence: tuple[int, int] | None = None
    """Place of the patch that shows the answer, where the answer is not text of the screen (a colour, a state, a position)."""
    topic: str = ""
    """The wordings that this question may have (`wordings.py`)."""
    name: str = ""
    """What the question quotes."""
    name_at: int = 0
    """Where in the text the name begins."""

    def worded(self, template: str, name: str | None = None) -> "Question":
        """The same question in other words; `'{}'`, `"{}"` or `{}` in the template is the name."""
        name = self.name if name is None else name
        return dataclasses.replace(self, text=template.replace("{}", name), name_at=max(0, template.find("{}")), name=name)

    @property
    def answer(self) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in self.answer_parts)

    def question_tokens(self) -> tuple[list[int], list[tuple[int, int] | None]]:
        """Ids of the question with the assistant's cue, and for each token the place of the quoted character it is."""
        ids = list(encode(self.text + " ASSISTANT:"))
        places: list[tuple[int, int] | None] = [None] * len(ids)
        if self.about is not None:
            start = len(encode(self.text[: self.name_at]))
            # Next to a space some names share a token with it; a name that is not one token a character is not pointed at.
            if len(encode(self.text[: self.name_at + len(self.name)])) == start + len(self.name):
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


def reworded(rng: random.Random, question: Question) -> Question:
    """The question in words that training never uses."""
    return question.worded(unseen(rng, question.topic))


class Questioner:
    """Asks everything that the domain knows about a screen.

    free: share of the questions that are put as people type them (`wordings.as_typed`); 0 draws as the held-out set does."""

    def __init__(self, rng: random.Random, words: WordSource, free: float = 0.0):
        self.rng = rng
        self.words = words
        self.free = free

    def ask(self, screen: Screen) -> list[Question]:
        self.questions: list[Question] = []
        self.screen = screen
        if screen.kind == "small_text":
            self._small_text()
            return self.questions
        self._window()
        self._buttons()
        self._boxes()
        self._fields()
        self._chart()
        self._terminal()
        self._whole()
        return self.questions

    def _add(
        self, type_: str, topics: str | tuple[str, ...], *parts: str | Piece, name: str = "", about: Run | None = None, evidence: tuple[int, int] | None = None
    ) -> None:
        of = [(topic, wording) for topic in ([topics] if isinstance(topics, str) else topics) for wording in WORDINGS[topic].plain]
        topic, template = self.rng.choice(of) if len(of) > 1 else of[0]
        question = Question(type_, "", parts, about, evidence, topic, name)
        if self.free and self.rng.random() < self.free:
            template = as_typed(self.rng, topic)
            # People do not mind capitals.
            name = name.lower() if self.rng.random() < 0.1 else name
        self.questions.append(question.worded(template, name))

    def _absent(self, taken: list[str], known: list[str]) -> str:
        while True:
            name = self.words.label(known, 0.5)
            if name.lower() not in (text.lower() for text in taken):
                return name

    def _window(self) -> None:
        screen, chance = self.screen, self.rng.random
        if screen.title:
            self._add("title", "title", Piece(screen.title))
        else:
            self._add("not_there", "title", NOT_SEEN)
        if screen.message:
            self._add("message", "message", Piece(screen.message))
            if screen.dialog_kind:
                self._add("dialog_kind", "dialog_kind", screen.dialog_kind, evidence=screen.icon_place)
        elif chance() < 0.12:
            self._add("not_there", "message", NOT_SEEN)
        if screen.title and screen.title_colour:
            self._add("title_colour", "title_colour", screen.title_colour, evidence=screen.title.places[0])
        if screen.percent and screen.progress_centre:
            self._add("percent", "percent", Piece(screen.percent))
            self._add("where", "where_progress", region(screen.progress_centre), evidence=place_of(*screen.progress_centre))
            if screen.progress_colour:
                self._add("progress_colour", "progress_colour", screen.progress_colour, evidence=screen.progress_place)
        elif chance() < 0.12:
            self._add("not_there", "percent", NOT_SEEN)

    def _buttons(self) -> None:
        screen, rng = self.screen, self.rng
        buttons = screen.buttons
        texts = [button.run.text for button in buttons]
        if buttons:
            self._add("buttons", "buttons", *joined([b.run for b in buttons]))
            chosen = [button for button in buttons if button.highlighted]
            if chosen:
                self._add("highlighted", "highlighted", Piece(chosen[0].run))
                self._add("button_colour", "button_colour", chosen[0].colour, evidence=chosen[0].run.places[0])
            else:
                self._add("highlighted", "highlighted", "none")
            button = rng.choice(buttons)
            self._add("where", "where_button", region(button.centre), name=button.run.text, about=button.run, evidence=button.run.places[0])
            self._add("exists", "exists_button", "yes", name=button.run.text, about=button.run, evidence=button.run.places[0])
        if buttons or rng.random() < 0.2:
            self._add("count_buttons", "count_buttons", str(len(buttons)))
            absent = self._absent(texts, BUTTONS)
            self._add("exists", "exists_button", "no", name=absent)
            if rng.random() < 0.4:
                self._add("not_there", "where_button", NOT_SEEN, name=absent)
        if not buttons and rng.random() < 0.4:
            self._add("not_there", "no_buttons", NOT_SEEN)

    def _boxes(self) -> None:
        screen, rng = self.screen, self.rng
        boxes = screen.boxes
        for box in rng.sample(boxes, min(2, len(boxes))):
            self._add("ticked", "ticked", "yes" if box.ticked else "no", name=box.run.text, about=box.run, evidence=box.run.places[0])
        if boxes:
            absent = self._absent([box.run.text for box in boxes], [])
            if rng.random() < 0.3:
                self._add("not_there", "ticked", NOT_SEEN, name=absent)
            ticked = [box.run for box in boxes if box.ticked]
            self._add("which_ticked", "which_ticked", *(joined(ticked) if ticked else ("none",)))
            self._add("count_ticked", "count_ticked", str(len(ticked)))
        if boxes or rng.random() < 0.1:
            self._add("count_boxes", "count_boxes", str(len(boxes)))

    def _fields(self) -> None:
        screen, rng = self.screen, self.rng
        for label, value in rng.sample(screen.fields, min(2, len(screen.fields))):
            self._add("field_value", "field_value", Piece(value), name=label.text, about=label)
        if screen.fields:
            self._add("fields", "fields", *joined([label for label, _ in screen.fields]))
            self._add("count_fields", "count_fields", str(len(screen.fields)))
            if rng.random() < 0.25:
                absent = self._absent([label.text for label, _ in screen.fields], [])
                self._add("not_there", "field_value", NOT_SEEN, name=absent)

    def _chart(self) -> None:
        screen, rng = self.screen, self.rng
        if not screen.bars:
            if rng.random() < 0.08:
                self._add("not_there", "tallest", NOT_SEEN)
            return
        ordered = sorted(screen.bars, key=lambda bar: bar.height)
        self._add("tallest", "tallest", Piece(ordered[-1].label))
        self._add("shortest", "shortest", Piece(ordered[0].label))
        self._add("count_bars", "count_bars", str(len(screen.bars)))
        self._add("bar_labels", "bar_labels", *joined([bar.label for bar in screen.bars]))
        for bar in rng.sample(screen.bars, 2):
            name = bar.label.text
            if bar.value:
                self._add("bar_value", "bar_value", Piece(bar.value), name=name, about=bar.label)
            self._add("bar_colour", "bar_colour", bar.colour, name=name, about=bar.label, evidence=bar.place)

    def _terminal(self) -> None:
        lines = self.screen.terminal
        if not lines:
            if self.rng.random() < 0.08:
                self._add("not_there", ("terminal_passed", "terminal_failed"), NOT_SEEN)
            return
        if "passed" in lines:
            self._add("terminal_passed", "terminal_passed", lines["passed"])
            self._add("terminal_failed", "terminal_failed", lines["failed"])
        elif self.rng.random() < 0.3:
            self._add("not_there", ("terminal_passed", "terminal_failed"), NOT_SEEN)
        self._add("terminal_command", "terminal_command", lines["command"])
        if "file" in lines:
            self._add("terminal_file", "terminal_file", lines["file"])
        if "time" in lines:
            self._add("terminal_time", "terminal_time", lines["time"])

    def _whole(self) -> None:
        screen = self.screen
        if screen.shade_is_plain:
            self._add("theme", "theme", "dark" if screen.dark else "light", evidence=self._background())
        self._add("screen_kind", "screen_kind", self._kind())
        if len(screen.reading_order) <= 8 and not screen.text_around:
            everything = joined(screen.reading_order, " | ")
            if sum(len(part if isinstance(part, str) else part.text) for part in everything) <= 110:
                self._add("read_all", "read_all", *everything)
        self._add("describe", "describe", *self._description())

    def _small_text(self) -> None:
        """What can be said of a screen whose text nobody can read."""
        for topic in SMALL_TEXT_TOPICS:
            named = "{}" in WORDINGS[topic].plain[0]
            self._add("too_small", topic, TOO_SMALL, name=self.words.label(BUTTONS if "button" in topic else FIELDS, 0.5) if named else "")
        if self.screen.shade_is_plain:
            self._add("theme", "theme", "dark" if self.screen.dark else "light")

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
