"""Tiny but real tokenizer.json files of the three kinds that LLaVA checkpoints bring."""

from __future__ import annotations

from collections import Counter

# Merges are learnt from these words, so that questions about screenshots use multi-byte tokens.
CORPUS = """
what is in the picture which window is open read the title aloud what changed between them answer in one short line
how many buttons are there is the theme light or dark where is the cursor describe it the image shows a dialog with an
error message the user assistant system open file editor terminal menu button text line title button window the the
"""

MERGES = 48
IMAGE = "<image>"


def byte_alphabet() -> dict[int, str]:
    """GPT-2's reversible map from bytes to printable characters: printable bytes stand for themselves."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {byte: chr(byte) for byte in printable}
    for offset, byte in enumerate(byte for byte in range(256) if byte not in table):
        table[byte] = chr(256 + offset)
    return table


def learn_merges(words: Counter[tuple[str, ...]], count: int) -> list[tuple[str, str]]:
    """Plain byte-pair encoding; the smallest pair wins a tie, so that the result does not depend on hash order."""
    merges: list[tuple[str, str]] = []
    for _ in range(count):
        pairs: Counter[tuple[str, str]] = Counter()
        for word, frequency in words.items():
            for pair in zip(word, word[1:], strict=False):
                pairs[pair] += frequency
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        merged: Counter[tuple[str, ...]] = Counter()
        for word, frequency in words.items():
            symbols: list[str] = []
            for symbol in word:
                if symbols and (symbols[-1], symbol) == best:
                    symbols[-1] += symbol
                else:
                    symbols.append(symbol)
            merged[tuple(symbols)] += frequency
        words = merged
    return merges


def added(token_id: int, content: str) -> dict:
    return {
        "id": token_id,
        "content": content,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }


def bos_template(token: str, token_id: int) -> dict:
    sequence = [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    return {
        "type": "TemplateProcessing",
        "single": sequence,
        "pair": sequence + [{"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {token: {"id": token, "ids": [token_id], "tokens": [token]}},
    }


def model(vocabulary: list[str], merges: list[tuple[str, str]], unknown: str | None, byte_fallback: bool) -> dict:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": unknown,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": byte_fallback,
        "byte_fallback": byte_fallback,
        "ignore_merges": False,
        "vocab": {token: index for index, token in enumerate(vocabulary)},
        "merges": [list(pair) for pair in merges],
    }


def byte_level_words(prefix: str) -> Counter[tuple[str, ...]]:
    table = byte_alphabet()
    return Counter(tuple(table[byte] for byte in (prefix + word).encode()) for word in CORPUS.split())


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def byte_tokenizer() -> dict:
    """Specials first, `<s>` put in front by the post-processor: byte-level BPE as this project's own model has it."""
    specials = ["<unk>", "<s>", "</s>", "<pad>", IMAGE]
    merges = learn_merges(byte_level_words(" "), MERGES)
    vocabulary = specials + sorted(byte_alphabet().values()) + [a + b for a, b in merges]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added(index, token) for index, token in enumerate(specials)],
        "normalizer": None,
        "pre_tokenizer": BYTE_LEVEL,
        "post_processor": bos_template("<s>", 1),
        "decoder": BYTE_LEVEL,
        "model": model(vocabulary, merges, None, False),
    }


def qwen_tokenizer() -> dict:
    """Qwen2's shape: NFC, its split expression, no beginning-of-text token, specials AFTER the vocabulary."""
    merges = learn_merges(byte_level_words(" "), MERGES)
    vocabulary = sorted(byte_alphabet().values()) + [a + b for a, b in merges]
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", IMAGE]
    expression = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added(len(vocabulary) + index, token) for index, token in enumerate(specials)],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False},
                BYTE_LEVEL | {"use_regex": False},
            ],
        },
        "post_processor": BYTE_LEVEL | {"use_regex": False},
        "decoder": BYTE_LEVEL,
        "model": model(vocabulary, merges, None, False),
    }


def sentencepiece_tokenizer() -> dict:
    """Llama's shape: a block for the space, bytes as `<0xNN>` for what the vocabulary lacks, `<s>` in front."""
    specials = ["<unk>", "<s>", "</s>"]
    space = "\u2581"
    merges = learn_merges(Counter(tuple(space + word) for word in CORPUS.split()), MERGES)
    letters = sorted(
        {letter for letter in CORPUS if not letter.isspace()} | set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:?!'") | {space}
    )
    vocabulary = specials + [f"<0x{byte:02X}>" for byte in range(256)] + letters + [a + b for a, b in merges]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added(index, token) for index, token in enumerate(specials)]
        + [added(len(vocabulary), IMAGE), added(len(vocabulary) + 1, "<pad>")],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": space},
                {"type": "Replace", "pattern": {"String": " "}, "content": space},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": bos_template("<s>", 1),
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": space}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": model(vocabulary, merges, "<unk>", True),
    }


def metaspace_tokenizer() -> dict:
    """Llama's shape without `legacy`: spaces are replaced, and one put in front of the text only, not behind special tokens."""
    metaspace = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False}
    return sentencepiece_tokenizer() | {"normalizer": None, "pre_tokenizer": metaspace}


TOKENIZERS = {
    "byte": byte_tokenizer,
    "qwen": qwen_tokenizer,
    "sentencepiece": sentencepiece_tokenizer,
    "metaspace": metaspace_tokenizer,
}

# Names of the special tokens of each kind: beginning, end, padding (None where the kind has none).
SPECIALS = {
    "byte": ("<s>", "</s>", "<pad>"),
    "qwen": (None, "<|im_end|>", "<|endoftext|>"),
    "sentencepiece": ("<s>", "</s>", "<pad>"),
    "metaspace": ("<s>", "</s>", "<pad>"),
}


def token_ids(tokenizer: dict) -> dict[str, int]:
    return tokenizer["model"]["vocab"] | {token["content"]: token["id"] for token in tokenizer["added_tokens"]}


TEMPLATES = {
    # llava-1.5's conversation: the image comes before the text of its message.
    "vicuna": (
        "{% for message in messages %}"
        "{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}"
        "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}"
        "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] + ' ' }}{% endfor %}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
    ),
    "chatml": (
        "{%- for message in messages -%}\n"
        "{{- '<|im_start|>' + message.role + '\\n' -}}\n"
        "{%- for part in message.content -%}\n"
        "{%- if part.type == 'image' -%}{{- '<image>' -}}\n"
        "{%- elif part.type == 'text' -%}{{- ('\\n' if not loop.first else '') + part.text -}}{%- endif -%}\n"
        "{%- endfor -%}\n"
        "{{- '<|im_end|>\\n' -}}\n"
        "{%- endfor -%}\n"
        "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}\n"
    ),
    # To Python '\\s' is a backslash and an s.
    "backslash": (
        "{% for message in messages %}{% if message['role'] == 'user' %}[INST] "
        "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>\\n' }}"
        "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{{ ' [/INST]' }}"
        "{% elif message['role'] == 'system' %}{{ '<<SYS>>\\n' + message['content'][0]['text'] + '<\\s>\\n' }}"
        "{% else %}{{ ' ' + message['content'][0]['text'] + '<\\s> ' }}{% endif %}{% endfor %}"
    ),
    # The template writes the beginning-of-text token itself, so the tokenizer must not add a second one.
    "mistral": (
        "{{ bos_token }}{% for message in messages %}"
        "{% if message['role'] == 'user' %}[INST] "
        "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n"
        "{% else %}{{ part['text'] | trim }}{% endif %}{% endfor %} [/INST]"
        "{% else %}{{ message['content'][0]['text'] }}{{ eos_token }}{% endif %}{% endfor %}"
    ),
}
