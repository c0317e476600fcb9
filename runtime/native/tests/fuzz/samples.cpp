// SPDX-License-Identifier: Apache-2.0
#include "input.h"

namespace m3e::fuzz {
namespace {

const char* const kModels[] = {
    R"({"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##",
        "max_input_chars_per_word":100,"vocab":{"[PAD]":0,"[UNK]":1,"[CLS]":2,"[SEP]":3,"a":4,"b":5,
        "ab":6,"##a":7,"##b":8,"##ab":9,"##aba":10,"\u4e2d":11,"##\u6587":12,"e\u0301":13,"'":14}})",
    // Ids with gaps.
    R"({"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##",
        "max_input_chars_per_word":8,"vocab":{"[UNK]":100,"[CLS]":101,"[SEP]":102,"a":7,"##a":2000,
        "b":2147483646,"##b":0}})",
    R"({"type":"WordLevel","unk_token":"[UNK]","vocab":{"[UNK]":0,"a":1,"b":2,"A":9,"\u0120a":5,
        "\u2581":3,"don":4}})",
    R"({"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":"",
        "end_of_word_suffix":"","fuse_unk":false,"byte_fallback":false,"ignore_merges":false,
        "vocab":{"a":0,"b":1,"c":2,"\u0120":3,"ab":4,"abc":5,"\u0120a":6,"aba":7,"cc":8,"cccc":9},
        "merges":["a b","ab c","c c","cc cc"]})",
    R"({"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,
        "end_of_word_suffix":null,"fuse_unk":true,"byte_fallback":true,"ignore_merges":true,
        "vocab":{"<unk>":0,"a":1,"b":2,"\u2581":3,"ab":4,"\u2581ab":5,"aa":6,"aaaa":7,"<0xE4>":8,
        "<0xB8>":9,"<0xAD>":10,"<0x00>":11},
        "merges":[["a","b"],["\u2581","ab"],["a","a"],["aa","aa"]]})",
    R"({"type":"BPE","dropout":0.0,"unk_token":"<unk>","continuing_subword_prefix":"##",
        "end_of_word_suffix":"</w>","fuse_unk":true,"vocab":{"<unk>":0,"a":1,"##a":2,"##b":3,"ab":4,
        "a</w>":5,"##b</w>":6,"ab</w>":7},"merges":["a ##b","a ##b</w>"]})",
    R"({"type":"Unigram","unk_id":0,"byte_fallback":false,"vocab":[["<unk>",0.0],["<s>",0.0],
        ["</s>",0.0],["\u2581",-2.5],["a",-3.0],["b",-3.5],["ab",-4.0],["\u2581a",-4.0],
        ["aba",-5.5],["\u4e2d",-6.0],["aaaaaaaa",-1e3],["e\u0301",-1.0]]})",
    R"({"type":"Unigram","unk_id":null,"byte_fallback":true,"vocab":[["a",-1],["<0xE4>",-2],
        ["<0xB8>",-2],["<0xAD>",-2],["\u2581",-1e308],["b",1e308]]})",
    R"({"vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]})"};

const char* const kNormalizers[] = {
    "null",
    R"({"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,
        "strip_accents":null,"lowercase":true})",
    R"({"type":"BertNormalizer","clean_text":false,"handle_chinese_chars":false,
        "strip_accents":true,"lowercase":false})",
    R"({"type":"NFC"})",
    R"({"type":"NFD"})",
    R"({"type":"NFKC"})",
    R"({"type":"NFKD"})",
    R"({"type":"Nmt"})",
    R"({"type":"Lowercase"})",
    R"({"type":"StripAccents"})",
    R"({"type":"ByteLevel"})",
    R"({"type":"Strip","strip_left":true,"strip_right":true})",
    R"({"type":"Prepend","prepend":"\u2581"})",
    R"({"type":"Replace","pattern":{"String":" "},"content":"\u2581"})",
    R"({"type":"Replace","pattern":{"String":"a"},"content":"aaaaaaaa"})",
    R"({"type":"Replace","pattern":{"Regex":" {2,}"},"content":" "})",
    R"({"type":"Replace","pattern":{"Regex":"\\s+"},"content":""})",
    R"({"type":"Replace","pattern":{"Regex":"\\s{2,}|[\\n\\r\\t]"},"content":" "})",
    R"({"type":"Replace","pattern":{"Regex":"\\A +| +\\z"},"content":""})",
    R"({"type":"Replace","pattern":{"Regex":"^\u2581+$"},"content":"\n"})",
};

const char* const kPreTokenizers[] = {
    "null",
    R"({"type":"BertPreTokenizer"})",
    R"({"type":"Whitespace"})",
    R"({"type":"WhitespaceSplit"})",
    R"({"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true})",
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false})",
    R"({"type":"Metaspace","replacement":"\u2581","prepend_scheme":"always","split":true})",
    R"({"type":"Metaspace","replacement":"\u2581","prepend_scheme":"first","split":false})",
    R"({"type":"Metaspace","replacement":"\u2581","add_prefix_space":true})",
    R"({"type":"Punctuation","behavior":"Isolated"})",
    R"({"type":"Punctuation","behavior":"MergedWithNext"})",
    R"({"type":"Digits","individual_digits":true})",
    R"({"type":"CharDelimiterSplit","delimiter":" "})",
    R"({"type":"Split","pattern":{"String":"a"},"behavior":"Removed","invert":false})",
    R"({"type":"Split","pattern":{"String":" "},"behavior":"MergedWithPrevious","invert":true})",
    R"({"type":"Split","pattern":{"Regex":"\\s+"},"behavior":"Contiguous","invert":false})",
    R"({"type":"Split","pattern":{"Regex":"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
        "behavior":"Isolated","invert":false})",
};

const char* const kPostProcessors[] = {
    "null",
    R"({"type":"BertProcessing","sep":["[SEP]",3],"cls":["[CLS]",2]})",
    R"({"type":"RobertaProcessing","sep":["</s>",2],"cls":["<s>",1],"trim_offsets":true,
        "add_prefix_space":false})",
    R"({"type":"ByteLevel","add_prefix_space":true,"trim_offsets":false,"use_regex":true})",
    R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},
        {"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"</s>","type_id":0}}],
        "pair":[],"special_tokens":{"<s>":{"id":"<s>","ids":[1,5],"tokens":["<s>","x"]},
        "</s>":{"id":"</s>","ids":[70000],"tokens":["</s>"]}}})",
    R"({"type":"TemplateProcessing","single":[{"Sequence":{"id":"A","type_id":0}}],
        "pair":[{"SpecialToken":{"id":"<s>","type_id":2}},{"Sequence":{"id":"B","type_id":1}},
        {"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
        "special_tokens":{"<s>":{"id":"<s>","ids":[1,5],"tokens":["<s>","x"]}}})",
};

const char* const kAddedTokens[] = {
    "[]",
    R"([{"id":1,"content":"[UNK]","single_word":false,"lstrip":false,"rstrip":false,
         "normalized":false,"special":true},
        {"id":2,"content":"[CLS]","single_word":false,"lstrip":false,"rstrip":false,
         "normalized":false,"special":true}])",
    R"([{"id":50,"content":"<mask>","single_word":false,"lstrip":true,"rstrip":false,
         "normalized":false,"special":true},
        {"id":51,"content":"<s>","single_word":false,"lstrip":false,"rstrip":true,
         "normalized":false,"special":true}])",
    R"([{"id":9,"content":"don","single_word":true,"lstrip":false,"rstrip":false,
         "normalized":true,"special":false},
        {"id":10,"content":"AB","single_word":false,"lstrip":true,"rstrip":true,
         "normalized":true,"special":false},
        {"id":11,"content":"a","single_word":true,"lstrip":false,"rstrip":false,
         "normalized":false,"special":false}])",
};

const char* const kManifests[] = {
    R"({"schema_version":1,"exporter":"m3e-runtime 0.1.0","source":{"id":"model",
        "weights_sha256":"00","model_type":"bert","hub":null,"revision":"main"},
        "licence":"apache-2.0","dimension":4,"pooling":"mean","normalize":true,"truncate_dim":2,
        "tokenization":{"file":{"path":"tokenizer.json","size":10,"sha256":"00"},"max_length":256,
        "pad_token_id":0},"similarity":"cosine","prompts":{"query":"query: ","passage":""},
        "default_prompt_name":"query","include_prompt":true,
        "route":{"name":"a","tasks":{"query":"a","passage":"b"},"default":"a"},
        "artifacts":[{"name":"int8-native","format":"native","dialect":null,"precision":"int8",
        "target":"native","batch_invariant":true,"requires":{"native":"3"},
        "files":[{"path":"native/model.safetensors","size":7,"sha256":"00"}],
        "fidelity":{"oracle":"torch","texts":256,"mean_cosine":1.0,"p1_cosine":1.0,"min_cosine":1.0,
        "max_abs_difference":2.38e-07,"overlap_at_10":1.0,"spearman":1.0,
        "thresholds":{"mean_cosine":0.0,"min_cosine":0.99},"enforced":true,"of":"artifact"},
        "layout":"padded","mix":{"float32":24},"kept":["a"]}],
        "golden":{"texts":["a"],"vectors":"AAAAAAAAAAA=","prompt":""},
        "files":[{"path":"README.md","size":1,"sha256":"00"}]})",
    R"({"schema_version":1,"exporter":"m3e-runtime 0.1.0","source":{"id":"model",
        "weights_sha256":"00","model_type":"bert"},"licence":"apache-2.0","dimension":2,
        "pooling":"cls","normalize":false,"tokenization":{"file":{"path":"tokenizer.json","size":10,
        "sha256":"00"},"max_length":256,"pad_token_id":0},"similarity":"cosine","prompts":{},
        "default_prompt_name":null,"classification":{"labels":["no","yes"],"activation":"sigmoid",
        "token_types":true},"artifacts":[{"name":"int8-native","format":"native","dialect":null,
        "precision":"int8","target":"native","batch_invariant":true,"requires":{"native":"3"},
        "files":[{"path":"native/model.safetensors","size":7,"sha256":"00"}],"fidelity":null,
        "score_fidelity":{"oracle":"torch","groups":2,"pairs":9,"mean_difference":0.01,
        "max_difference":0.5,"order_kept":0.99,"ndcg_at_10":1.0,"thresholds":{"max_difference":null,
        "order_kept":0.95},"enforced":true}}],
        "golden":{"texts":["a"],"passages":["b"],"vectors":"AAAAAAAAAAA="}})"};

template <size_t count>
std::string one(const char* const (&all)[count], Chance& chance) {
  return all[chance.below(count)];
}

std::string base64(const std::string& bytes) {
  constexpr char kLetters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t at = 0; at < bytes.size(); at += 3) {
    uint32_t group = 0;
    for (size_t i = 0; i < 3; ++i) {
      group = group << 8 | (at + i < bytes.size() ? static_cast<uint8_t>(bytes[at + i]) : 0u);
    }
    for (size_t i = 0; i < 4; ++i) {
      text += at + i > bytes.size() ? '=' : kLetters[group >> (18 - 6 * i) & 63];
    }
  }
  return text;
}

void append_unit(std::string& bytes, uint32_t unit) {
  for (int i = 0; i < 4; ++i) bytes += static_cast<char>(unit >> 8 * i);
}

// A map of characters whose trie leads anywhere. Most units of such a trie hold the label by which
// they are reached.
std::string random_map(Chance& chance) {
  const size_t units = 256u << chance.below(3);
  std::string bytes;
  append_unit(bytes, static_cast<uint32_t>(chance.one_in(50) ? chance.below(1 << 20) : 4 * units));
  for (size_t place = 0; place < units; ++place) {
    const auto label = static_cast<uint32_t>(chance.one_in(3) ? chance.below(256) : place & 0xFF);
    const auto offset = static_cast<uint32_t>(chance.below(units));
    const uint32_t flags = chance.one_in(4) ? 1u << 8 : 0;
    append_unit(bytes, chance.one_in(4) ? offset : offset << 10 | flags | label);
  }
  for (size_t i = chance.below(512); i > 0; --i) bytes += "ab \0"[chance.below(4)];
  if (chance.one_in(8)) bytes += "\xE2\x96\x81";
  return R"({"type":"Precompiled","precompiled_charsmap":")" + base64(bytes) + "\"}";
}

std::string one_normalizer(Chance& chance) {
  return chance.one_in(6) ? random_map(chance) : one(kNormalizers, chance);
}

// One part, or a sequence of some.
template <class One>
std::string part(const char* type, const char* member, One make, Chance& chance) {
  if (!chance.one_in(4)) return make();
  std::string parts;
  for (size_t i = chance.below(5); i > 0; --i) {
    const std::string made = make();
    if (made != "null") parts += (parts.empty() ? "" : ",") + made;
  }
  return std::string(R"({"type":")") + type + "\",\"" + member + "\":[" + parts + "]}";
}

}  // namespace

std::string assemble_tokenizer(Chance& chance) {
  const auto normalizer = [&] { return one_normalizer(chance); };
  const auto pre_tokenizer = [&] { return one(kPreTokenizers, chance); };
  const auto post_processor = [&] { return one(kPostProcessors, chance); };
  return R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":)" +
         one(kAddedTokens, chance) +
         ",\"normalizer\":" + part("Sequence", "normalizers", normalizer, chance) +
         ",\"pre_tokenizer\":" + part("Sequence", "pretokenizers", pre_tokenizer, chance) +
         ",\"post_processor\":" + part("Sequence", "processors", post_processor, chance) +
         ",\"decoder\":null,\"model\":" + one(kModels, chance) + "}";
}

std::string manifest(Chance& chance) { return one(kManifests, chance); }

}  // namespace m3e::fuzz
