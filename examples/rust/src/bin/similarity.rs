//! Reads texts, one a line, and prints the cosine of the first two.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use m3e::{EncodeOptions, Model};

fn main() -> ExitCode {
    let Some(bundle) = std::env::args_os().nth(1) else {
        eprintln!("usage: similarity BUNDLE <TEXTS");
        return ExitCode::from(2);
    };
    match similarity(&bundle) {
        Ok(cosine) => println!("{cosine:.4}"),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn similarity(bundle: &std::ffi::OsStr) -> Result<f32, Box<dyn Error>> {
    let texts = io::stdin().lines().collect::<Result<Vec<_>, _>>()?;
    if texts.len() < 2 {
        return Err("needs two lines of text".into());
    }
    let options = EncodeOptions { normalize: true, ..Default::default() };
    let found = Model::open(bundle)?.encode_with(&texts, options)?;
    let vectors: Vec<_> = found.vectors().collect();
    Ok(vectors[0].iter().zip(vectors[1]).map(|(a, b)| a * b).sum())
}
