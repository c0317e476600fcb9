//! Texts to vectors with the C library of m3e-runtime.
//!
//! ```no_run
//! let model = m3e::Model::open("m3e-small-int8")?;
//! let found = model.encode(&["早上好", "good morning"])?;
//! println!("{:?}", found.vectors().next());
//! # Ok::<(), m3e::Error>(())
//! ```

mod error;
mod ffi;
mod model;

pub use error::{Error, ErrorKind};
pub use model::{Embeddings, EncodeOptions, Model, OpenOptions};
