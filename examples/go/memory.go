package m3e

// #include <stdlib.h>
// #include <m3e.h>
import "C"

import (
	"strings"
	"unsafe"
)

// cStrings holds copies of strings that end with a zero byte.
type cStrings struct {
	copies []*C.char
	err    error
}

func (s *cStrings) add(text string) *C.char {
	if strings.IndexByte(text, 0) >= 0 {
		s.err = &Error{StatusArgument, "a path, a name or a prompt contains a zero byte"}
		return nil
	}
	pointer := C.CString(text)
	s.copies = append(s.copies, pointer)
	return pointer
}

// optional gives NULL for the empty string.
func (s *cStrings) optional(text string) *C.char {
	if text == "" {
		return nil
	}
	return s.add(text)
}

func (s *cStrings) free() {
	for _, pointer := range s.copies {
		C.free(unsafe.Pointer(pointer))
	}
}

// cTexts holds copies of texts outside Go's heap, as C may not read pointers to pointers into it.
type cTexts struct {
	pointers **C.char
	lengths  *C.size_t
	bytes    unsafe.Pointer
}

func newCTexts(texts []string) cTexts {
	total := 0
	for _, text := range texts {
		total += len(text)
	}
	count := len(texts)
	// One entry more, as C's malloc(0) may give NULL.
	c := cTexts{
		pointers: (**C.char)(C.malloc(C.size_t(count+1) * C.size_t(unsafe.Sizeof((*C.char)(nil))))),
		lengths:  (*C.size_t)(C.malloc(C.size_t(count+1) * C.sizeof_size_t)),
		bytes:    C.malloc(C.size_t(total + 1)),
	}
	pointers, lengths := unsafe.Slice(c.pointers, count), unsafe.Slice(c.lengths, count)
	bytes, offset := unsafe.Slice((*byte)(c.bytes), total), 0
	for i, text := range texts {
		copy(bytes[offset:], text)
		pointers[i] = (*C.char)(unsafe.Add(c.bytes, offset))
		lengths[i] = C.size_t(len(text))
		offset += len(text)
	}
	return c
}

func (c cTexts) free() {
	C.free(unsafe.Pointer(c.pointers))
	C.free(unsafe.Pointer(c.lengths))
	C.free(c.bytes)
}
