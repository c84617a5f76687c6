"""The tokenizer: byte-level BPE in which a template word after a space is one token and everything else is characters.

Every merge extends a chain that starts with the space byte (or spells USER or ASSISTANT), from left to right, so any correct BPE
gives the same ids. Capitalised text, as most of what stands on a screen, therefore stays characters; in answers, text that is
read from the screen is always written one character at a time (`questions.copied_tokens`).
"""

import functools
import pathlib

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

SPECIAL = ["<unk>", "<s>", "</s>", "<pad>", "<image>"]
UNKNOWN, BEGIN, END, PADDING, IMAGE = range(5)

_WORDS = """
a about all and are bar bars bold bottom box boxes button buttons called can center chart checkbox checkboxes checked colour color
command contain contents contains contrast dark default describe dialog did does don error empty everything exist field fields file form
full has have here highest highlighted how in info input inside interface is it its kind label labels labelled left light
line list long longest lowest many means message middle much named no none not of off on one only or page passed failed percent percentage
percentages picture primary progress question ran read red green blue orange purple gray teal pink yellow right run saved say says screen
screenshot see selected settings shortest show shown shows smallest biggest state switched take tallest terminal test tested tests
text that the there this ticked time title titled to top transcribe type unticked value visible warning was were
what when where which who window with without yes you
"""
TEMPLATE_WORDS = frozenset(_WORDS.split())


def build_tokenizer() -> Tokenizer:
    vocabulary = {token: index for index, token in enumerate(SPECIAL)}
    for symbol in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[symbol] = len(vocabulary)
    merges: list[tuple[str, str]] = []

    def chain(symbols: str) -> None:
        current = symbols[0]
        for symbol in symbols[1:]:
            if current + symbol not in vocabulary:
                vocabulary[current + symbol] = len(vocabulary)
                merges.append((current, symbol))
            current += symbol

    for word in sorted(TEMPLATE_WORDS):
        chain("\u0120" + word)
    chain("\u0120|")
    chain("USER")
    chain("ASSISTANT")
    vocabulary["\u0120ASSISTANT"] = len(vocabulary)
    merges.append(("\u0120", "ASSISTANT"))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=False))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", BEGIN)]
    )
    return tokenizer


@functools.lru_cache(maxsize=1)
def shared_tokenizer() -> Tokenizer:
    return build_tokenizer()


@functools.lru_cache(maxsize=100_000)
def encode(text: str) -> tuple[int, ...]:
    """Ids of a text, without the begin token."""
    return tuple(shared_tokenizer().encode(text, add_special_tokens=False).ids)


@functools.lru_cache(maxsize=1)
def character_tokens() -> tuple[int, ...]:
    """Token id of every character class of `canvas` (class 0, no character, stands at padding)."""
    from .canvas import CHARACTERS

    single = shared_tokenizer().token_to_id
    return (PADDING, *(single("\u0120" if character == " " else character) for character in CHARACTERS), END)


def vocabulary_size() -> int:
    return shared_tokenizer().get_vocab_size()


def save_tokenizer(path: pathlib.Path) -> None:
    build_tokenizer().save(str(path))
