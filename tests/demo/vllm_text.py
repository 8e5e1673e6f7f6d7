# SPDX-License-Identifier: Apache-2.0
"""What the vLLM demo asks: this project's own text, as documents with questions about them.

Each conversation opens with a document of about 3,900 tokens that no other shares, so that a hit
in one says nothing about another. Its prompts are the first turn, another question on the same
document (a shared prefix), and a second turn that holds the first with its answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = ("*.md", "docs/**/*.md", "proto/**/*.proto", "client/*.h", "storage/**/*.h")
SOURCES_MORE = ("gateway/**/*.h", "client/**/*.h", "client/python/**/*.py")
DOCUMENT_TOKENS = 3_900
CHARACTERS_A_TOKEN_MAX = 8  # on average
QUESTIONS = (
    "What does this document promise, and who must keep that promise?",
    "Which limits does it name, and what happens above them?",
    "And what should an operator watch for, given that answer?",
)


@dataclass
class Conversation:
    name: str
    opening: list[int]  # document and first question
    other: list[int]  # document and another question
    follow_up: list[int]  # what the second turn adds after the first answer


def corpus() -> str:
    files: list[Path] = []
    for pattern in SOURCES + SOURCES_MORE:
        files += [f for f in sorted(REPOSITORY.glob(pattern)) if f not in files]
    return "\n".join(file.read_text(errors="replace") for file in files)


def conversations(tokenizer: Any, count: int) -> list[Conversation]:
    text = corpus()
    stride = len(text) // count
    made = []
    for number in range(count):
        part = f"Document {number}.\n" + text[number * stride : (number + 1) * stride]
        document = tokenizer.encode(part[: DOCUMENT_TOKENS * CHARACTERS_A_TOKEN_MAX])[
            :DOCUMENT_TOKENS
        ]
        if len(document) < DOCUMENT_TOKENS:
            raise ValueError(
                f"{count} documents of {DOCUMENT_TOKENS} tokens: the text is too short"
            )
        first, other, more = (
            tokenizer.encode(f"\n\nQuestion: {question}\nAnswer:") for question in QUESTIONS
        )
        made.append(Conversation(f"document {number}", document + first, document + other, more))
    return made
