//! What the tests read from the manifest of a bundle.

mod json;

use std::path::Path;

use json::Json;

pub struct Golden {
    pub texts: Vec<String>,
    /// One after the other.
    pub vectors: Vec<f32>,
    pub prompt: String,
}

pub struct Artifact {
    pub name: String,
    pub precision: String,
}

pub struct Manifest {
    pub golden: Golden,
    /// Those that the library can open.
    pub artifacts: Vec<Artifact>,
}

impl Manifest {
    pub fn read(bundle: &Path) -> Self {
        let content = std::fs::read_to_string(bundle.join("manifest.json")).unwrap();
        let file = Json::parse(&content);
        Self { golden: golden(file.get("golden")), artifacts: native_artifacts(&file) }
    }
}

fn golden(golden: &Json) -> Golden {
    Golden {
        texts: golden.get("texts").array().iter().map(|text| text.text().to_owned()).collect(),
        vectors: floats(&base64(golden.get("vectors").text())),
        prompt: golden.get("prompt").text().to_owned(),
    }
}

fn native_artifacts(file: &Json) -> Vec<Artifact> {
    let all = file.get("artifacts").array().iter();
    all.filter(|artifact| artifact.get("format").text() == "native")
        .map(|artifact| Artifact {
            name: artifact.get("name").text().to_owned(),
            precision: artifact.get("precision").text().to_owned(),
        })
        .collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

fn base64(text: &str) -> Vec<u8> {
    let (mut bits, mut count, mut bytes) = (0u32, 0, Vec::new());
    for digit in text.bytes().filter(|&digit| digit != b'=') {
        bits = bits << 6 | sextet(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

fn sextet(digit: u8) -> u32 {
    match digit {
        b'A'..=b'Z' => (digit - b'A').into(),
        b'a'..=b'z' => (digit - b'a' + 26).into(),
        b'0'..=b'9' => (digit - b'0' + 52).into(),
        b'+' => 62,
        b'/' => 63,
        _ => panic!("not base64"),
    }
}
