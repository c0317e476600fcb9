"""fp16 and int8: which weights are stored in which format, and how they are rounded.

Read in this order: :mod:`plan` (the format of every weight), :mod:`int8` (a matrix in int8), :mod:`rounding`
(where a float becomes a code), :mod:`activations` (how engines quantize the inputs of a matrix),
:mod:`input_sample` and :mod:`calibration` (samples of these inputs), :mod:`smoothing` (moving outliers into
the weights), :mod:`search` (which matrices, and how much smoothing). :mod:`embeddings` stores the word
embeddings; :mod:`half` finds what fp16 cannot hold.
"""
