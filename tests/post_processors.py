"""Post-processors of a tokenizer.json, whose special tokens are words of small vocabularies."""

__all__ = ["BERT", "BYTE_LEVEL", "POST_PROCESSORS", "ROBERTA", "TEMPLATE"]

TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [
        {"SpecialToken": {"id": "[X]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "[Y]", "type_id": 0}},
        {"SpecialToken": {"id": "[X]", "type_id": 0}},
    ],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
    "special_tokens": {
        "[X]": {"id": "[X]", "ids": [7, 8], "tokens": ["x", "x"]},
        "[Y]": {"id": "[Y]", "ids": [9], "tokens": ["y"]},
    },
}
BERT = {"type": "BertProcessing", "sep": ["b", 2], "cls": ["a", 1]}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
ROBERTA = {
    "type": "RobertaProcessing",
    "sep": ["b", 2],
    "cls": ["a", 1],
    "trim_offsets": True,
    "add_prefix_space": True,
}
POST_PROCESSORS = [
    None,
    BERT,
    ROBERTA,
    TEMPLATE,
    BYTE_LEVEL,
    {"type": "Sequence", "processors": [BYTE_LEVEL, TEMPLATE]},
    {"type": "Sequence", "processors": [TEMPLATE, BYTE_LEVEL]},
]
