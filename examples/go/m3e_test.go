package m3e_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"m3e.example/m3e"
)

type manifest struct {
	Artifacts []struct{ Name, Format, Precision string }
	Golden    struct {
		Texts   []string
		Vectors []byte // encoding/json decodes base64.
		Prompt  string
	}
}

func TestGoldenVectors(t *testing.T) {
	described := readManifest(t)
	golden := described.Golden
	for _, artifact := range described.Artifacts {
		if artifact.Format != "native" {
			continue
		}
		t.Run(artifact.Name, func(t *testing.T) {
			model := open(t, m3e.Options{Artifact: artifact.Name, Threads: 2})
			found := encode(t, model, golden.Texts, m3e.EncodeOptions{Prompt: &golden.Prompt})
			if model.Artifact() != artifact.Name {
				t.Errorf("computes with %s", model.Artifact())
			}
			vectors := unpack(golden.Vectors, model.Dimension())
			if len(vectors) != len(golden.Texts) || len(vectors) == 0 {
				t.Fatalf("%d vectors for %d texts", len(vectors), len(golden.Texts))
			}
			for i, expected := range vectors {
				if got := cosine(found.Vectors[i], expected); !(got >= leastCosine(artifact.Precision)) {
					t.Errorf("golden text %d: cosine %f", i, got)
				}
			}
		})
	}
}

func TestZeroByteAndCharactersBeyondTheBasicPlaneCount(t *testing.T) {
	texts := []string{"morning", "morning\x00 train", "morning 😀𠮷"}
	found := encode(t, open(t, m3e.Options{}), texts, m3e.EncodeOptions{})
	for i := range texts[1:] {
		if cosine(found.Vectors[0], found.Vectors[i+1]) > 0.999 {
			t.Errorf("text %d has the vector of its first word", i+1)
		}
	}
}

func TestOptionsAndCutTokens(t *testing.T) {
	texts := []string{"short", strings.Repeat("long ", 10000)}
	found := encode(t, open(t, m3e.Options{}), texts, m3e.EncodeOptions{TruncateDim: 32, Normalize: true})
	if len(found.Vectors[1]) != 32 || math.Abs(length(found.Vectors[1])-1) > 1e-5 {
		t.Errorf("%d dimensions, length %f", len(found.Vectors[1]), length(found.Vectors[1]))
	}
	if found.Cut[0] != 0 || found.Cut[1] < 5000 {
		t.Errorf("tokens cut: %v", found.Cut)
	}
}

func TestNoTexts(t *testing.T) {
	if found := encode(t, open(t, m3e.Options{}), nil, m3e.EncodeOptions{}); len(found.Vectors) != 0 {
		t.Errorf("%d vectors", len(found.Vectors))
	}
}

func TestGoroutinesShareAModel(t *testing.T) {
	model := open(t, m3e.Options{})
	texts := []string{"one text", "another text"}
	expected := encode(t, model, texts, m3e.EncodeOptions{})
	var group sync.WaitGroup
	for i := 0; i < 8; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			found, err := model.Encode(texts, m3e.EncodeOptions{})
			if err != nil || !reflect.DeepEqual(found, expected) {
				t.Errorf("other vectors, or an error: %v", err)
			}
		}()
	}
	group.Wait()
}

func TestErrors(t *testing.T) {
	_, err := m3e.Open(filepath.Join(t.TempDir(), "missing"), m3e.Options{})
	expectStatus(t, err, m3e.StatusFile)
	_, err = m3e.Open("zero\x00byte", m3e.Options{})
	expectStatus(t, err, m3e.StatusArgument)
	model := open(t, m3e.Options{})
	_, err = model.Encode([]string{"text"}, m3e.EncodeOptions{PromptName: "no such prompt"})
	expectStatus(t, err, m3e.StatusArgument)
	model.Close()
	if _, err = model.Encode([]string{"text"}, m3e.EncodeOptions{}); !errors.Is(err, m3e.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func expectStatus(t *testing.T, err error, status m3e.Status) {
	t.Helper()
	var found *m3e.Error
	if !errors.As(err, &found) || found.Status != status || found.Message == "" {
		t.Errorf("expected status %d: %v", status, err)
	}
}

func bundle(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("M3E_BUNDLE")
	if folder == "" {
		t.Fatal("M3E_BUNDLE names no bundle")
	}
	return folder
}

func readManifest(t *testing.T) (read manifest) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(bundle(t), "manifest.json"))
	if err == nil {
		err = json.Unmarshal(content, &read)
	}
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func open(t *testing.T, options m3e.Options) *m3e.Model {
	t.Helper()
	model, err := m3e.Open(bundle(t), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { model.Close() })
	return model
}

func encode(t *testing.T, model *m3e.Model, texts []string, options m3e.EncodeOptions) *m3e.Embeddings {
	t.Helper()
	found, err := model.Encode(texts, options)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func leastCosine(precision string) float64 {
	if precision == "int8" {
		return 0.99
	}
	return 0.9999
}

func unpack(packed []byte, dimension int) [][]float32 {
	vectors := make([][]float32, len(packed)/4/dimension)
	for i := range vectors {
		vectors[i] = make([]float32, dimension)
		for j := range vectors[i] {
			bits := binary.LittleEndian.Uint32(packed[4*(i*dimension+j):])
			vectors[i][j] = math.Float32frombits(bits)
		}
	}
	return vectors
}

func dot(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

func length(a []float32) float64 { return math.Sqrt(dot(a, a)) }

func cosine(a, b []float32) float64 { return dot(a, b) / length(a) / length(b) }
