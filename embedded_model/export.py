"""Export a checkpoint to the GGUF file that llama.cpp serves."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType
from numpy.typing import NDArray

from embedded_model import checkpoint
from embedded_model.model import Pebble, Shape
from embedded_model.shipped import LIMIT, SHIPPED
from embedded_model.text.prompts import ASSISTANT, BOS, END, SPECIALS, SYSTEM, USER
from embedded_model.tokenizer import PRE

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    f"{{% if message['role'] == 'system' %}}{SYSTEM}{{% elif message['role'] == 'user' %}}{USER}"
    f"{{% else %}}{ASSISTANT}{{% endif %}}"
    f"{{{{ message['content'] }}}}{END}"
    f"{{% endfor %}}{{% if add_generation_prompt %}}{ASSISTANT}{{% endif %}}"
)


def permuted(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of q or k for llama.cpp, which rotates neighbours where our model rotates halves.

    Without this the file loads, but the model generates nonsense.
    """
    rows, columns = weight.shape
    return weight.view(heads, 2, rows // heads // 2, columns).transpose(1, 2).reshape(rows, columns)


def tensors(model: Pebble) -> dict[str, torch.Tensor]:
    """The weights by llama.cpp's names; the output is left out, it shares the embedding."""
    shape = model.shape
    named = {"token_embd.weight": model.embedding.weight, "output_norm.weight": model.norm.weight}
    ours = dict(model.named_parameters())
    for i in range(shape.layers):
        block = {
            part: ours[f"blocks.{i}.{part}.weight"]
            for part in (
                "attention_norm",
                "attention.q",
                "attention.k",
                "attention.v",
                "attention.o",
                "feed_norm",
                "feed.gate",
                "feed.up",
                "feed.down",
            )
        }
        named |= {
            f"blk.{i}.attn_norm.weight": block["attention_norm"],
            f"blk.{i}.attn_q.weight": permuted(block["attention.q"], shape.heads),
            f"blk.{i}.attn_k.weight": permuted(block["attention.k"], shape.key_heads),
            f"blk.{i}.attn_v.weight": block["attention.v"],
            f"blk.{i}.attn_output.weight": block["attention.o"],
            f"blk.{i}.ffn_norm.weight": block["feed_norm"],
            f"blk.{i}.ffn_gate.weight": block["feed.gate"],
            f"blk.{i}.ffn_up.weight": block["feed.up"],
            f"blk.{i}.ffn_down.weight": block["feed.down"],
        }
    return {name: tensor.detach() for name, tensor in named.items()}


def describe(writer: GGUFWriter, shape: Shape, tokenizer: Path) -> None:
    """All metadata: sizes, tokenizer, chat template, licence."""
    writer.add_name("Pebble")
    writer.add_description("A small demonstration model, trained from scratch on generated text.")
    writer.add_license("Apache-2.0")
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.key_heads)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_vocab_size(shape.vocabulary)
    model = json.loads(tokenizer.read_text("utf-8"))["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE)
    writer.add_token_list(tokens)
    writer.add_token_types(
        [TokenType.CONTROL if t in SPECIALS else TokenType.NORMAL for t in tokens]
    )
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in model["merges"]])
    writer.add_bos_token_id(tokens.index(BOS))
    writer.add_eos_token_id(tokens.index(END))
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def export(source: Path, tokenizer: Path, out: Path, f32: bool = False) -> str:
    """Write the GGUF and its SHA-256 beside it; returns the checksum."""
    model, _ = checkpoint.load(source)
    writer = GGUFWriter(str(out), "llama")
    describe(writer, model.shape, tokenizer)
    for name, tensor in tensors(model).items():
        small = tensor.ndim == 1 or f32
        array: NDArray[np.generic] = tensor.float().contiguous().numpy()
        kind = GGMLQuantizationType.F32 if small else GGMLQuantizationType.F16
        writer.add_tensor(name, array if small else array.astype(np.float16), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    out.with_name(out.name + ".sha256").write_text(f"{digest}  {out.name}\n", "ascii")
    return digest


def main() -> None:
    """python -m embedded_model.export"""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("build/pebble"),
        help="folder with tokenizer and checkpoint",
    )
    parser.add_argument("--out", type=Path, default=SHIPPED)
    parser.add_argument("--f32", action="store_true", help="F32 instead of F16, for comparisons")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    digest = export(
        options.folder / "pebble.pt", options.folder / "tokenizer.json", options.out, options.f32
    )
    size = options.out.stat().st_size
    print(f"{options.out}: {size} bytes, sha256 {digest}")
    if size > LIMIT and not options.f32:
        raise SystemExit(f"larger than {LIMIT} bytes")


if __name__ == "__main__":
    main()
