// Command similarity reads texts, one a line, and prints the cosine of the first two.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"m3e.example/m3e"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: similarity BUNDLE <TEXTS")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(bundle string, input io.Reader) error {
	texts, err := readLines(input)
	if err != nil {
		return err
	}
	if len(texts) < 2 {
		return errors.New("needs two lines of text")
	}
	model, err := m3e.Open(bundle, m3e.Options{})
	if err != nil {
		return err
	}
	defer model.Close()
	found, err := model.Encode(texts, m3e.EncodeOptions{Normalize: true})
	if err != nil {
		return err
	}
	fmt.Printf("%.4f\n", dot(found.Vectors[0], found.Vectors[1]))
	return nil
}

func readLines(input io.Reader) ([]string, error) {
	var lines []string
	scanner := bufio.NewScanner(input)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		lines = append(lines, scanner.Text())
	}
	return lines, scanner.Err()
}

func dot(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}
