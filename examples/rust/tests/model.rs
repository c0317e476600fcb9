//! Tests with the bundle that M3E_BUNDLE names.

mod manifest;

use std::path::PathBuf;
use std::thread;

use m3e::{EncodeOptions, ErrorKind, Model, OpenOptions};
use manifest::Manifest;

#[test]
fn golden_vectors() {
    let bundle = bundle();
    let Manifest { golden, artifacts } = Manifest::read(&bundle);
    assert!(!artifacts.is_empty());
    for artifact in &artifacts {
        let options =
            OpenOptions { artifact: Some(&artifact.name), threads: 2, ..Default::default() };
        let model = Model::open_with(&bundle, options).unwrap();
        assert_eq!(model.artifact(), artifact.name);
        let options = EncodeOptions { prompt: Some(&golden.prompt), ..Default::default() };
        let found = model.encode_with(&golden.texts, options).unwrap();
        let expected = golden.vectors.chunks_exact(model.dimension());
        assert_eq!(found.vectors().len(), expected.len());
        for (text, (a, b)) in found.vectors().zip(expected).enumerate() {
            let cosine = cosine(a, b);
            assert!(cosine >= least_cosine(artifact), "{} {text}: {cosine}", artifact.name);
        }
    }
}

fn least_cosine(artifact: &manifest::Artifact) -> f64 {
    if artifact.precision == "int8" {
        0.99
    } else {
        0.9999
    }
}

#[test]
fn zero_byte_and_characters_beyond_the_basic_plane_count() {
    let texts = ["morning", "morning\0 train", "morning 😀𠮷"];
    let found = open().encode(&texts).unwrap();
    let first = found.vectors().next().unwrap();
    for other in found.vectors().skip(1) {
        assert!(cosine(first, other) < 0.999);
    }
}

#[test]
fn options_and_cut_tokens() {
    let texts = ["short".to_owned(), "long ".repeat(10000)];
    let options = EncodeOptions { truncate_dim: 32, normalize: true, ..Default::default() };
    let found = open().encode_with(&texts, options).unwrap();
    for vector in found.vectors() {
        assert_eq!(vector.len(), 32);
        assert!((dot(vector, vector) - 1.0).abs() < 1e-5);
    }
    assert_eq!(found.cut()[0], 0);
    assert!(found.cut()[1] > 5000);
}

#[test]
fn no_texts() {
    let none: [&str; 0] = [];
    assert_eq!(open().encode(&none).unwrap().vectors().len(), 0);
}

#[test]
fn threads_share_a_model() {
    let model = open();
    let texts = ["one text", "another text"];
    let expected = model.encode(&texts).unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(model.encode(&texts).unwrap(), expected));
        }
    });
}

#[test]
fn errors() {
    let error = Model::open(bundle().join("missing")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::File);
    assert!(error.to_string().contains("missing"), "{error}");
    assert_eq!(Model::open("zero\0byte").unwrap_err().kind(), ErrorKind::Argument);
    let options = EncodeOptions { prompt_name: Some("no such prompt"), ..Default::default() };
    let error = open().encode_with(&["text"], options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Argument);
}

fn bundle() -> PathBuf {
    std::env::var_os("M3E_BUNDLE").expect("M3E_BUNDLE names a bundle").into()
}

fn open() -> Model {
    Model::open(bundle()).unwrap()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
