# SPDX-License-Identifier: Apache-2.0
"""Random Llamas with a tokenizer, made offline: what the engine tests and the demo run.

    python models.py tiny DIR     2 layers, hidden 64: starts in seconds, 4 KiB of KV a layer block
    python models.py hybrid DIR   4 such layers, every other one with a window of 64 tokens
    python models.py demo DIR     16 layers, hidden 1024: 512 KiB of KV a block of 32 tokens
Deterministic: the same weights each time. Random weights compute as much as trained ones.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "vocab_size": 512,
        "initializer_range": 0.3,
    },
    "hybrid": {  # of layers of two kinds
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "vocab_size": 512,
        "initializer_range": 0.3,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "sliding_window": 64,
    },
    "demo": {
        "hidden_size": 1024,
        "intermediate_size": 2816,
        "num_hidden_layers": 16,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "head_dim": 64,
        "vocab_size": 4096,
        "initializer_range": 0.05,
    },
}
POSITIONS_MAX = 8192


def make_model(folder: str | Path, shape: str, text: list[str], seed: int = 0) -> None:
    """Writes config, weights and a byte-level BPE tokenizer trained on `text`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    make_tokenizer(folder, text, SHAPES[shape]["vocab_size"])
    torch.manual_seed(seed)
    config = LlamaConfig(
        max_position_embeddings=POSITIONS_MAX,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
        **SHAPES[shape],
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder, safe_serialization=True)


def make_tokenizer(folder: str | Path, text: list[str], vocab_size: int) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<unk>", "<s>", "</s>"],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(text, trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=POSITIONS_MAX,
    ).save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", choices=sorted(SHAPES))
    parser.add_argument("folder")
    args = parser.parse_args()
    make_model(args.folder, args.shape, [Path(__file__).read_text()])


if __name__ == "__main__":
    main()
