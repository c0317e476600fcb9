// Package m3e turns texts into vectors with the C library of m3e-runtime.
package m3e

/*
#cgo LDFLAGS: -lm3e
#include <m3e.h>
*/
import "C"

import (
	"errors"
	"sync"
	"unsafe"
)

// Options says how to open a bundle. The zero value is what most programs want.
type Options struct {
	Threads          int32  // Most threads that one call uses; 0 means 1.
	Artifact         string // An artifact of the bundle; empty means the fastest on this processor.
	SkipVerification bool   // Do not compare SHA-256 sums.
}

// EncodeOptions says what Encode does. The zero value takes the defaults of the bundle.
type EncodeOptions struct {
	PromptName  string  // A prompt of the bundle.
	Prompt      *string // Text before each text; takes precedence over PromptName.
	TruncateDim int32   // Leading dimensions to keep.
	Normalize   bool    // Scale each vector to unit length.
}

// Embeddings holds one vector for each text, and how many tokens were cut off the text.
type Embeddings struct {
	Vectors [][]float32
	Cut     []int64
}

// Model is an open bundle. Several goroutines may use it at once.
type Model struct {
	lock   sync.RWMutex // Held for reading while the library uses the handle.
	handle *C.m3e_model
}

// ErrClosed is the error of a call after Close.
var ErrClosed = errors.New("m3e: the model is closed")

// Open opens the bundle in the folder path.
func Open(path string, options Options) (*Model, error) {
	var copies cStrings
	defer copies.free()
	var message message
	cOptions := C.m3e_options{
		threads:  C.int32_t(options.Threads),
		artifact: copies.optional(options.Artifact),
	}
	cOptions.size = C.size_t(unsafe.Sizeof(cOptions))
	if options.SkipVerification {
		cOptions.skip_verification = 1
	}
	cPath := copies.add(path)
	if copies.err != nil {
		return nil, copies.err
	}
	model := &Model{}
	status := C.m3e_open(cPath, &cOptions, &model.handle, message.buffer())
	if status != C.M3E_OK {
		return nil, message.err(status)
	}
	return model, nil
}

// Close frees the model after the calls that still use it. It may be called more than once.
func (m *Model) Close() error {
	m.lock.Lock()
	defer m.lock.Unlock()
	C.m3e_close(m.handle)
	m.handle = nil
	return nil
}

// Encode turns texts into vectors, in the order of the texts.
func (m *Model) Encode(texts []string, options EncodeOptions) (*Embeddings, error) {
	m.lock.RLock()
	defer m.lock.RUnlock()
	if m.handle == nil {
		return nil, ErrClosed
	}
	var copies cStrings
	defer copies.free()
	embedding := options.toC(&copies)
	if copies.err != nil {
		return nil, copies.err
	}
	cTexts := newCTexts(texts)
	defer cTexts.free()
	dimension := int(C.m3e_vector_size(m.handle, &embedding)) / 4
	// One entry more, so that there is a first one to point at.
	floats := make([]float32, len(texts)*dimension+1)
	cut := make([]int64, len(texts)+1)
	var message message
	status := C.m3e_embed(m.handle, cTexts.pointers, cTexts.lengths, C.size_t(len(texts)), &embedding,
		unsafe.Pointer(&floats[0]), (*C.int64_t)(&cut[0]), message.buffer())
	if status != C.M3E_OK {
		return nil, message.err(status)
	}
	return &Embeddings{rows(floats, len(texts), dimension), cut[:len(texts)]}, nil
}

// Dimension is the length of a vector if EncodeOptions does not shorten it, or 0 after Close.
func (m *Model) Dimension() int {
	m.lock.RLock()
	defer m.lock.RUnlock()
	if m.handle == nil {
		return 0
	}
	return int(C.m3e_model_dimension(m.handle))
}

// Artifact is the name of the artifact that computes, or empty after Close.
func (m *Model) Artifact() string {
	m.lock.RLock()
	defer m.lock.RUnlock()
	if m.handle == nil {
		return ""
	}
	return C.GoString(C.m3e_model_artifact(m.handle))
}

func (o EncodeOptions) toC(copies *cStrings) C.m3e_embedding {
	embedding := C.m3e_embedding{
		prompt_name:  copies.optional(o.PromptName),
		truncate_dim: C.int32_t(o.TruncateDim),
		output:       C.M3E_FLOAT32,
	}
	embedding.size = C.size_t(unsafe.Sizeof(embedding))
	if o.Prompt != nil {
		embedding.prompt = copies.add(*o.Prompt)
	}
	if o.Normalize {
		embedding.normalize = 1
	}
	return embedding
}

func rows(floats []float32, count, dimension int) [][]float32 {
	vectors := make([][]float32, count)
	for i := range vectors {
		vectors[i] = floats[i*dimension : (i+1)*dimension : (i+1)*dimension]
	}
	return vectors
}
