use std::ffi::{CStr, CString, NulError};
use std::os::raw::c_char;
use std::path::Path;
use std::ptr::{null, null_mut, NonNull};

use crate::error::{check, Error, ErrorKind};
use crate::ffi;

/// How to open a bundle. The default is what most programs want.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions<'a> {
    /// Most threads that one call uses; 0 means 1.
    pub threads: i32,
    /// An artifact of the bundle; `None` means the fastest on this processor.
    pub artifact: Option<&'a str>,
    /// Do not compare SHA-256 sums.
    pub skip_verification: bool,
}

/// How to encode. The default takes the defaults of the bundle.
#[derive(Clone, Copy, Debug, Default)]
pub struct EncodeOptions<'a> {
    /// A prompt of the bundle.
    pub prompt_name: Option<&'a str>,
    /// Text before each text; takes precedence over `prompt_name`.
    pub prompt: Option<&'a str>,
    /// Leading dimensions to keep; 0 keeps what the bundle says.
    pub truncate_dim: i32,
    /// Scale each vector to unit length.
    pub normalize: bool,
}

/// One vector for each text.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    dimension: usize,
    values: Vec<f32>,
    cut: Vec<i64>,
}

impl Embeddings {
    /// The vectors in the order of the texts.
    pub fn vectors(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.dimension.max(1))
    }

    /// How many tokens were cut off each text.
    pub fn cut(&self) -> &[i64] {
        &self.cut
    }
}

/// An open bundle. It is closed when it is dropped.
#[derive(Debug)]
pub struct Model(NonNull<ffi::Model>);

// m3e.h: several threads may use one object at once.
unsafe impl Send for Model {}
unsafe impl Sync for Model {}

impl Model {
    /// Open the bundle in the folder `path`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path, OpenOptions::default())
    }

    pub fn open_with(path: impl AsRef<Path>, options: OpenOptions<'_>) -> Result<Self, Error> {
        check_version()?;
        let path = utf8(path.as_ref())?;
        let artifact = options.artifact.map(CString::new).transpose()?;
        let options = ffi::Options {
            size: std::mem::size_of::<ffi::Options>(),
            threads: options.threads,
            instruction_set: null(),
            artifact: pointer(&artifact),
            skip_verification: options.skip_verification.into(),
            reserved: 0,
        };
        let mut model = null_mut();
        check(|message| unsafe { ffi::m3e_open(path.as_ptr(), &options, &mut model, message) })?;
        NonNull::new(model)
            .map(Self)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "m3e_open gave no model"))
    }

    /// Turn texts into vectors.
    pub fn encode<T: AsRef<str>>(&self, texts: &[T]) -> Result<Embeddings, Error> {
        self.encode_with(texts, EncodeOptions::default())
    }

    pub fn encode_with<T: AsRef<str>>(
        &self,
        texts: &[T],
        options: EncodeOptions<'_>,
    ) -> Result<Embeddings, Error> {
        let prompts = Prompts::new(&options)?;
        let embedding = prompts.embedding(&options);
        let pointers: Vec<_> = texts.iter().map(|text| text.as_ref().as_ptr().cast()).collect();
        let lengths: Vec<_> = texts.iter().map(|text| text.as_ref().len()).collect();
        let size = unsafe { ffi::m3e_vector_size(self.0.as_ptr(), &embedding) };
        let dimension = size / std::mem::size_of::<f32>();
        let mut values = vec![0f32; texts.len() * dimension];
        let mut cut = vec![0i64; texts.len()];
        check(|message| unsafe {
            ffi::m3e_embed(
                self.0.as_ptr(),
                pointers.as_ptr(),
                lengths.as_ptr(),
                texts.len(),
                &embedding,
                values.as_mut_ptr().cast(),
                cut.as_mut_ptr(),
                message,
            )
        })?;
        Ok(Embeddings { dimension, values, cut })
    }

    /// Length of a vector if [`EncodeOptions::truncate_dim`] does not shorten it.
    pub fn dimension(&self) -> usize {
        unsafe { ffi::m3e_model_dimension(self.0.as_ptr()) as usize }
    }

    /// Name of the artifact that computes.
    pub fn artifact(&self) -> &str {
        let name = unsafe { CStr::from_ptr(ffi::m3e_model_artifact(self.0.as_ptr())) };
        name.to_str().unwrap_or_default()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        unsafe { ffi::m3e_close(self.0.as_ptr()) }
    }
}

/// The prompts of [`EncodeOptions`], each with a zero byte at its end.
struct Prompts {
    name: Option<CString>,
    text: Option<CString>,
}

impl Prompts {
    fn new(options: &EncodeOptions<'_>) -> Result<Self, NulError> {
        let name = options.prompt_name.map(CString::new).transpose()?;
        let text = options.prompt.map(CString::new).transpose()?;
        Ok(Self { name, text })
    }

    /// The result points into `self`.
    fn embedding(&self, options: &EncodeOptions<'_>) -> ffi::Embedding {
        ffi::Embedding {
            size: std::mem::size_of::<ffi::Embedding>(),
            prompt_name: pointer(&self.name),
            prompt: pointer(&self.text),
            truncate_dim: options.truncate_dim,
            normalize: options.normalize.into(),
            output: ffi::FLOAT32,
            ranges: null(),
            stop: None,
            context: null_mut(),
        }
    }
}

fn pointer(text: &Option<CString>) -> *const c_char {
    text.as_ref().map_or(null(), |text| text.as_ptr())
}

fn utf8(path: &Path) -> Result<CString, Error> {
    let text =
        path.to_str().ok_or_else(|| Error::new(ErrorKind::Argument, "the path is not UTF-8"))?;
    Ok(CString::new(text)?)
}

fn check_version() -> Result<(), Error> {
    let found = unsafe { ffi::m3e_abi_version() };
    if found == ffi::ABI_VERSION {
        return Ok(());
    }
    let message = format!("the library has ABI {found}, and this crate needs {}", ffi::ABI_VERSION);
    Err(Error::new(ErrorKind::Unsupported, message))
}
