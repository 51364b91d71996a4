"""The commands of a guide (ops/*.md), in the order and in the words in which a person finds them there."""
import re

from system import OPS

FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.S | re.M)


class Guide:
    """One of the guides. `words`: what stands there for something that only the reader knows."""

    def __init__(self, name, words):
        self.text, self.words, self.done = (OPS / name).read_text(), words, set()

    def block(self, words):
        """The lines of the one block in which these words are, with what they stand for filled in; what a backslash continues is
        one line."""
        found = [block for _, block in FENCE.findall(self.text) if words in block]
        assert len(found) == 1, f"{len(found)} blocks of the guide have: {words}"
        self.done.add(found[0])
        text = re.sub(r"\\\n\s*", "", found[0])
        for word, meant in self.words.items():
            text = text.replace(word, meant)
        return [line.strip() for line in text.splitlines() if line.strip()]

    def has(self, words):
        """Whether a block has these words."""
        return any(words in block for _, block in FENCE.findall(self.text))

    def never_done(self):
        """Blocks that nobody asked for."""
        return [block for _, block in FENCE.findall(self.text) if block not in self.done]
