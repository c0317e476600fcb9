// SPDX-License-Identifier: Apache-2.0
#include "unicode_tables.h"

namespace m3e::unicode {

#include "unicode_tables.inc"

static_assert(kDecompositionEnd == sizeof(kDecompositionNumberBlocks) << 7);
static_assert(kCompositionCount * 12 == sizeof(kCompositions));

}  // namespace m3e::unicode
