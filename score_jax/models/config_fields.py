"""Which fields of a config.json are read, harmless, or refused.

The list is closed: transformers ignores fields that its model class does not
know, but what a file says of its model has to be what is computed. So a field
that is not listed here is refused, unless it is null.

Sources: the config classes of transformers 4.57 and 5.24 for the families, and
published config.json files.
"""

import re

from score_jax.models import config_values

_READ = frozenset((
    'architectures', 'model_type', 'vocab_size', 'hidden_size',
    'intermediate_size', 'num_hidden_layers', 'num_attention_heads',
    'num_key_value_heads', 'head_dim', 'rms_norm_eps', 'tie_word_embeddings',
    'max_position_embeddings', 'hidden_act', 'hidden_activation',
    'layer_types', 'rope_theta', 'rope_scaling', 'rope_parameters',
    'original_max_position_embeddings'))
_READ_BY = {
    'llama': frozenset(),
    'qwen2': frozenset(),
    'qwen3': frozenset(),
    'gemma2': frozenset((
        'sliding_window', 'query_pre_attn_scalar', 'attn_logit_softcapping',
        'final_logit_softcapping', 'sliding_window_pattern',
        '_sliding_window_pattern')),
}
_READ_BY['gemma3'] = _READ_BY['gemma2'] | {'rope_local_base_freq'}

_FIXED = {
    'attention_bias': (False,), 'mlp_bias': (False,),
    'use_sliding_window': (False,), 'use_bidirectional_attention': (False,),
    'partial_rotary_factor': (1.0, 1), 'rope_interleaved': (False,),
    'use_mrope': (False,), 'per_layer_config': ({},),
    'activation': ('swiglu', 'silu'), 'add_cross_attention': (False,),
    'is_encoder_decoder': (False,), 'tie_encoder_decoder': (False,),
    'pruned_heads': ({},), 'chunk_size_feed_forward': (0,),
}
"""Fields that may have these values only, by name; null is allowed, too."""

_QWEN = frozenset((
    # Without `use_sliding_window` no layer has the window.
    'sliding_window', 'max_window_layers'))
_HARMLESS_BY = {'qwen2': _QWEN, 'qwen3': _QWEN, 'llama': frozenset((
    'max_window_layers', 'is_llama_config'))}

_HARMLESS = frozenset((
    # Of the file, its tools and where it comes from.
    'transformers_version', 'transformers.js_config', '_name_or_path',
    'name_or_path', '_commit_hash', 'auto_map', 'torch_dtype', 'dtype',
    'use_cache', 'cache_implementation', 'attn_implementation',
    'experts_implementation', '_attn_implementation',
    '_attn_implementation_internal', '_attn_implementation_autoset',
    '_experts_implementation', '_experts_implementation_internal',
    '_flash_attn_2_enabled', 'use_flash_attn', 'use_flash_attention_2',
    'gradient_checkpointing', 'unsloth_fixed', 'unsloth_version',
    'unsloth_tied_weights', 'model_name', 'license',
    # How many products a matrix is cut into.
    'pretraining_tp',
    # Lengths that only tokenizers and servers heed.
    'max_sequence_length', 'model_max_length', 'tokenizer_model_max_length',
    'tokenizer_padding_side', 'tokenizer_class', 'tokenizer_name',
    'prefix', 'seq_length',
    # Of training: initial values, noise and dropout, which is never applied.
    'initializer_range', 'initializer_factor', 'neftune_noise_alpha',
    'attention_dropout', 'hidden_dropout', 'embd_pdrop', 'resid_pdrop',
    'attn_pdrop', 'attention_probs_dropout_prob', 'hidden_dropout_prob',
    'classifier_dropout', 'ignore_index',
    # Of another norm than the one these models have.
    'layer_norm_eps', 'layer_norm_epsilon',
    # Of what else transformers returns or could do with the model.
    'return_dict', 'use_return_dict', 'output_hidden_states',
    'output_attentions', 'torchscript', 'use_bfloat16', 'tf_legacy_loss',
    'is_decoder', 'cross_attention_hidden_size', 'finetuning_task',
    'id2label', 'label2id', 'num_labels', 'problem_type',
    'task_specific_params', 'tie_last_hidden_states',
    # Of generation, which configurations of runs decide.
    'max_length', 'max_new_tokens', 'min_length', 'do_sample',
    'early_stopping', 'num_beams', 'num_beam_groups', 'diversity_penalty',
    'temperature', 'top_k', 'top_p', 'min_p', 'typical_p',
    'repetition_penalty', 'length_penalty', 'no_repeat_ngram_size',
    'encoder_no_repeat_ngram_size', 'encoder_repetition_penalty',
    'bad_words_ids', 'num_return_sequences', 'output_scores',
    'return_dict_in_generate', 'remove_invalid_values',
    'exponential_decay_length_penalty', 'suppress_tokens',
    'begin_suppress_tokens', 'epsilon_cutoff', 'eta_cutoff',
    'num_assistant_tokens', 'num_assistant_tokens_schedule',
    'assistant_confidence_threshold', 'assistant_lookbehind',
    'target_lookbehind', 'low_memory', 'penalty_alpha', 'guidance_scale',
    'trust_remote_code'))

# Ids and names of tokens, which the tokenizer decides.
_TOKENS = re.compile(r'\w+_token(_id|_ids|_index)?')

_OUTER = frozenset((
    'text_config', 'vision_config', 'mm_tokens_per_image', 'architectures',
    'model_type', 'tie_word_embeddings', 'vocab_size'))
"""Fields around a text model that is part of a multimodal one."""


def check(values: config_values.Values):
  """Raise a ValueError for a field that may change what is computed.

  Args:
    values: the fields of a text model.
  """
  known = _READ | _READ_BY[values.family] | _HARMLESS_BY.get(
      values.family, frozenset())
  for name in values.names:
    if name not in known:
      _check_field(values, name)


def check_outer(values: dict, where: str, family: str):
  """Raise a ValueError for such a field next to `text_config`.

  What `text_config` has, too, is read there.

  Args:
    values: the whole contents of a multimodal config.json.
    where: its path, for messages.
    family: of its text model.
  """
  outer = config_values.Values(values, {}, where, family)
  text = values['text_config']
  for name in outer.names:
    is_same = name in text and text[name] == values[name]
    if name not in _OUTER and not is_same:
      _check_field(outer, name)


def _check_field(values, name):
  value = values.get(name)
  if value is None or name in _HARMLESS or _TOKENS.fullmatch(name):
    return
  text = f'{name}={config_values.short(value)}'
  if name not in _FIXED:
    raise ValueError(
        f'{values.where}: the field {text} is unknown for the family '
        f'{values.family}, and may change what the model computes; remove it '
        'if it does not')
  if not any(type(value) is type(allowed) and value == allowed
             for allowed in _FIXED[name]):
    values.refuse(text)
